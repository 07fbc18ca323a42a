package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages/repository"
)

func newServeRepository(a *app) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "repository DIR",
		Short: "Serve a directory of packages over HTTP",
		Long: `Serve a repository for local work: the packages, indexes and keys below DIR, with
ranges and with caching headers that fit (packages are kept for good, indexes for
seconds). Directories are not listed, private keys and dot-files are not served,
and no link leads out of DIR. It speaks plain HTTP: put a server with TLS in front
of it for anything else than this machine.`,
		Example: "  cairn serve repository packages --listen=127.0.0.1:8080",
		Args:    args(1, 1, "a directory"),
		RunE: func(cmd *cobra.Command, list []string) (err error) {
			h, err := repository.NewHandler(a.at(list[0]))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, h.Close()) }()
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.std.out, "listening on http://%s\n", l.Addr())
			return serveHTTP(cmd.Context(), l, h, slog.New(slog.NewTextHandler(a.std.err, nil)))
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "`address` to listen on")
	return cmd
}

// serveHTTP serves until the context ends, and lets answers be finished.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(last), ctx.Err())
}
