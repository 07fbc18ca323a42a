package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestObjects(t *testing.T) {
	st := openTemp(t)
	write := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	if _, err := st.Object(t.Context(), "segment", "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	put, err := st.PutObject(t.Context(), "segment", "k", write("hello"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := st.Object(t.Context(), "segment", "k")
	if err != nil || got != put || got.Size != 5 || got.SHA256 != sha256.Sum256([]byte("hello")) {
		t.Errorf("%+v, %v, want %+v", got, err, put)
	}
	if b, err := st.ReadObject(t.Context(), "segment", "k", 5); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	_, err = st.ReadObject(t.Context(), "segment", "k", 4)
	wantError(t, err, nil, "object segment: 5 bytes, at most 4 are allowed")
	if _, err := st.Object(t.Context(), "index", "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("other kind: %v", err)
	}
	if _, err := st.PutObject(t.Context(), "segment", "k", write("replaced")); err != nil {
		t.Fatal(err)
	}
	if b, err := st.ReadObject(t.Context(), "segment", "k", 100); err != nil || string(b) != "replaced" {
		t.Errorf("%q, %v", b, err)
	}
	own := errors.New("own error")
	if _, err := st.PutObject(t.Context(), "segment", "fail", func(w io.Writer) error { return own }); err != own {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := st.PutObject(ctx, "segment", "fail", write("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	for _, kind := range []string{"", "Segment", "a/b", "..", strings.Repeat("a", 41)} {
		_, err := st.Object(t.Context(), kind, "k")
		wantError(t, err, nil, fmt.Sprintf("store: object kind %q: expected lower-case letters, digits and dashes", kind))
	}
	_, err = st.PutObject(t.Context(), "k", strings.Repeat("x", 1<<20), write(""))
	wantError(t, err, nil, "store: object k: key of 1048576 bytes, at most 524288 are allowed")
	dst := filepath.Join(t.TempDir(), "o")
	if err := st.LinkObject(t.Context(), got, dst); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(dst); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestDamagedObjects(t *testing.T) {
	st := openTemp(t)
	o, err := st.PutObject(t.Context(), "segment", "k", func(w io.Writer) error { _, err := w.Write([]byte("hello")); return err })
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, o.Path, []byte("hellO"))
	if _, err := st.ReadObject(t.Context(), "segment", "k", 10); !errors.Is(err, ErrCorrupt) || !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), o.Path) {
		t.Errorf("ReadObject: %v", err)
	}
	if _, err := st.Object(t.Context(), "segment", "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Object after that: %v", err)
	}
	ref, _ := st.objectPath("segment", "k")
	for _, content := range []string{"", "short", strings.Repeat("x", 100)} {
		overwrite(t, ref, []byte(content))
		if _, err := st.Object(t.Context(), "segment", "k"); !errors.Is(err, ErrCorrupt) {
			t.Errorf("reference %q: %v", content, err)
		}
		if _, err := os.Stat(ref); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("reference %q is still there", content)
		}
		if err := os.WriteFile(ref, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	other, _ := st.objectPath("segment", "other")
	if err := errors.Join(makeDir(filepath.Dir(other)), os.WriteFile(other, encodeRef("k", o), 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err = st.Object(t.Context(), "segment", "other")
	wantError(t, err, ErrCorrupt, "object segment: "+other+`: it is for the key "k"`)
}
