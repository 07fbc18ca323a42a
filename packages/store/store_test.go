package store

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestIngest(t *testing.T) {
	st := openTemp(t)
	key := apktest.NewKey("test.rsa.pub")
	spec := sample("hello")
	spec.Sign = key
	raw, p := apktest.BuildEntry(spec)
	// One byte at a time: nothing depends on how the bytes arrive.
	r, err := st.Ingest(t.Context(), iotest.OneByteReader(bytes.NewReader(raw)), Expect{
		Name: "hello", Version: "1.0-r0", Checksum: p.Checksum, Size: p.Size, FileSHA256: sha256.Sum256(raw), Key: keys(key)})
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case r.ID() != "hello-1.0-r0", r.Package.Checksum != p.Checksum, r.Package.Size != int64(len(raw)), r.FileSize != int64(len(raw)):
		t.Errorf("package %+v", r.Package)
	case r.DataHash != p.DataHash, r.FileSHA256 != sha256.Sum256(raw), r.SignatureKey != "test.rsa.pub", r.SignedBy != "test.rsa.pub", len(r.Waived) > 0:
		t.Errorf("receipt %+v", r)
	case string(r.Scripts[".post-install"]) != "#!/bin/sh\ntrue\n", string(r.Contents["etc/passwd"]) != "root:x:0:0::/root:/bin/sh\n":
		t.Errorf("scripts %q, contents %q", r.Scripts, r.Contents)
	case !bytes.Equal(raw[:r.DataOffset], append(bytes.Clone(r.Signature), r.Control...)):
		t.Error("signature and control are not the file's beginning")
	case r.Verbatim != "":
		t.Errorf("verbatim: %s", r.Verbatim)
	}
	compareWithStandardLibrary(t, raw, r)
	blob, err := os.ReadFile(st.BlobPath(r))
	if err != nil || !bytes.Equal(blob, raw[r.DataOffset:]) {
		t.Errorf("the blob is not the data section: %v", err)
	}
	for _, e := range r.Entries {
		if e.Path == "usr/bin/hard" && e.Link != "usr/bin/hello" || e.Path == "usr/bin/hello" && e.Mode != 0o4755 || e.Path == "var/tmp" && e.Mode != 0o1777 {
			t.Errorf("entry %+v", e)
		}
	}
}

// A chain of hard links names the regular file, and comes after it.
func TestApkoDefect_HardlinkBeforeTarget(t *testing.T) {
	st := openTemp(t)
	spec := sample("links")
	spec.Files = []apktest.File{{Path: "b", Content: "x"}, {Path: "z", Type: apk.TypeHardlink, Link: "./b"}, {Path: "a", Type: apk.TypeHardlink, Link: "z"}}
	r, _ := ingest(t, st, spec)
	if got := fmt.Sprintf("%s %s>%s %s>%s", r.Entries[0].Path, r.Entries[1].Path, r.Entries[1].Link, r.Entries[2].Path, r.Entries[2].Link); got != "b z>b a>b" {
		t.Error(got)
	}
}

// apko drops the owners of files and the special bits of directories while it
// reads packages; the receipt has them.
func TestApkoDefect_OwnersAndSpecialBits(t *testing.T) {
	st := openTemp(t)
	spec := sample("owners")
	spec.Files = []apktest.File{{Path: "var/tmp", Type: apk.TypeDir, Mode: 0o1777, UID: 3, GID: 4}, {Path: "f", Mode: 0o2750, UID: 5, GID: 6}}
	spec.Parents = false
	r, _ := ingest(t, st, spec)
	d, f := r.Entries[0], r.Entries[1]
	if d.Mode != 0o1777 || d.UID != 3 || d.GID != 4 || f.Mode != 0o2750 || f.UID != 5 || f.GID != 6 {
		t.Errorf("%+v\n%+v", d, f)
	}
}

// apko 1.2 trusts cached bytes without hashing them (GHSA-3fqg-8hpf-5682).
func TestApkoDefect_CachedDataIsTrusted(t *testing.T) {
	st := openTemp(t)
	r, raw := ingest(t, st, sample("cached"))
	blob := bytes.Clone(raw[r.DataOffset:])
	blob[len(blob)/2] ^= 1
	overwrite(t, st.BlobPath(r), blob)
	if err := st.Verify(t.Context(), r); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v", err)
	}
}

