package repository

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/disk"
)

func ids(ix *Index) (out []string) {
	for i := range ix.Len() {
		out = append(out, ix.Package(i).ID())
	}
	return out
}

func TestWriteIndex(t *testing.T) {
	packages := []*apk.Package{pkg("b", "1.10-r0"), pkg("b", "1.9-r0"), pkg("a", "2-r0"), pkg("b", "1.9-r0", func(p *apk.Package) { p.Arch = "noarch" }),
		pkg("a+b", "1-r0", func(p *apk.Package) {
			p.Depends = []apk.Dependency{{Name: "so:libc.so", Op: apk.OpGreaterEqual, Version: "1"}, {Name: "c", Conflict: true}}
			p.Provides = []apk.Dependency{{Name: "cmd:ab", Op: apk.OpEqual, Version: "1-r0"}}
			p.InstallIf = []apk.Dependency{{Name: "a"}, {Name: "b"}}
			p.Size, p.InstalledSize, p.ProviderPriority = 1<<40, 7, 100
			p.Checksum = apk.SHA1{1, 2, 3}
			p.Description, p.URL, p.License, p.Origin, p.Maintainer, p.Commit = "d", "u", "l", "o", "m", "c"
		})}
	write := func(ps []*apk.Package, o WriteOptions) []byte {
		var out bytes.Buffer
		if err := WriteIndex(&out, ps, o); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for _, algorithm := range []string{"", "RSA", "RSA256", "RSA512"} {
		k := signingKey("test.rsa.pub")
		k.Algorithm = algorithm
		o := WriteOptions{Description: "v1 of test", Keys: []SigningKey{k}}
		raw := write(packages, o)
		ix, err := read(raw, testKey(t, "test.rsa.pub"))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"a-2-r0", "a+b-1-r0", "b-1.9-r0", "b-1.9-r0", "b-1.10-r0"}
		if d := cmp.Diff(want, ids(ix)); d != "" || ix.Description != "v1 of test" || ix.Package(2).Arch != "noarch" {
			t.Error(d)
		}
		if d := cmp.Diff(packages[4], ix.Package(1)); d != "" {
			t.Error(d)
		}
		reversed := slices.Clone(packages)
		slices.Reverse(reversed)
		if !bytes.Equal(raw, write(reversed, o)) {
			t.Error("the order of the arguments gets into the bytes")
		}
	}
	if packages[0].Version != "1.10-r0" {
		t.Error("the argument was sorted")
	}
	unsigned := write(packages, WriteOptions{})
	if _, err := read(unsigned); !errors.Is(err, ErrUnsigned) {
		t.Error(err)
	}
	if ix, err := ReadIndex(bytes.NewReader(write(nil, WriteOptions{})), ReadOptions{UnsafeUnsigned: true}); err != nil || ix.Len() != 0 || ix.Newest() != 0 {
		t.Error("an empty index", err)
	}
}

// What apk-tools and apko's tools read: one tar over all members.
func TestWriteIndexIsOneTar(t *testing.T) {
	if got := parseText(t, signedIndex(t)); len(got) != 2 {
		t.Errorf("%d packages", len(got))
	}
}

