package apktest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Repository is a directory of packages with a signed index, as `apk index`
// and `melange index` leave it: <dir>/<arch>/NAME-VERSION.apk and
// <dir>/<arch>/APKINDEX.tar.gz.
type Repository struct {
	Arch        string // empty: x86_64; also the default of each package
	Key         *Key   // signs the index; nil: an unsigned index
	Algorithm   string // RSA, RSA256 (default) or RSA512
	Description string // content of the DESCRIPTION member; empty: none
	SignAll     bool   // sign each package with Key too
	Packages    []Spec
}

// Write makes the repository below dir and returns the index entries in the
// order of Packages.
func (r Repository) Write(t testing.TB, dir string) []apk.Package {
	t.Helper()
	if r.Arch == "" {
		r.Arch = "x86_64"
	}
	arch := filepath.Join(dir, r.Arch)
	if err := os.MkdirAll(arch, 0o755); err != nil {
		t.Fatal(err)
	}
	var entries []apk.Package
	for _, spec := range r.Packages {
		raw, p := BuildEntry(r.complete(spec))
		entries = append(entries, p)
		write(t, filepath.Join(arch, p.Filename()), raw)
	}
	write(t, filepath.Join(arch, "APKINDEX.tar.gz"), r.Index(entries))
	return entries
}

func (r Repository) complete(s Spec) Spec {
	if s.Package.Arch == "" {
		s.Package.Arch = r.Arch
	}
	if s.Sign == nil && r.SignAll {
		s.Sign = r.Key
	}
	return s
}

// Index returns an APKINDEX.tar.gz with the entries in the given order, signed
// by r.Key when there is one.
func (r Repository) Index(entries []apk.Package) []byte {
	var text []byte
	for i := range entries {
		text = apk.AppendIndexEntry(text, &entries[i])
	}
	return r.SignIndex(text)
}

// SignIndex returns an APKINDEX.tar.gz around the given text of entries,
// however wrong that is.
func (r Repository) SignIndex(text []byte) []byte {
	var files []File
	if r.Description != "" {
		files = append(files, File{Path: "DESCRIPTION", Content: r.Description})
	}
	files = append(files, File{Path: "APKINDEX", Content: string(text)})
	body := Gzip(append(CutTar(files), make([]byte, 1024)...))
	if r.Key == nil {
		return body
	}
	return append(Gzip(CutTar(signatureFiles(r.Algorithm, r.Key, nil, body, false))), body...)
}

func write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
