package repository

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// testdata returns a path in the shared data, or skips the test.
func testdata(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("CAIRN_TESTDATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	name := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(name); err != nil {
		t.Skipf("no real data: %v (set CAIRN_TESTDATA)", err)
	}
	return name
}

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustClient(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// alpineKeys is the keyring of Alpine's real keys.
func alpineKeys(t testing.TB) *Keyring {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(testdata(t, "alpine-3.19", "keys"), "*.pub"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d keys: %v", len(names), err)
	}
	ring, err := mustClient(t, Options{}).Keys(context.Background(), names)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// realIndex is one of the real index files, with what it must hold.
type realIndex struct {
	name        string
	path        []string
	entries     int
	signer      string
	description string
}

var realIndexes = []realIndex{
	{"main", []string{"alpine-3.19", "main", "x86_64", IndexFile}, 5443, "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub", "v3.19.1-643-gec825d20535"},
	{"community", []string{"alpine-3.19", "community", "x86_64", IndexFile}, 17587, "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub", ""},
	{"boot", []string{"alpine-3.19-boot", "x86_64", IndexFile}, 100, "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub", ""},
	{"merged-95k", []string{"indexes", "merged-95k.APKINDEX.tar.gz"}, 95247, "test@local-1.rsa.pub", ""},
}

// open returns the file's bytes and its keys.
func (r realIndex) open(t testing.TB) ([]byte, *Keyring) {
	t.Helper()
	b := mustRead(t, testdata(t, r.path...))
	if r.name != "merged-95k" {
		return b, alpineKeys(t)
	}
	k, err := ParseKey(r.signer, mustRead(t, testdata(t, "indexes", r.signer)))
	if err != nil {
		t.Fatal(err)
	}
	return b, NewKeyring(k)
}

func (r realIndex) read(t testing.TB) *Index {
	t.Helper()
	b, keys := r.open(t)
	ix, err := ReadIndex(bytes.NewReader(b), ReadOptions{Keyring: keys})
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func TestRealIndexesVerify(t *testing.T) {
	for _, r := range realIndexes {
		t.Run(r.name, func(t *testing.T) {
			ix := r.read(t)
			if ix.Len() != r.entries || ix.SignedBy.Name != r.signer || ix.SignedBy.Algorithm != "RSA" || ix.UnsafeUnsigned {
				t.Errorf("%d entries signed by %+v, unsafe %v", ix.Len(), ix.SignedBy, ix.UnsafeUnsigned)
			}
			if r.description != "" && ix.Description != r.description {
				t.Errorf("description %q", ix.Description)
			}
		})
	}
}
