package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestStorageError(t *testing.T) {
	if err := storageError("write x", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	for _, c := range []struct {
		cause error
		full  bool
		want  string
	}{
		{syscall.ENOSPC, true, "store: no space left: write x: no space left on device"},
		{syscall.EDQUOT, true, "store: no space left: write x: disk quota exceeded"},
		{syscall.EFBIG, true, "store: no space left: write x: file too large"},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, true, "store: no space left: write x: write x: no space left on device"},
		{syscall.EACCES, false, "store: write x: permission denied"},
		{io.ErrUnexpectedEOF, false, "store: write x: unexpected EOF"},
	} {
		err := storageError("write x", c.cause)
		if err.Error() != c.want || errors.Is(err, ErrNoSpace) != c.full || !errors.Is(err, c.cause) {
			t.Errorf("%q, full %v; want %q", err, errors.Is(err, ErrNoSpace), c.want)
		}
	}
}

func TestErrorKinds(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		err  error
		is   []error
		not  []error
		text string
	}{
		{corruptf(cause, "file %s", "x"), []error{ErrCorrupt, ErrNotFound, cause}, []error{ErrMalformed, ErrMismatch}, "file x: cause"},
		{notFoundf(nil, "file %s", "x"), []error{ErrNotFound}, []error{ErrCorrupt, cause}, "file x"},
		{notFoundf(cause, "file"), []error{ErrNotFound, cause}, []error{ErrCorrupt}, "file: cause"},
		{malformedf("at %d", 3), []error{ErrMalformed}, []error{ErrHostile, ErrNotFound}, "at 3"},
		{&MismatchError{Package: "a-1", What: "size", Found: "1", Wanted: "2"}, []error{ErrMismatch}, []error{ErrHostile, cause}, "package a-1: size is 1, expected 2"},
		{&MismatchError{Package: "a-1", What: "size", Found: "1", Wanted: "2", Cause: cause}, []error{ErrMismatch, cause}, []error{ErrHostile}, "package a-1: size is 1, expected 2 (cause)"},
		{&HostileError{Package: "a-1", Reason: "no"}, []error{ErrHostile}, []error{ErrMismatch, ErrMalformed}, "package a-1: refused: no"},
		{&HostileError{Package: "a-1", Member: strings.Repeat("x", 500), Reason: "no"}, []error{ErrHostile}, nil,
			`package a-1: refused: member "` + strings.Repeat("x", 200) + `": no`},
	} {
		if c.err.Error() != c.text {
			t.Errorf("%q, want %q", c.err, c.text)
		}
		wrapped := fmt.Errorf("around: %w", c.err)
		for _, kind := range c.is {
			if !errors.Is(wrapped, kind) {
				t.Errorf("%q is not %q", c.err, kind)
			}
		}
		for _, kind := range c.not {
			if errors.Is(wrapped, kind) {
				t.Errorf("%q is %q", c.err, kind)
			}
		}
	}
}

func TestExpectID(t *testing.T) {
	for _, c := range []struct {
		e    Expect
		want string
	}{
		{Expect{Name: "a", Version: "1-r0", Checksum: apk.SHA1{1}}, "a-1-r0"},
		{Expect{Name: "a"}, "a"},
		{Expect{Checksum: apk.SHA1{}}, "(unnamed)"},
		{Expect{Checksum: apk.SHA1{1}}, "Q1AQAAAAAAAAAAAAAAAAAAAAAAAAA="},
	} {
		if got := c.e.ID(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestLimitsDefaults(t *testing.T) {
	got := Limits{File: 5, Ratio: -1}.withDefaults()
	want := Limits{File: 5, DataInflated: 16 << 30, Ratio: 1 << 60, Entries: 1_000_000, Metadata: 256 << 20}
	if got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if again := got.withDefaults(); again != got {
		t.Errorf("twice: %+v", again)
	}
}

func TestControlLimits(t *testing.T) {
	spec := sample("control")
	spec.Scripts = map[string]string{"post-install": strings.Repeat("x", 5000)}
	for _, l := range []apk.Limits{{ControlInflated: 4000}, {ControlCompressed: 100}} {
		st := openAt(t, t.TempDir(), Options{Limits: Limits{Control: l}})
		if _, err := try(t, st, apktest.Build(spec)); !errors.Is(err, apk.ErrTooLarge) || !strings.HasPrefix(err.Error(), "package (unnamed): ") {
			t.Errorf("%+v: %v", l, err)
		}
	}
	dir := t.TempDir()
	st := openAt(t, dir, Options{Limits: Limits{Control: apk.Limits{ControlInflated: 1 << 20}}})
	r, err := try(t, st, apktest.Build(spec))
	if err != nil {
		t.Fatal(err)
	}
	// A limit is for what comes in: what is there is no damage.
	st = openAt(t, dir, Options{Limits: Limits{Control: apk.Limits{ControlInflated: 4000}}})
	if _, err := st.Lookup(r.Package.Checksum); err != nil {
		t.Error(err)
	}
}

func TestReceiptNames(t *testing.T) {
	sum, file := apk.SHA1{0xab}, apk.SHA256{0xcd}
	for name, want := range map[string]bool{
		sum.Hex(): true, variantName(sum, file): true, "": false, "ab": false, strings.ToUpper(sum.Hex()): false,
		sum.Hex() + ".": false, sum.Hex() + ".12": false, "../" + sum.Hex()[3:]: false, sum.Hex() + ".0123456789abcdeg": false,
	} {
		if got := validReceiptName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if got := variantName(sum, file); got != sum.Hex()+".cd00000000000000" {
		t.Errorf("variant %q", got)
	}
}

func TestReadAll(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, info, err := readAll(name, 5); err != nil || string(b) != "12345" || info.Size() != 5 {
		t.Errorf("%q, %v", b, err)
	}
	_, _, err := readAll(name, 4)
	wantError(t, err, nil, "5 bytes, at most 4 are allowed")
	if _, _, err := readAll(name+"x", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A directory in the place of a file is an error that names it, not a package.
func TestDirectoriesInTheWay(t *testing.T) {
	st := openTemp(t)
	raw, p := apktest.BuildEntry(sample("way"))
	blob := st.blobPath(p.DataHash)
	if err := makeDir(filepath.Join(blob, "x")); err != nil {
		t.Fatal(err)
	}
	_, err := st.Ingest(t.Context(), bytes.NewReader(raw), Expect{Checksum: p.Checksum})
	if err == nil || !strings.HasPrefix(err.Error(), "store: write "+blob+": ") {
		t.Errorf("error %v", err)
	}
	if _, err := st.Lookup(p.Checksum); !errors.Is(err, ErrNotFound) {
		t.Errorf("the package is there: %v", err)
	}
	if left, _ := filepath.Glob(st.path(tmpDir, "*", "*")); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}

// Buffers go back to their pool when the last reader has released them.
func TestBuffers(t *testing.T) {
	p := newBuffers()
	b := take(&p.compressed, 3)
	for range 2 {
		if b.release(); b.refs.Load() == 0 {
			t.Fatal("released too early")
		}
	}
	if b.release(); b.refs.Load() != 0 {
		t.Errorf("%d references left", b.refs.Load())
	}
	if again := take(&p.inflated, 1); len(again.b) != inflatedBuffer || again.refs.Load() != 1 {
		t.Errorf("%d bytes, %d references", len(again.b), again.refs.Load())
	}
}
