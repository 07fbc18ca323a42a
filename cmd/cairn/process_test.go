package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// world is a directory with a repository and a configuration, and the way to
// run the program in it.
type world struct {
	t   *testing.T
	dir string
}

// newWorld makes a repository of n packages of about size bytes each.
func newWorld(t *testing.T, n, size int) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	random := rand.New(rand.NewPCG(3, 4))
	var specs []apktest.Spec
	names := []string{}
	for i := range n {
		name := fmt.Sprintf("pkg-%02d", i)
		names = append(names, name)
		content := make([]byte, size)
		for j := range content {
			content[j] = byte(random.Uint32() & 0x3f)
		}
		s := apktest.Spec{
			Package: apk.Package{Name: name, Version: "1.0-r0", License: "MIT", BuildTime: 1700000000 + int64(i)},
			Files: []apktest.File{
				{Path: "usr/lib/" + name + "/data", Content: string(content)},
				{Path: "usr/bin/" + name, Mode: 0o4755, UID: i, Content: name},
				{Path: "usr/bin/" + name + ".link", Type: apk.TypeSymlink, Link: name},
			},
		}
		if i > 0 {
			s.Package.Depends = []apk.Dependency{{Name: names[i-1]}}
		}
		specs = append(specs, s)
	}
	key := apktest.NewKey("test.rsa.pub")
	if err := writeRepository(w.path("repo"), "x86_64", key, specs); err != nil {
		t.Fatal(err)
	}
	w.write("key/test.rsa.pub", string(key.PublicPEM()))
	w.write("image.yaml", "contents:\n  repositories: ["+w.path("repo")+"]\n  keyring: ["+w.path("key/test.rsa.pub")+"]\n  packages: ["+names[n-1]+"]\n"+
		"accounts:\n  users: [{username: app, uid: 1000}]\narchs: [x86_64]\nfiles:\n  - {path: /etc/motd, content: hi}\n")
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(w.path(name)), 0o755), os.WriteFile(w.path(name), []byte(content), 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

// command is the program as its own process, with nothing of this environment.
func (w *world) command(args ...string) *exec.Cmd {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	return &exec.Cmd{
		Path: self, Args: append([]string{"cairn"}, args...), Dir: w.dir,
		Env: []string{"HOME=" + w.dir, "CAIRN_CACHE_DIR=" + w.path("cache"), "CAIRN_VCS=false", "PATH=" + os.Getenv("PATH")},
	}
}

// runs runs the command and returns its exit code, output and error text.
func runs(cmd *exec.Cmd) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(out.String()), err.String()
}

func (w *world) build(args ...string) (code int, digest, stderr string) {
	return runs(w.command(append([]string{"build", "image.yaml", "app:1"}, args...)...))
}

func (w *world) mustBuild(args ...string) string {
	w.t.Helper()
	code, digest, stderr := w.build(args...)
	if code != 0 {
		w.t.Fatalf("build: exit code %d: %s", code, stderr)
	}
	return digest
}

func fileSum(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// The same input gives the same bytes, whatever surrounds the build.
func TestSameDigestEverywhere(t *testing.T) {
	w := newWorld(t, 6, 20_000)
	want := w.mustBuild("first.tar")
	sum := fileSum(t, w.path("first.tar"))
	n := 0
	variant := func(name string, change func(*exec.Cmd)) {
		t.Run(name, func(t *testing.T) {
			n++
			out := w.path(fmt.Sprintf("variant-%d.tar", n))
			cmd := w.command("build", w.path("image.yaml"), "app:1", out)
			change(cmd)
			code, digest, stderr := runs(cmd)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if digest != want {
				t.Errorf("digest %s, expected %s", digest, want)
			}
			if _, err := os.Stat(out); err == nil && fileSum(t, out) != sum {
				t.Errorf("the archive differs")
			}
		})
	}
	env := func(pairs ...string) func(*exec.Cmd) {
		return func(c *exec.Cmd) { c.Env = append(c.Env, pairs...) }
	}
	variant("again", env())
	variant("other directory", func(c *exec.Cmd) { c.Dir = t.TempDir() })
	variant("time zone and language", env("TZ=Asia/Kathmandu", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8"))
	variant("one processor", env("GOMAXPROCS=1"))
	variant("eight processors", env("GOMAXPROCS=8"))
	variant("empty SOURCE_DATE_EPOCH", env("SOURCE_DATE_EPOCH="))
	variant("cold store", env("CAIRN_CACHE_DIR="+w.path("cache-cold")))
	variant("one job", env("CAIRN_JOBS=1", "CAIRN_CACHE_DIR="+w.path("cache-one")))
	variant("umask 077", func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `umask 077; exec "$0" "$@"`, linkAs(t, c.Path, "cairn")}, c.Args[1:]...)
		c.Path = "/bin/sh"
		c.Env = append(c.Env, "CAIRN_CACHE_DIR="+w.path("cache-umask"))
	})
	variant("not root", func(c *exec.Cmd) {
		if os.Getuid() != 0 {
			t.Log("these tests do not run as root: every variant is one")
			return
		}
		dir := openDir(t)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		c.Path = copyAs(t, c.Path, filepath.Join(dir, "cairn"))
		c.Env = append(c.Env, "CAIRN_CACHE_DIR="+filepath.Join(dir, "cache"), "HOME="+dir)
		c.Args[len(c.Args)-1] = filepath.Join(dir, "out.tar")
		c.Args[2] = copyAs(t, c.Args[2], filepath.Join(dir, "image.yaml"))
		makeReadable(t, w.dir)
	})
}

