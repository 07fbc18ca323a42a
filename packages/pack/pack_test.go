package pack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/tree"
)

// fill makes the content of a package: links, special bits, a file of several
// compressor blocks.
func fill(t testing.TB, dir string) {
	t.Helper()
	large := make([]byte, 3<<20)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range large {
		large[i] = byte(r.UintN(16))
	}
	do := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	for _, d := range []string{"usr/bin", "var/tmp-x", "usr/share/" + strings.Repeat("long/", 30)} {
		do(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	// Written in an order that no directory lists.
	for _, n := range rand.New(rand.NewPCG(3, 4)).Perm(40) {
		do(os.WriteFile(filepath.Join(dir, fmt.Sprintf("usr/share/f%02d", n)), []byte(strings.Repeat("x", n)), 0o644))
	}
	do(os.WriteFile(filepath.Join(dir, "usr/bin/big"), large, 0o755))
	do(os.Link(filepath.Join(dir, "usr/bin/big"), filepath.Join(dir, "usr/bin/same")))
	do(os.Symlink("big", filepath.Join(dir, "usr/bin/link")))
	do(os.WriteFile(filepath.Join(dir, "usr/share", strings.Repeat("long/", 30), "end"), []byte("e"), 0o644))
	do(os.Chmod(filepath.Join(dir, "var/tmp-x"), 0o755|os.ModeSticky))
	// Modes that do not depend on the umask.
	do(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.Type()&fs.ModeSymlink != 0 || p == filepath.Join(dir, "var/tmp-x"):
			return err
		case d.IsDir() || filepath.Base(filepath.Dir(p)) == "bin":
			return os.Chmod(p, 0o755)
		}
		return os.Chmod(p, 0o644)
	}))
}

func sample() Spec {
	return Spec{
		Package: apk.Package{Name: "hello", Version: "1.0-r0", Arch: "x86_64", Origin: "hello", Description: "says\n hello ", URL: "https://example.com",
			License: "MIT", Maintainer: "A <a@example.com>", Commit: "abc", BuildTime: 1700000000, Triggers: []string{"/usr/bin"}, ProviderPriority: 5},
		Scripts:  map[string][]byte{"post-install": []byte("#!/bin/sh\n:\n"), "trigger": []byte("#!/bin/sh\n")},
		Control:  map[string][]byte{".melange.yaml": []byte("package: {}\n")},
		Vendored: []string{"so:libx.so.1=1"},
	}
}

