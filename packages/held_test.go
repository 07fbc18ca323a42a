package packages

import (
	"errors"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// held is a sample with its receipts in memory.
func held(t *testing.T) (*sample, *Held) {
	t.Helper()
	s := newSample(t)
	h := NewHeld(nil)
	receipts, err := open(t, Options{}).Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		h.Add("x86_64", r)
	}
	return s, h
}

func TestHeldReceiptsAreFetched(t *testing.T) {
	s, h := held(t)
	requests := s.http.requests.Load()
	got, err := h.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	if err != nil || len(got) != 2 || got[0].Package.Name != "lib" || got[1].Package.Name != "app" {
		t.Errorf("found %v, %v: expected lib and app, in the lock's order", got, err)
	}
	if s.http.requests.Load() != requests {
		t.Error("the repository was asked")
	}
	h.Forget()
	if again, err := h.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err != nil || len(again) != 2 {
		t.Errorf("after Forget: %v, %v", again, err)
	}
}

// TestHeldReceiptsAreChecked: whoever holds receipts need not be trusted more
// than a store.
func TestHeldReceiptsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*lock.Package)
		want   string
	}{
		{"version", func(p *lock.Package) { p.Version = "2-r0" }, "package app-2-r0: version is 1-r0, expected 2-r0"},
		{"file", func(p *lock.Package) { p.Cairn.SHA256[0]++ }, "package app-1-r0: sha256 of the file is "},
		{"size", func(p *lock.Package) { p.Cairn.Size++ }, "package app-1-r0: size is "},
		{"receipt", func(p *lock.Package) { p.Cairn.Receipt[0]++ }, "package app-1-r0: receipt digest is "},
		{"data section", func(p *lock.Package) { p.Data.Checksum = lock.Checksum(apk.SHA256{1}) }, "package app-1-r0: data section: found "},
		{"diff ID", func(p *lock.Package) { p.Cairn.DiffID[0]++ }, "package app-1-r0: inflated data section: found "},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, h := held(t)
			c.change(&s.lock.Contents.Packages[1])
			_, err := h.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
			wantError(t, err, c.want)
			if !errors.Is(err, store.ErrMismatch) {
				t.Errorf("error %v: expected ErrMismatch", err)
			}
		})
	}
}

func TestNotHeld(t *testing.T) {
	s, h := held(t)
	s.lock.Contents.Packages[1].Checksum[0]++
	_, err := h.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	wantError(t, err, "package app-1-r0 (x86_64): receipt: not in the store")
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v: expected ErrNotFound", err)
	}
	s.lock.Contents.Keyring[0].Content = "hello"
	_, err = h.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	wantError(t, err, "keyring: invalid lock: key a.rsa.pub: not PEM")
}

func TestRawIndex(t *testing.T) {
	dir, _ := repo(t, nil, []string{"x86_64"}, spec("app", "1-r0", 1))
	w := open(t, Options{})
	l := resolve(t, w, x86(Request{Packages: []string{"app"}, Repositories: []string{dir}, Unsafe: Unsafe{UnsignedIndex: true}}))
	ix := l.Cairn.Indexes[0]
	b, err := w.RawIndex(t.Context(), ix)
	if err != nil || len(b) == 0 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	ix.SHA256[0]++
	if _, err := w.RawIndex(t.Context(), ix); !errors.Is(err, repository.ErrNotFound) {
		t.Errorf("error %v: expected ErrNotFound", err)
	}
}