// linkAs gives a program another name; which command the test binary is depends
// on it.
func linkAs(t *testing.T, program, name string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// openDir is a directory that other users can reach and write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cairn-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyAs(t *testing.T, from, to string) string {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err == nil {
		err = os.Chmod(to, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// makeReadable opens the way to a directory for other users.
func makeReadable(t *testing.T, dir string) {
	t.Helper()
	for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		if fi, err := os.Stat(d); err == nil && fi.Mode().Perm()&0o005 != 0o005 {
			if err := os.Chmod(d, fi.Mode().Perm()|0o055); err != nil {
				t.Skipf("cannot open %s: %v", d, err)
			}
		}
	}
}

// Whatever byte is altered, of blobs, receipts, cached or fetched indexes,
// packages or the lock: it is noticed. What is cached is healed from the
// repository; everything else ends the build.
func TestAlteredBytesAreNoticed(t *testing.T) {
	w := newWorld(t, 4, 3000)
	if code, _, stderr := runs(w.command("lock", "image.yaml")); code != 0 {
		t.Fatal(stderr)
	}
	want := w.mustBuild("out.tar")
	places := []struct {
		name   string
		glob   string
		cached bool
	}{
		{"blob", "cache/store/blobs/*/*", true},
		{"receipt", "cache/store/receipts/*/*", true},
		{"lock", "image.lock.json", false},
		{"package", "repo/x86_64/*.apk", false},
		{"index", "repo/x86_64/APKINDEX.tar.gz", false},
	}
	random := rand.New(rand.NewPCG(5, 6))
	flips := 0
	for _, p := range places {
		files, err := filepath.Glob(w.path(p.glob))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files at %s (%v)", p.name, p.glob, err)
		}
		for range 40 {
			flips++
			w.flipAndBuild(p.name, files[random.IntN(len(files))], p.cached, want, random)
		}
	}
	if flips < 200 {
		t.Errorf("only %d positions", flips)
	}
}

func (w *world) flipAndBuild(kind, name string, cached bool, want string, random *rand.Rand) {
	t := w.t
	t.Helper()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	altered := bytes.Clone(whole)
	at, bit := random.IntN(len(altered)), random.IntN(8)
	if !cached && kind != "lock" && at >= 4 && at < 10 {
		at += 10 // time and system in the first gzip header are no content: nothing covers them
	}
	altered[at] ^= 1 << bit
	replace(t, name, altered)
	if !cached && kind != "lock" {
		// Only a cold store, and a build without a lock, read these.
		replace(t, w.path("moved.lock.json"), nil)
		if err := errors.Join(os.RemoveAll(w.path("cache")), os.Rename(w.path("image.lock.json"), w.path("moved.lock.json"))); err != nil {
			t.Fatal(err)
		}
		defer os.Rename(w.path("moved.lock.json"), w.path("image.lock.json"))
	}
	code, digest, stderr := w.build()
	after, err := os.ReadFile(name)
	switch {
	case cached && (code != 0 || digest != want):
		t.Errorf("%s %s byte %d bit %d: not healed: exit code %d: %s", kind, name, at, bit, code, stderr)
	case cached && (err != nil || !bytes.Equal(after, whole)):
		t.Errorf("%s %s byte %d bit %d: still altered", kind, name, at, bit)
	case !cached && code == 0:
		t.Errorf("%s %s byte %d bit %d (%q → %q): not noticed", kind, name, at, bit, whole[at], altered[at])
	case !cached && code != exitUnverified && code != exitConfig && code != exitUnreachable:
		t.Errorf("%s %s byte %d bit %d: exit code %d: %s", kind, name, at, bit, code, stderr)
	}
	replace(t, name, whole)
}

