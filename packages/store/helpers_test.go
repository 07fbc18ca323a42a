package store

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rsa"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func openTemp(t testing.TB) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "store"), Options{})
}

func openAt(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	st, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// sample is a package with a bit of everything that is allowed.
func sample(name string) apktest.Spec {
	return apktest.Spec{
		Package: apk.Package{Name: name, Version: "1.0-r0", Arch: "x86_64", BuildTime: 1700000000},
		Files: []apktest.File{
			{Path: "etc/passwd", Content: "root:x:0:0::/root:/bin/sh\n"},
			{Path: "etc/" + name + ".conf", Content: "key = value\n", Mode: 0o600, UID: 100, GID: 101, Uname: "svc", Gname: "svc"},
			{Path: "usr/bin/" + name, Content: "#!/bin/sh\nexit 0\n", Mode: 0o4755, Xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02\x00"}},
			{Path: "usr/bin/hard", Type: apk.TypeHardlink, Link: "usr/bin/" + name},
			{Path: "usr/bin/soft", Type: apk.TypeSymlink, Link: "../../../../etc/passwd"},
			{Path: "usr/share/empty"},
			{Path: "var/tmp", Type: apk.TypeDir, Mode: 0o1777},
		},
		Scripts: map[string]string{"post-install": "#!/bin/sh\ntrue\n"},
		Parents: true,
	}
}

// ingest builds the package and puts it into the store.
func ingest(t testing.TB, st *Store, spec apktest.Spec) (*Receipt, []byte) {
	t.Helper()
	raw, p := apktest.BuildEntry(spec)
	r, err := st.Ingest(t.Context(), bytes.NewReader(raw), Expect{Name: p.Name, Version: p.Version, Checksum: p.Checksum, Size: p.Size})
	if err != nil {
		t.Fatal(err)
	}
	return r, raw
}

// try ingests raw with no expectation but its control checksum, if it has one.
func try(t testing.TB, st *Store, raw []byte) (*Receipt, error) {
	t.Helper()
	return st.Ingest(t.Context(), bytes.NewReader(raw), Expect{Unsafe: Unsafe{NoChecksum: true}})
}

// files returns the paths of all regular files in the store but the lock and the
// format, relative to it.
func files(t testing.TB, st *Store) (list []string) {
	t.Helper()
	err := filepath.WalkDir(st.Dir(), func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || p == st.path(lockFile) || p == st.path(formatFile) {
			return err
		}
		rel, err := filepath.Rel(st.Dir(), p)
		list = append(list, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// overwrite changes a read-only file in place.
func overwrite(t testing.TB, name string, b []byte) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(name, info.Mode()), os.Chtimes(name, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

func gunzip(t testing.TB, z []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(z))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func keys(list ...*apktest.Key) func(string) *rsa.PublicKey {
	return func(name string) *rsa.PublicKey {
		for _, k := range list {
			if k.Name == name {
				return k.Public()
			}
		}
		return nil
	}
}

// wantError checks the kind and the text of an error.
func wantError(t testing.TB, err, kind error, text string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error, want %q", text)
	case err.Error() != text:
		t.Errorf("error %q\n want %q", err, text)
	case kind != nil && !errors.Is(err, kind):
		t.Errorf("error %q is not %q", err, kind)
	}
}

func readHead(b []byte) (*apk.Head, error) {
	return apk.ReadHead(bufio.NewReader(bytes.NewReader(b)), apk.Limits{})
}
