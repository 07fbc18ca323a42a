package demo_test

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/repository/demo"
)

// open loads the index of one architecture as any other repository's.
func open(t *testing.T, arch string) (*repository.Client, *repository.Index) {
	t.Helper()
	c, err := repository.NewClient(repository.Options{Builtins: map[string]fs.FS{"demo": demo.FS()}})
	if err != nil {
		t.Fatal(err)
	}
	src, err := repository.ParseSource("builtin://demo", arch)
	if err != nil {
		t.Fatal(err)
	}
	if src.Keyring, err = c.Keys(t.Context(), []string{"builtin://demo/" + demo.KeyName}); err != nil {
		t.Fatal(err)
	}
	ix, err := c.Load(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return c, ix
}

// Index and packages are signed by the key beside them and are what the index
// says, on both architectures.
func TestEverythingIsSigned(t *testing.T) {
	for _, arch := range []string{"x86_64", "aarch64"} {
		c, ix := open(t, arch)
		if ix.SignedBy.Name != demo.KeyName || ix.UnsafeUnsigned {
			t.Errorf("%s: index signed by %q", arch, ix.SignedBy.Name)
		}
		key := ix.Source().Keyring.Lookup(demo.KeyName)[0]
		var names []string
		for i := range ix.Len() {
			p := ix.Package(i)
			names = append(names, p.Name)
			head := readHead(t, c, ix, p)
			if head.ControlSHA1 != p.Checksum {
				t.Errorf("%s: %s: control checksum %s, index has %s", arch, p.ID(), head.ControlSHA1, p.Checksum)
			}
			if _, err := apk.VerifySignature(key.Public, head.Signature, head.Control); err != nil {
				t.Errorf("%s: %s: %v", arch, p.ID(), err)
			}
		}
		if want := []string{"ca-certificates-bundle", "cairn-baselayout", "hello-http", "tzdata"}; !slices.Equal(names, want) {
			t.Errorf("%s: packages %v, expected %v", arch, names, want)
		}
	}
}

func readHead(t *testing.T, c *repository.Client, ix *repository.Index, p *apk.Package) *apk.Head {
	t.Helper()
	r, _, err := c.OpenPackage(t.Context(), ix, p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head, err := apk.ReadHead(bufio.NewReader(r), apk.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", p.ID(), err)
	}
	return head
}

func TestUnknownNamesAreNotThere(t *testing.T) {
	for _, name := range []string{"x86_64/nothing-1-r0.apk", "riscv64/APKINDEX.tar.gz", "noarch/../x"} {
		if _, err := demo.FS().Open(name); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// member returns a file of a package.
func member(t *testing.T, name, path string) []byte {
	t.Helper()
	c, ix := open(t, "x86_64")
	for i := range ix.Len() {
		if ix.Package(i).Name != name {
			continue
		}
		body, _, err := c.OpenPackage(t.Context(), ix, ix.Package(i))
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		r := bufio.NewReader(body)
		if _, err := apk.ReadHead(r, apk.Limits{}); err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		return find(t, tar.NewReader(z), path)
	}
	t.Fatalf("no package %s", name)
	return nil
}

func find(t *testing.T, r *tar.Reader, path string) []byte {
	t.Helper()
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if h.Name == path {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
}

func TestContents(t *testing.T) {
	if n := strings.Count(string(member(t, "ca-certificates-bundle", "etc/ssl/certs/ca-certificates.crt")), "BEGIN CERTIFICATE"); n < 100 {
		t.Errorf("%d root certificates", n)
	}
	zone, err := time.LoadLocationFromTZData("Europe/Paris", member(t, "tzdata", "usr/share/zoneinfo/Europe/Paris"))
	if err != nil {
		t.Fatal(err)
	}
	if _, offset := time.Date(2026, 7, 1, 12, 0, 0, 0, zone).Zone(); offset != 7200 {
		t.Errorf("Paris in July is %d s from UTC", offset)
	}
}

// The web server really serves, and leaves when it is told to.
func TestHelloServes(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the program is for linux/amd64")
	}
	bin := filepath.Join(t.TempDir(), "hello-http")
	if err := os.WriteFile(bin, member(t, "hello-http", "usr/bin/hello-http"), 0o755); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	cmd := exec.Command(bin)
	cmd.Env = []string{fmt.Sprintf("PORT=%d", port)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/", 200, "Hello from an image built by cairn.\n"},
		{"HEAD", "/", 200, ""},
		{"GET", "/healthz", 200, "ok\n"},
		{"GET", "/else", 404, "not found\n"},
		{"POST", "/", 405, ""},
	} {
		status, body := request(t, tt.method, base+tt.path)
		if status != tt.status || body != tt.body {
			t.Errorf("%s %s: %d %q, expected %d %q", tt.method, tt.path, status, body, tt.status, tt.body)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// request asks until the server listens.
func request(t *testing.T, method, url string) (int, string) {
	t.Helper()
	var err error
	for range 100 {
		var req *http.Request
		if req, err = http.NewRequestWithContext(t.Context(), method, url, nil); err != nil {
			t.Fatal(err)
		}
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err == nil {
			b, readErr := io.ReadAll(resp.Body)
			if err := errors.Join(readErr, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(b)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal(err)
	return 0, ""
}
