package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestCopyBlob(t *testing.T) {
	good := bytes.Repeat([]byte("0123456789"), 250_000) // more than two chunks
	b := &blob{digest: hashOf(good), size: int64(len(good))}
	other := bytes.Clone(good)
	other[1<<20] ^= 1
	for _, test := range []struct {
		name    string
		in      []byte
		trusted bool
		want    string
	}{
		{"good", good, false, ""},
		{"good, trusted", good, true, ""},
		{"one bit", other, false, "found " + hashOf(other).String() + ": bytes are not those of the digest"},
		{"one bit, trusted", other, true, ""},
		{"short", good[:len(good)-1], true, "2499999 bytes, expected 2500000: bytes are not those of the digest"},
		{"nothing", nil, false, "0 bytes, expected 2500000: bytes are not those of the digest"},
		{"long", append(bytes.Clone(good), 'x'), true, "more than 2500000 bytes: bytes are not those of the digest"},
	} {
		var out bytes.Buffer
		err := copyBlob(t.Context(), &out, bytes.NewReader(test.in), b, test.trusted)
		if test.want == "" {
			if err != nil || !bytes.Equal(out.Bytes(), test.in) {
				t.Errorf("%s: %d bytes, %v", test.name, out.Len(), err)
			}
			continue
		}
		if err == nil || err.Error() != test.want || !errors.Is(err, ErrBlobChanged) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := copyBlob(ctx, io.Discard, bytes.NewReader(good), b, false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := copyBlob(t.Context(), &fullDisk{100}, bytes.NewReader(good), b, false); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full disk: %v", err)
	}
}

func TestVerified(t *testing.T) {
	good := []byte("some bytes")
	for _, test := range []struct {
		name string
		in   string
		size int64
		want string
	}{
		{"good", "some bytes", 10, ""},
		{"changed", "some bites", 10, "found " + hashOf([]byte("some bites")).String()},
		{"short", "some", 10, "6 bytes missing"},
		{"long", "some bytes more", 10, "larger than its descriptor says"},
		{"descriptor too small", "some bytes", 4, "larger than its descriptor says"},
	} {
		r, err := verified(io.NopCloser(strings.NewReader(test.in)), &v1.Descriptor{Digest: hashOf(good), Size: test.size})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		switch {
		case test.want == "" && (err != nil || string(b) != test.in):
			t.Errorf("%s: %q, %v", test.name, b, err)
		case test.want != "" && (err == nil || !errors.Is(err, ErrBlobChanged) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := verified(io.NopCloser(strings.NewReader("")), &v1.Descriptor{Digest: v1.Hash{Algorithm: "md5", Hex: "x"}}); err == nil || err.Error() != `blob md5:x: algorithm "md5": expected sha256` {
		t.Error(err)
	}
}

func TestReadLimited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := readLimited(path, 100); err != nil || len(b) != 100 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := readLimited(path, 99); err == nil || err.Error() != path+": more than 99 bytes" {
		t.Error(err)
	}
}

// asNobody runs one test of this binary as a user without privileges. It
// reports false when the process is that user.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return false
	}
	dir, err := os.MkdirTemp("", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	copied := filepath.Join(dir, "test")
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(copied, b, 0o755), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return true
}

// Without permission, outputs are refused before work begins, what is there
// stays, and somebody else's store is copied where it cannot be linked.
func TestWithoutPermission(t *testing.T) {
	if asNobody(t) {
		return
	}
	dir := t.TempDir()
	img := testImage(t, "amd64")
	lay := filepath.Join(dir, "lay")
	mustWrite(t, Output{Kind: Layout, Path: lay}, img, WriteOptions{})
	before := listing(t, lay)
	for _, d := range []string{"blobs/sha256", "blobs", "."} {
		if err := os.Chmod(filepath.Join(lay, d), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, d := range []string{"", "lay", "lay/blobs", "lay/blobs/sha256"} {
			_ = os.Chmod(filepath.Join(dir, d), 0o755)
		}
	}()
	for _, out := range []Output{{Kind: DockerArchive, Path: filepath.Join(dir, "x.tar")}, {Kind: Layout, Path: lay}, {Kind: Layout, Path: filepath.Join(dir, "new")}} {
		if err := out.CheckWritable(); !errors.Is(err, os.ErrPermission) || !errors.Is(err, ErrNotWritable) {
			t.Errorf("%s: %v, want permission denied", out, err)
		}
		if _, err := Write(t.Context(), out, testImage(t, "arm64"), WriteOptions{}); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: %v, want permission denied", out, err)
		}
	}
	for path, was := range listing(t, lay) {
		if strings.Fields(was)[0][0] != 'd' && was != before[path] {
			t.Errorf("%s was %s, is %s", path, before[path], was)
		}
	}
}