func TestIngestMismatches(t *testing.T) {
	key, other := apktest.NewKey("test.rsa.pub"), apktest.NewKey("other.rsa.pub")
	spec := sample("m")
	spec.Sign = key
	raw, p := apktest.BuildEntry(spec)
	with := func(f func(*apktest.Spec)) []byte {
		s := spec
		f(&s)
		return apktest.Build(s)
	}
	size := fmt.Sprint(p.Size)
	for _, c := range []struct {
		name   string
		raw    []byte
		expect Expect
		kind   error
		want   string
	}{
		{"checksum", raw, Expect{Name: "m", Version: "1", Checksum: apk.SHA1{1}}, ErrMismatch,
			"package m-1: control checksum is " + p.Checksum.String() + ", expected " + apk.SHA1{1}.String()},
		{"no checksum", raw, Expect{}, nil, "package (unnamed): no checksum to check it against"},
		{"name", raw, Expect{Name: "n", Checksum: p.Checksum}, ErrMismatch, "package n: name is m, expected n"},
		{"version", raw, Expect{Name: "m", Version: "2-r0", Checksum: p.Checksum}, ErrMismatch, "package m-2-r0: version is 1.0-r0, expected 2-r0"},
		{"larger than expected", raw, Expect{Checksum: p.Checksum, Size: p.Size - 1}, ErrMismatch,
			fmt.Sprintf("package m-1.0-r0: size is more than that, expected %d", p.Size-1)},
		{"smaller than expected", raw, Expect{Checksum: p.Checksum, Size: p.Size + 1}, ErrMismatch,
			fmt.Sprintf("package m-1.0-r0: size is %s, expected %d", size, p.Size+1)},
		{"file digest", raw, Expect{Checksum: p.Checksum, FileSHA256: apk.SHA256{1}}, ErrMismatch,
			"package m-1.0-r0: sha256 of the file is " + apk.SHA256(sha256.Sum256(raw)).Hex() + ", expected " + apk.SHA256{1}.Hex()},
		{"receipt digest", raw, Expect{Checksum: p.Checksum, ReceiptSHA256: apk.SHA256{1}}, ErrMismatch, ""},
		{"data hash", with(func(s *apktest.Spec) { s.WrongDataHash = true }), Expect{Unsafe: Unsafe{NoChecksum: true}}, ErrMismatch, ""},
		{"no data hash", with(func(s *apktest.Spec) { s.NoDataHash = true }), Expect{Unsafe: Unsafe{NoChecksum: true}}, nil,
			"package (unnamed): .PKGINFO: no datahash: nothing vouches for the data section"},
		{"signature", with(func(s *apktest.Spec) { s.WrongSignature = true }), Expect{Checksum: p.Checksum, Key: keys(key)}, apk.ErrSignature,
			"package " + p.Checksum.String() + ": RSA256 signature of key test.rsa.pub: signature does not match"},
		{"one of two signatures", with(func(s *apktest.Spec) { s.WrongSignature = true; s.ExtraSignatures = []apktest.Key{*other} }),
			Expect{Checksum: p.Checksum, Key: keys(other)}, apk.ErrSignature,
			"package " + p.Checksum.String() + ": RSA256 signature of key other.rsa.pub: signature does not match"},
		{"other key of that name", raw, Expect{Checksum: p.Checksum, Key: func(string) *rsa.PublicKey { return other.Public() }}, apk.ErrSignature, ""},
		{"apk v3", []byte("ADBd and so on"), Expect{Name: "x"}, apk.ErrVersion3, ""},
		{"empty", nil, Expect{Name: "x"}, apk.ErrNotPackage, ""},
		{"web page", []byte("<html>not found</html>"), Expect{Name: "x", Version: "1"}, apk.ErrNotPackage, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := openTemp(t)
			_, err := st.Ingest(t.Context(), bytes.NewReader(c.raw), c.expect)
			if c.want == "" && err != nil {
				c.want = err.Error()
			}
			wantError(t, err, c.kind, c.want)
			if left := files(t, st); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestUnsafeIsRecorded(t *testing.T) {
	key := apktest.NewKey("test.rsa.pub")
	spec := sample("u")
	spec.Sign, spec.NoDataHash, spec.WrongSignature = key, true, true
	st := openTemp(t)
	r, err := st.Ingest(t.Context(), bytes.NewReader(apktest.Build(spec)), Expect{Key: keys(key), Unsafe: Unsafe{NoChecksum: true, NoDataHash: true, NoSignature: true}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"control checksum", "data hash", "package signature"}, r.Waived); d != "" || r.SignedBy != "" {
		t.Errorf("signed by %q, waived (-want +got):\n%s", r.SignedBy, d)
	}
	// A switch that skips nothing leaves no trace, and a cached receipt is held
	// to the expectation of the day.
	good, raw := ingest(t, st, sample("v"))
	if err := good.Check(Expect{Checksum: good.Package.Checksum, FileSHA256: sha256.Sum256(raw), Key: keys(key), Unsafe: Unsafe{NoChecksum: true, NoDataHash: true, NoSignature: true}}); err != nil || len(good.Waived) > 0 {
		t.Errorf("waived %q, %v", good.Waived, err)
	}
	if err := r.Check(Expect{Checksum: r.Package.Checksum}); !errors.Is(err, errNoDataHash) {
		t.Errorf("without the switch: %v", err)
	}
}

func TestUnknownKeyIsNoError(t *testing.T) {
	spec := sample("k")
	spec.Sign = apktest.NewKey("test.rsa.pub")
	spec.WrongSignature = true
	raw, p := apktest.BuildEntry(spec)
	st := openTemp(t)
	r, err := st.Ingest(t.Context(), bytes.NewReader(raw), Expect{Checksum: p.Checksum, Key: keys()})
	if err != nil || r.SignedBy != "" || r.SignatureKey != "test.rsa.pub" {
		t.Fatalf("%+v, %v", r, err)
	}
	// The key is known later: the cached package is refused then.
	if _, err := st.Find(Expect{Checksum: p.Checksum, Key: keys(spec.Sign)}); !errors.Is(err, ErrNotFound) || !errors.Is(err, apk.ErrSignature) {
		t.Errorf("error %v", err)
	}
}

func TestReaderErrors(t *testing.T) {
	st := openTemp(t)
	raw, p := apktest.BuildEntry(sample("r"))
	broken := errors.New("connection reset")
	for _, n := range []int{0, 10, len(raw) / 2, len(raw) - 1} {
		r := io.MultiReader(bytes.NewReader(raw[:n]), iotest.ErrReader(broken))
		if _, err := st.Ingest(t.Context(), r, Expect{Checksum: p.Checksum}); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := st.Ingest(ctx, bytes.NewReader(raw), Expect{Checksum: p.Checksum}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	half := io.MultiReader(bytes.NewReader(raw[:len(raw)/2]), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }))
	if _, err := st.Ingest(ctx, half, Expect{Checksum: p.Checksum}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled half-way: %v", err)
	}
	if left := files(t, st); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestLookup(t *testing.T) {
	st := openTemp(t)
	r, raw := ingest(t, st, sample("l"))
	_, err := st.Lookup(apk.SHA1{9})
	wantError(t, err, ErrNotFound, "receipt 0900000000000000000000000000000000000000: not in the store")
	_, err = st.Receipt(apk.SHA256{9})
	wantError(t, err, ErrNotFound, "receipt for data sha256:0900000000000000000000000000000000000000000000000000000000000000: not in the store")
	for name, get := range map[string]func() (*Receipt, error){
		"Lookup":  func() (*Receipt, error) { return st.Lookup(r.Package.Checksum) },
		"Receipt": func() (*Receipt, error) { return st.Receipt(r.DataHash) },
		"Find": func() (*Receipt, error) {
			return st.Find(Expect{Name: "l", Version: "1.0-r0", Checksum: r.Package.Checksum, Size: int64(len(raw)), FileSHA256: sha256.Sum256(raw), ReceiptSHA256: r.Digest()})
		},
	} {
		got, err := get()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if d := cmp.Diff(r, got, cmp.AllowUnexported(Receipt{})); d != "" {
			t.Errorf("%s (-ingested +loaded):\n%s", name, d)
		}
	}
	_, err = st.Find(Expect{Name: "l", Version: "1.0-r0", Checksum: r.Package.Checksum, Size: 1})
	wantError(t, err, ErrNotFound, fmt.Sprintf("package l-1.0-r0: the one in the store is another: package l-1.0-r0: size is %d, expected 1", len(raw)))

	// Without its blob a package is not there, but its receipt is.
	if err := os.Remove(st.BlobPath(r)); err != nil {
		t.Fatal(err)
	}
	_, err = st.Lookup(r.Package.Checksum)
	wantError(t, err, ErrNotFound, "package l-1.0-r0: data section "+r.DataHash.String()+": not in the store")
	if got, err := st.Receipt(r.DataHash); err != nil || got.ID() != r.ID() {
		t.Errorf("%v, %v", got, err)
	}
	for name, err := range map[string]error{"Verify": st.Verify(t.Context(), r), "LinkBlob": st.LinkBlob(t.Context(), r, filepath.Join(t.TempDir(), "x"))} {
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := st.OpenTar(t.Context(), r); !errors.Is(err, ErrNotFound) {
		t.Errorf("OpenTar: %v", err)
	}
}

// Packages without files all have the same data section; each keeps its receipt.
func TestSameDataSection(t *testing.T) {
	st := openTemp(t)
	empty := func(name string) apktest.Spec {
		return apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0"}}
	}
	a, _ := ingest(t, st, empty("meta-a"))
	b, _ := ingest(t, st, empty("meta-b"))
	if a.DataHash != b.DataHash {
		t.Fatal("the data sections differ")
	}
	for _, r := range []*Receipt{a, b} {
		if got, err := st.Lookup(r.Package.Checksum); err != nil || got.ID() != r.ID() {
			t.Errorf("%s: %v, %v", r.ID(), got, err)
		}
	}
	if got, err := st.Receipt(a.DataHash); err != nil || got.ID() != "meta-a-1-r0" && got.ID() != "meta-b-1-r0" {
		t.Errorf("%v, %v", got, err)
	}
	if info, err := st.Info(); err != nil || info.Data.Count != 1 || info.Receipts.Count != 2 {
		t.Errorf("%+v, %v", info, err)
	}
}

// The same control section signed by two keys makes two files, both kept.
func TestSameControlSection(t *testing.T) {
	st := openTemp(t)
	spec := sample("signed")
	spec.Sign = apktest.NewKey("test.rsa.pub")
	a, rawA := ingest(t, st, spec)
	spec.Sign = apktest.NewKey("other.rsa.pub")
	b, rawB := ingest(t, st, spec)
	if a.Package.Checksum != b.Package.Checksum || a.FileSHA256 == b.FileSHA256 {
		t.Fatal("not as meant")
	}
	for _, raw := range [][]byte{rawA, rawB} {
		want := apk.SHA256(sha256.Sum256(raw))
		got, err := st.Find(Expect{Checksum: a.Package.Checksum, FileSHA256: want})
		if err != nil || got.FileSHA256 != want {
			t.Errorf("%v, %v", got, err)
		}
	}
	if problems, err := st.Check(t.Context(), true); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// Goroutines that ingest the same package at the same time read one source.
func TestSingleFlight(t *testing.T) {
	raw, p := apktest.BuildEntry(sample("flight"))
	for wait := 50 * time.Millisecond; ; wait *= 4 {
		n := flightSources(t, raw, p.Checksum, wait)
		if n == 1 {
			break
		}
		if wait > 5*time.Second {
			t.Fatalf("%d sources were read", n)
		}
	}
}

// flightSources ingests the same package eight times at once and returns how
// many sources were read. Seven get the time wait to join the first.
func flightSources(t *testing.T, raw []byte, checksum apk.SHA1, wait time.Duration) int32 {
	st := openTemp(t)
	var sources atomic.Int32
	started, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	source := func(first bool) io.Reader {
		return io.MultiReader(readerFunc(func([]byte) (int, error) {
			sources.Add(1)
			if first {
				close(started)
				<-release
			}
			return 0, io.EOF
		}), bytes.NewReader(raw))
	}
	for i := range 8 {
		wg.Go(func() {
			if i > 0 {
				<-started
			}
			if _, err := st.Ingest(t.Context(), source(i == 0), Expect{Checksum: checksum}); err != nil {
				t.Error(err)
			}
		})
	}
	<-started
	time.Sleep(wait)
	close(release)
	wg.Wait()
	return sources.Load()
}

func TestFailedFlight(t *testing.T) {
	st := openTemp(t)
	var wg sync.WaitGroup
	// Those who waited for a failed one try their own source.
	raw, p := apktest.BuildEntry(sample("second"))
	started, fail := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		broken := readerFunc(func([]byte) (int, error) { close(started); <-fail; return 0, errors.New("broken") })
		if _, err := st.Ingest(t.Context(), broken, Expect{Checksum: p.Checksum}); err == nil || !strings.HasSuffix(err.Error(), "broken") {
			t.Errorf("error %v", err)
		}
	})
	<-started
	wg.Go(func() {
		if _, err := st.Ingest(t.Context(), bytes.NewReader(raw), Expect{Checksum: p.Checksum}); err != nil {
			t.Error(err)
		}
	})
	close(fail)
	wg.Wait()
}

func TestWaitingForAFlightEndsWithTheContext(t *testing.T) {
	st := openTemp(t)
	started, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = st.Ingest(t.Context(), readerFunc(func([]byte) (int, error) { close(started); <-release; return 0, io.EOF }), Expect{Checksum: apk.SHA1{1}})
	})
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := st.Ingest(ctx, strings.NewReader("never read"), Expect{Checksum: apk.SHA1{1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(release)
	wg.Wait()
}
