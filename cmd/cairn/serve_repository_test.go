package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-dev/cairn/packages/repository"
)

func TestServeRepositoryStopsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "me.rsa.pub"), []byte("key"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := repository.NewHandler(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serveHTTP(ctx, l, h, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/me.rsa.pub")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || !bytes.Equal(b, []byte("key")) {
		t.Errorf("%q, %v", b, err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("stopped with %v", err)
	}
	if _, err := http.Get("http://" + l.Addr().String() + "/me.rsa.pub"); err == nil {
		t.Error("still serving")
	}
}