func packed(t testing.TB, dir string, s Spec, o Options) ([]byte, *Result) {
	t.Helper()
	tr, err := tree.Directory(dir, tree.DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	var out bytes.Buffer
	r, err := Write(context.Background(), &out, tr, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), r
}

func signingKey(t testing.TB, name string) repository.SigningKey {
	t.Helper()
	k, err := repository.ParseSigningKey(name, apktest.NewKey(name+".pub").PrivatePEM())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWriteIsReadByTheStore(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	key := signingKey(t, "test.rsa")
	raw, r := packed(t, dir, sample(), Options{Keys: []repository.SigningKey{key}})
	name := filepath.Join(t.TempDir(), "hello.apk")
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := tree.OpenPackage(context.Background(), name, tree.PackageOptions{Key: apktestKey("test.rsa.pub")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got := p.Receipt
	if got.Verbatim != "" {
		t.Errorf("cannot be a layer: %s", got.Verbatim)
	}
	if got.SignedBy != "test.rsa.pub" {
		t.Errorf("signed by %q", got.SignedBy)
	}
	if diff := cmp.Diff(r.Package, got.Package); diff != "" {
		t.Errorf("package: %s", diff)
	}
	if got.DiffID != r.DiffID || got.FileSHA256 != r.FileSHA256 || got.DataSize != r.DataSize || got.DataOffset != r.DataOffset || got.InflatedSize != r.InflatedSize {
		t.Errorf("measured %+v", r)
	}
	if id, err := DiffID(mustHead(t, raw).Files[".PKGINFO"]); err != nil || id != got.DiffID {
		t.Errorf("diff ID in .PKGINFO: %s, %v", id, err)
	}
	if v := Vendored(mustHead(t, raw).Files[".PKGINFO"]); !cmp.Equal(v, []string{"so:libx.so.1=1"}) {
		t.Errorf("vendored: %v", v)
	}
	for i := 1; i < len(got.Entries); i++ {
		if tree.Compare(got.Entries[i-1].Path, got.Entries[i].Path) >= 0 {
			t.Errorf("%s stands before %s", got.Entries[i-1].Path, got.Entries[i].Path)
		}
	}
	if e := p.Lookup("usr/bin/same"); e.Type != apk.TypeHardlink || e.Link != "usr/bin/big" {
		t.Errorf("hard link: %+v", e)
	}
	if e := p.Lookup("var/tmp-x"); e.Mode != 0o1755 {
		t.Errorf("sticky directory: %o", e.Mode)
	}
}

func apktestKey(name string) func(string) *rsa.PublicKey {
	return func(n string) *rsa.PublicKey {
		if n != name {
			return nil
		}
		return apktest.NewKey(name).Public()
	}
}

func mustHead(t testing.TB, raw []byte) *apk.Head {
	t.Helper()
	h, err := apk.ReadHead(bufio.NewReader(bytes.NewReader(raw)), apk.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPkgInfo(t *testing.T) {
	s := sample()
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	s.Package.DataHash = apk.SHA256{1}
	s.Package.Depends = []apk.Dependency{{Name: "a"}, {Name: "b", Op: apk.OpGreaterEqual, Version: "2"}}
	want := `# Generated by cairn
pkgname = hello
pkgver = 1.0-r0
arch = x86_64
size = 0
origin = hello
pkgdesc = says hello
url = https://example.com
commit = abc
maintainer = A <a@example.com>
builddate = 1700000000
license = MIT
depend = a
depend = b>=2
provider_priority = 5
triggers = /usr/bin
# vendored = so:libx.so.1=1
# diff_id = sha256:0200000000000000000000000000000000000000000000000000000000000000
datahash = 0100000000000000000000000000000000000000000000000000000000000000
`
	if diff := cmp.Diff(want, string(s.pkgInfo(apk.SHA256{2}))); diff != "" {
		t.Error(diff)
	}
}

// The digest changes when the compressor does: packages of the same content would
// then no longer be the same layer.
func TestBytesAreAsRecorded(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	raw, _ := packed(t, dir, sample(), Options{Keys: []repository.SigningKey{signingKey(t, "test.rsa")}})
	const want = "ef6f5e446a6394ee8fb413e3797bc945668db29be59e60af4707cccc12454cc5"
	if got := fmt.Sprintf("%x", sha256.Sum256(raw)); got != want {
		t.Errorf("sha256 %s, expected %s", got, want)
	}
}

func TestSameBytesWhateverTheHost(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	want, _ := packed(t, dir, sample(), Options{Jobs: 1})
	for _, jobs := range []int{2, 8} {
		if got, _ := packed(t, dir, sample(), Options{Jobs: jobs}); !bytes.Equal(got, want) {
			t.Errorf("%d jobs give other bytes", jobs)
		}
	}
	old := runtime.GOMAXPROCS(8)
	got, _ := packed(t, dir, sample(), Options{})
	runtime.GOMAXPROCS(old)
	if !bytes.Equal(got, want) {
		t.Error("GOMAXPROCS=8 gives other bytes")
	}
	other, err := os.MkdirTemp("/dev/shm", "cairn-pack-")
	if err != nil {
		t.Logf("no second file system: %v", err)
		return
	}
	defer os.RemoveAll(other)
	fill(t, other)
	if got, _ := packed(t, other, sample(), Options{TempDir: t.TempDir()}); !bytes.Equal(got, want) {
		t.Error("another file system gives other bytes")
	}
}

// TestSameBytesForAnotherUser packs once more as nobody, in a process of its own
// whose files are nobody's and whose umask is another.
func TestSameBytesForAnotherUser(t *testing.T) {
	if out := os.Getenv("CAIRN_PACK_AS"); out != "" {
		dir := t.TempDir()
		fill(t, dir)
		raw, _ := packed(t, dir, sample(), Options{})
		if err := os.WriteFile(out, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	dir := t.TempDir()
	fill(t, dir)
	want, _ := packed(t, dir, sample(), Options{})
	shared, err := os.MkdirTemp("/tmp", "cairn-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(shared)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(shared, "pack.test")
	for _, err := range []error{os.Chmod(shared, 0o777), os.WriteFile(program, self, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(shared, "out.apk")
	cmd := exec.Command("/bin/sh", "-c", "umask 027; exec \"$0\" -test.run='^TestSameBytesForAnotherUser$'", program)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = shared, []string{"CAIRN_PACK_AS=" + out, "TMPDIR=" + shared}, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("as nobody: %v\n%s", err, text)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("nobody gives other bytes")
	}
}

func TestMelangeDefect_SizeDependsOnFileSystem(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	_, r := packed(t, dir, sample(), Options{})
	want := int64(3<<20 + 1)
	for n := range 40 {
		want += int64(n)
	}
	if r.Package.InstalledSize != want {
		t.Errorf("size %d, expected the files' %d", r.Package.InstalledSize, want)
	}
}

func TestMelangeDefect_DirectoryOwnersAndBitsLost(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "var/lib/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	id, mode := 65532, uint32(0o2750)
	tr, err := tree.Directory(dir, tree.DirectoryOptions{Overlay: map[string]tree.Attributes{"var/lib/x": {UID: &id, GID: &id, Mode: &mode}}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	var out bytes.Buffer
	if _, err := Write(context.Background(), &out, tr, sample(), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, h := range dataHeaders(t, out.Bytes()) {
		if h.Name == "var/lib/x" && (h.Uid != id || h.Gid != id || h.Mode != int64(mode)) {
			t.Errorf("%+v", h)
		}
	}
}

func TestMelangeDefect_HardLinksAreCopies(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	raw, _ := packed(t, dir, sample(), Options{})
	links := 0
	for _, h := range dataHeaders(t, raw) {
		if h.Typeflag == tar.TypeLink {
			links++
		}
	}
	if links != 1 {
		t.Errorf("%d hard links, expected 1", links)
	}
}

func dataHeaders(t testing.TB, raw []byte) (out []*tar.Header) {
	t.Helper()
	h := mustHead(t, raw)
	z, err := gzip.NewReader(bytes.NewReader(raw[h.DataOffset():]))
	if err != nil {
		t.Fatal(err)
	}
	if z.ModTime.Unix() > 0 || z.Name != "" {
		t.Errorf("gzip header: %+v", z.Header)
	}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
}

func TestSpecRefuses(t *testing.T) {
	for want, change := range map[string]func(*Spec){
		"package (unnamed): name: missing":                                                  func(s *Spec) { s.Package.Name = "" },
		`package hello: version "one": not a version of apk: expected for example 1.2.3-r0`: func(s *Spec) { s.Package.Version = "one" },
		"package hello: architecture: missing: expected for example x86_64 or noarch":       func(s *Spec) { s.Package.Arch = "" },
		"package hello: build time -1: expected seconds since 1970":                         func(s *Spec) { s.Package.BuildTime = -1 },
		`package hello: licence "MIT\ndepend = evil": has a line break or another control character`: func(s *Spec) {
			s.Package.License = "MIT\ndepend = evil"
		},
		`package hello: script "install": expected one of pre-install, post-install, pre-deinstall, post-deinstall, pre-upgrade, post-upgrade, trigger`: func(s *Spec) {
			s.Scripts["install"] = nil
		},
		`package hello: script post-install: does not begin with "#!": expected for example #!/bin/sh`: func(s *Spec) { s.Scripts["post-install"] = []byte("ls") },
		"package hello: trigger script without paths that trigger it":                                  func(s *Spec) { s.Package.Triggers = nil },
		"package hello: paths of a trigger without a trigger script":                                   func(s *Spec) { delete(s.Scripts, "trigger") },
		`package hello: trigger path "usr": expected an absolute path without spaces`:                  func(s *Spec) { s.Package.Triggers = []string{"usr"} },
		"package hello: control file .PKGINFO: is made from other fields":                              func(s *Spec) { s.Control[".PKGINFO"] = nil },
		"package hello: control file .trigger: is made from other fields":                              func(s *Spec) { s.Control[".trigger"] = nil },
		`package hello: control file "../x": expected a name that begins with a dot and has no slash`:  func(s *Spec) { s.Control["../x"] = nil },
		`package hello: vendored name "a\nb": has a control character`:                                 func(s *Spec) { s.Vendored = []string{"a\nb"} },
	} {
		s := sample()
		change(&s)
		err := s.check()
		if err == nil || err.Error() != want || !errors.Is(err, ErrSpec) {
			t.Errorf("error %v, expected %s", err, want)
		}
	}
}

func TestWriteFileLeavesNothingBehind(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	fill(t, dir)
	tr, err := tree.Directory(dir, tree.DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	name := filepath.Join(out, "hello-1.0-r0.apk")
	if err := tr.Hash(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	// As long as before, so that only the content tells.
	if err := os.WriteFile(filepath.Join(dir, "usr/share/f01"), []byte("y"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteFile(context.Background(), name, tr, sample(), Options{}); !errors.Is(err, errChanged) {
		t.Errorf("changed file: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := WriteFile(ctx, name, tr, sample(), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if list, _ := os.ReadDir(out); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
}

func TestSign(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	raw, want := packed(t, dir, sample(), Options{Keys: []repository.SigningKey{signingKey(t, "old.rsa")}})
	name := filepath.Join(t.TempDir(), "hello.apk")
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := Sign(ctx, name, []repository.SigningKey{signingKey(t, "a.rsa"), signingKey(t, "b.rsa")}); err != nil {
		t.Fatal(err)
	}
	p, head, err := ReadEntry(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if p.Checksum != want.Package.Checksum || p.DataHash != want.Package.DataHash {
		t.Error("signing changed the package")
	}
	var names []string
	for _, s := range head.Signatures {
		names = append(names, s.Algorithm+" "+s.KeyName)
		if err := s.Verify(apktest.NewKey(s.KeyName).Public(), head.Control); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"RSA256 a.rsa.pub", "RSA256 b.rsa.pub"}, names); diff != "" {
		t.Error(diff)
	}
	damaged := bytes.Clone(raw)
	damaged[len(raw)-9] ^= 1
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Sign(ctx, name, []repository.SigningKey{signingKey(t, "a.rsa")}); !errors.Is(err, ErrDataHash) {
		t.Errorf("damaged package: %v", err)
	}
	if b, _ := os.ReadFile(name); !bytes.Equal(b, damaged) {
		t.Error("a refused file was changed")
	}
	if err := Sign(ctx, name, nil); err == nil {
		t.Error("signing without a key gave no error")
	}
}

func BenchmarkWrite(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir)
	tr, err := tree.Directory(dir, tree.DirectoryOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer tr.Close()
	b.SetBytes(tr.InstalledSize())
	for b.Loop() {
		if _, err := Write(context.Background(), io.Discard, tr, sample(), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