// replace puts a new file in the place of one that may be read-only or hard-linked.
func replace(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A build that is killed at any moment leaves the old output or the new one,
// nothing half-written that is trusted, and does not hinder the next build.
func TestKilledBuilds(t *testing.T) {
	w := newWorld(t, 8, 400_000)
	start := time.Now()
	want := w.mustBuild("out.tar")
	took := time.Since(start)
	sum := fileSum(t, w.path("out.tar"))
	old := []byte("the previous output")
	random := rand.New(rand.NewPCG(7, 8))
	killed := 0
	for i := range 20 {
		if i%2 == 0 {
			if err := os.RemoveAll(w.path("cache")); err != nil {
				t.Fatal(err)
			}
		}
		replace(t, w.path("out.tar"), old)
		cmd := w.command("build", "image.yaml", "app:1", "out.tar")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(took))))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if cmd.Wait() != nil {
			killed++
		}
		b, err := os.ReadFile(w.path("out.tar"))
		if err != nil || !bytes.Equal(b, old) && fmt.Sprintf("%x", sha256.Sum256(b)) != sum {
			t.Fatalf("round %d: the output is neither the old nor the new one (%d bytes, %v)", i, len(b), err)
		}
		if got := w.mustBuild("out.tar"); got != want {
			t.Fatalf("round %d: the next build gives %s, expected %s", i, got, want)
		}
		if code, out, _ := runs(w.command("cache", "verify", "--full")); code != 0 || out != "0 problems" {
			t.Fatalf("round %d: store: %s", i, out)
		}
	}
	if killed < 5 {
		t.Errorf("only %d of 20 builds were killed before they ended", killed)
	}
	leftovers(t, w.dir)
}

// leftovers fails on temporary files beside the outputs.
func leftovers(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), "tmp") {
			t.Errorf("left over: %s", e.Name())
		}
	}
}

// An interrupted build says so, exits with 130 and leaves the old output.
func TestInterruptedBuild(t *testing.T) {
	w := newWorld(t, 8, 400_000)
	old := []byte("the previous output")
	for _, tt := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		stopped := false
		for i := 0; i < 20 && !stopped; i++ {
			if err := os.RemoveAll(w.path("cache")); err != nil {
				t.Fatal(err)
			}
			replace(t, w.path("out.tar"), old)
			var stderr bytes.Buffer
			cmd := w.command("build", "image.yaml", "app:1", "out.tar")
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(20+5*i) * time.Millisecond)
			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			stopped = cmd.ProcessState.ExitCode() == tt.code
			if !stopped {
				continue // it was not yet listening, or done already
			}
			if b, err := os.ReadFile(w.path("out.tar")); err != nil || !bytes.Equal(b, old) {
				t.Errorf("%v: the output changed (%v)", tt.signal, err)
			}
			if !strings.Contains(stderr.String(), "cairn: interrupted: ") {
				t.Errorf("%v: message %q", tt.signal, stderr.String())
			}
		}
		if !stopped {
			t.Errorf("%v: never met a running build", tt.signal)
		}
	}
	leftovers(t, w.dir)
}

// A full disk and a read-only one: exit code 8, the old output stays.
func TestFullAndReadOnlyDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	w := newWorld(t, 4, 400_000)
	small := w.path("small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	w.write("small/out.tar", "previous")
	full := func(what string, env []string, args ...string) {
		cmd := w.command(append([]string{"build", "image.yaml", "app:1"}, args...)...)
		cmd.Env = append(cmd.Env, env...)
		code, _, stderr := runs(cmd)
		if code != exitStorage {
			t.Errorf("%s: exit code %d, expected %d: %s", what, code, exitStorage, stderr)
		}
		if b, err := os.ReadFile(w.path("small/out.tar")); err != nil || string(b) != "previous" {
			t.Errorf("%s: the previous output is %q (%v)", what, b, err)
		}
		leftovers(t, small)
	}
	full("output on a full disk", nil, "small/out.tar")
	full("layout on a full disk", nil, "small/layout/")
	if _, err := os.Stat(w.path("small/layout/index.json")); err == nil {
		t.Errorf("a half-written layout was left")
	}
	full("store on a full disk", []string{"CAIRN_CACHE_DIR=" + w.path("small/cache")}, "out.tar")
	if err := syscall.Mount("", small, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot remount: %v", err)
	}
	full("read-only output", nil, "small/out.tar")
}