func TestSignIndex(t *testing.T) {
	first := signedIndex(t)
	var out bytes.Buffer
	if err := SignIndex(&out, first, []SigningKey{signingKey("a.rsa.pub"), signingKey("b.rsa.pub")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.rsa.pub", "b.rsa.pub"} {
		if _, err := read(out.Bytes(), testKey(t, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := read(out.Bytes(), testKey(t, "test.rsa.pub")); err == nil {
		t.Error("the old signature is still there")
	}
	err := SignIndex(&out, []byte("junk"), nil)
	wantError(t, err, "index: …")
}

func TestSignRealIndexAgain(t *testing.T) {
	raw, _ := realIndexes[0].open(t)
	var out bytes.Buffer
	if err := SignIndex(&out, raw, []SigningKey{signingKey("a.rsa.pub")}); err != nil {
		t.Fatal(err)
	}
	ix, err := read(out.Bytes(), testKey(t, "a.rsa.pub"))
	if err != nil || ix.Len() != 5443 {
		t.Error(err)
	}
}

func TestParseSigningKey(t *testing.T) {
	k := apktest.NewKey("test.rsa.pub")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{k.PrivatePEM(), pemBlock("PRIVATE KEY", pkcs8)} {
		got, err := ParseSigningKey("/keys/test.rsa", b)
		if err != nil || got.Name != "test.rsa.pub" || !got.Private.Equal(k.Private) {
			t.Errorf("%+v, %v", got.Name, err)
		}
		if pub, err := got.Public(); err != nil || pub.Fingerprint != testKey(t, "test.rsa.pub").Fingerprint {
			t.Error(err)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec8, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{[]byte("junk"), "signing key k.rsa: not PEM"},
		{k.PublicPEM(), `signing key k.rsa: PEM block "PUBLIC KEY": expected "RSA PRIVATE KEY" or "PRIVATE KEY"`},
		{pemBlock("ENCRYPTED PRIVATE KEY", nil), "signing key k.rsa: is encrypted: expected a plain one (openssl rsa)"},
		{pemBlock("PRIVATE KEY", ec8), "signing key k.rsa: is a *ecdsa.PrivateKey: expected an RSA key"},
		{pemBlock("RSA PRIVATE KEY", []byte("x")), "signing key k.rsa: …"},
		{pemBlock("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), "signing key k.rsa.pub: RSA key of 1024 bits: expected at least 2048"},
	} {
		_, err := ParseSigningKey("k.rsa", c.b)
		wantError(t, err, c.want)
	}
	for want, key := range map[string]SigningKey{
		"signing key k.rsa.pub: no key":                                  {Name: "k.rsa.pub"},
		`signing key: name "a/b": expected a file name`:                  {Name: "a/b", Private: k.Private},
		`signing key k: algorithm "DSA": expected RSA256, RSA512 or RSA`: {Name: "k", Private: k.Private, Algorithm: "DSA"},
	} {
		wantError(t, WriteIndex(&bytes.Buffer{}, nil, WriteOptions{Keys: []SigningKey{key}}), want)
	}
}

func add(p *apk.Package) func([]*apk.Package) ([]*apk.Package, error) {
	return func(have []*apk.Package) ([]*apk.Package, error) { return append(have, p), nil }
}

// Parallel writers of an index lose nothing.
func TestUpdateIndexInParallel(t *testing.T) {
	name := filepath.Join(t.TempDir(), IndexFile)
	o := WriteOptions{Description: "v1", Keys: []SigningKey{signingKey("test.rsa.pub")}}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := UpdateIndex(ctx, name, o, add(pkg(fmt.Sprintf("p%02d", i), "1-r0"))); err != nil {
				t.Error(err)
			}
		}()
	}
	stop := make(chan struct{})
	go func() { wg.Wait(); close(stop) }()
	for done := false; !done; {
		select {
		case <-stop:
			done = true
		default:
		}
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if _, err := read(b, testKey(t, "test.rsa.pub")); err != nil {
			t.Fatalf("a reader saw half an index: %v", err)
		}
	}
	ix, err := read(mustRead(t, name), testKey(t, "test.rsa.pub"))
	if err != nil || ix.Len() != 16 {
		t.Fatalf("%v, %v", ids(ix), err)
	}
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(entries) != 2 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestUpdateIndexKeepsWhatItHas(t *testing.T) {
	name := filepath.Join(t.TempDir(), IndexFile)
	if err := UpdateIndex(ctx, name, WriteOptions{Description: "first"}, add(pkg("a", "1-r0"))); err != nil {
		t.Fatal(err)
	}
	if err := UpdateIndex(ctx, name, WriteOptions{}, add(pkg("b", "1-r0"))); err != nil {
		t.Fatal(err)
	}
	before := mustRead(t, name)
	stop := errors.New("no")
	for want, err := range map[string]error{
		"index " + name + ": no":                    UpdateIndex(ctx, name, WriteOptions{}, func([]*apk.Package) ([]*apk.Package, error) { return nil, stop }),
		"index " + name + ": signing key k: no key": UpdateIndex(ctx, name, WriteOptions{Keys: []SigningKey{{Name: "k"}}}, add(pkg("c", "1"))),
	} {
		wantError(t, err, want)
	}
	ix, err := ReadIndex(bytes.NewReader(mustRead(t, name)), ReadOptions{UnsafeUnsigned: true})
	if d := cmp.Diff([]string{"a-1-r0", "b-1-r0"}, ids(ix)); err != nil || d != "" || ix.Description != "first" {
		t.Error(err, d)
	}
	if sha256.Sum256(before) != sha256.Sum256(mustRead(t, name)) {
		t.Error("a refused change changed the file")
	}
	// An entry that would lose a key that this version does not know.
	writeFile(t, name, apktest.Repository{}.SignIndex([]byte("P:a\nV:1-r0\nX:news\n\n")))
	wantError(t, UpdateIndex(ctx, name, WriteOptions{}, add(pkg("b", "1"))), "index "+name+`: entry a-1-r0: key 'X' is not known to this version: would be lost`)
	writeFile(t, name, []byte("junk"))
	wantError(t, UpdateIndex(ctx, name, WriteOptions{}, add(pkg("b", "1"))), "index "+name+": index: …")
	gone := filepath.Join(t.TempDir(), "gone", IndexFile)
	if err := UpdateIndex(ctx, gone, WriteOptions{}, add(pkg("b", "1"))); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestUpdateIndexWaitsNoLongerThanItsContext(t *testing.T) {
	name := filepath.Join(t.TempDir(), IndexFile)
	lock, err := disk.Lock(ctx, name+".lock", unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	err = UpdateIndex(short, name, WriteOptions{}, add(pkg("a", "1")))
	wantError(t, err, "index "+name+": lock "+name+".lock: context deadline exceeded")
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if err := UpdateIndex(ctx, name, WriteOptions{}, add(pkg("a", "1"))); err != nil {
		t.Error(err)
	}
}

func TestWriteAtomicErrors(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.MkdirAll(filepath.Join(target, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeAtomic(target, []byte("x"), 0o644); err == nil {
		t.Error("replaced a directory")
	}
	writeFile(t, filepath.Join(dir, "there"), []byte("old"))
	if err := writeNew(filepath.Join(dir, "there"), []byte("new"), 0o600); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
