package tree

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// put writes files below dir; a name that ends in "/" is a directory, a content
// that begins with "-> " a symbolic link.
func put(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch target, link := strings.CutPrefix(content, "-> "); {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case link:
			err = os.Symlink(target, p)
		default:
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func paths(t *Tree) (out []string) {
	for _, e := range t.Entries() {
		out = append(out, string(e.Type)+" "+e.Path)
	}
	return out
}

func TestDirectoryIsInCanonicalOrder(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.b": "1", "a/x": "2", "a-b/y": "3", "z/": "", "l": "-> a/x", ".hidden": "4"})
	if err := os.Link(filepath.Join(dir, "a/x"), filepath.Join(dir, "z/hard")); err != nil {
		t.Fatal(err)
	}
	tr, err := Directory(dir, DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	want := []string{"d a", "f a/x", "d a-b", "f a-b/y", "f a.b", "l l", "d z", "h z/hard"}
	if diff := cmp.Diff(want, paths(tr)); diff != "" {
		t.Error(diff)
	}
	if got := tr.Ignored(); !cmp.Equal(got, []string{".hidden"}) {
		t.Errorf("ignored: %v", got)
	}
	if err := tr.Hash(context.Background(), 2); err != nil {
		t.Fatal(err)
	}
	e := tr.Lookup("a/x")
	if e.SHA256.Hex() != "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35" || e.Uname != "root" || e.UID != 0 {
		t.Errorf("entry: %+v", e)
	}
	if tr.InstalledSize() != 3 {
		t.Errorf("size %d", tr.InstalledSize())
	}
	if b, err := tr.ReadFile("z/hard", 10); err != nil || string(b) != "2" {
		t.Errorf("hard link: %q, %v", b, err)
	}
}

func TestOverlay(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"var/spool/": "", "usr/bin/ping": "x"})
	uid, mode := 65532, uint32(0o2750)
	cap, err := Capabilities("cap_net_raw+ep")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := Directory(dir, DirectoryOptions{
		Users: map[int]string{65532: "nonroot"},
		Overlay: map[string]Attributes{
			"var/spool":    {UID: &uid, Mode: &mode},
			"usr/bin/ping": {Xattrs: map[string][]byte{CapabilityXattr: cap}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if e := tr.Lookup("var/spool"); e.UID != 65532 || e.Uname != "nonroot" || e.Mode != 0o2750 || e.Gname != "root" {
		t.Errorf("%+v", e)
	}
	if got := CapabilityText([]byte(tr.Lookup("usr/bin/ping").Xattrs[CapabilityXattr])); got != "cap_net_raw+ep" {
		t.Errorf("capabilities: %q", got)
	}
}

func TestDirectoryRefuses(t *testing.T) {
	uid := -1
	for name, test := range map[string]struct {
		make    func(t *testing.T, dir string)
		options DirectoryOptions
		want    string
	}{
		"named pipe": {func(t *testing.T, dir string) {
			if err := unix.Mkfifo(filepath.Join(dir, "p"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, DirectoryOptions{}, "p: named pipe: a package can hold files, directories and links only"},
		"device": {func(t *testing.T, dir string) {
			if err := unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, 1<<8|3); err != nil {
				t.Skip("cannot make a device node here")
			}
		}, DirectoryOptions{}, "null: device node: a package can hold files, directories and links only"},
		"control character": {func(t *testing.T, dir string) { put(t, dir, map[string]string{"a\nb": ""}) },
			DirectoryOptions{}, `control character in the name "a\nb"`},
		"whiteout": {func(t *testing.T, dir string) { put(t, dir, map[string]string{"usr/.wh.x": ""}) },
			DirectoryOptions{}, "usr/.wh.x: a name that begins with .wh. would delete a file in an image"},
		"overlay of nothing": {func(*testing.T, string) {},
			DirectoryOptions{Overlay: map[string]Attributes{"b": {}, "a": {}}}, "a: recorded attributes of something that is not there"},
		"negative owner": {func(t *testing.T, dir string) { put(t, dir, map[string]string{"f": ""}) },
			DirectoryOptions{Overlay: map[string]Attributes{"f": {UID: &uid}}}, "f: owner -1:0: expected numbers from 0 on"},
		"attributes of a link": {func(t *testing.T, dir string) { put(t, dir, map[string]string{"f": "-> g"}) },
			DirectoryOptions{Overlay: map[string]Attributes{"f": {Xattrs: map[string][]byte{"user.a": nil}}}},
			"f: recorded extended attributes of a symbolic link: expected a file or a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test.make(t, dir)
			_, err := Directory(dir, test.options)
			if err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("error %v, expected %q", err, test.want)
			}
		})
	}
	if _, err := Directory("/nowhere", DirectoryOptions{}); err == nil || err.Error() != "package content /nowhere: no such file or directory" {
		t.Errorf("missing directory: %v", err)
	}
}

func TestHashNoticesChanges(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"f": "abc"})
	tr, err := Directory(dir, DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	put(t, dir, map[string]string{"f": "abcd"})
	if err := tr.Hash(context.Background(), 1); !errors.Is(err, errChanged) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tr.Hash(ctx, 1); err == nil {
		t.Error("cancelled hashing gave no error")
	}
}

func TestOpenDoesNotFollowWhatBecameALink(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"f": "abc"})
	tr, err := Directory(dir, DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := os.Remove(filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	put(t, dir, map[string]string{"f": "-> /etc/passwd"})
	if _, err := tr.Open("f"); err == nil {
		t.Error("a link was followed")
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"usr/lib/libx.so.1": "", "usr/lib/libx.so": "-> libx.so.1", "lib": "-> usr/lib",
		"abs": "-> /usr/lib/libx.so", "up": "-> ../../usr/lib/libx.so.1", "loop": "-> loop", "out": "-> nowhere"})
	tr, err := Directory(dir, DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for from, want := range map[string]string{"lib/libx.so": "usr/lib/libx.so.1", "abs": "usr/lib/libx.so.1", "up": "usr/lib/libx.so.1",
		"loop": "", "out": "", "lib": "usr/lib", "nothing": ""} {
		got := ""
		if e := tr.Resolve(from); e != nil {
			got = e.Path
		}
		if got != want {
			t.Errorf("%s: %q, expected %q", from, got, want)
		}
	}
}

func TestWith(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"usr/f": "abc"})
	tr, err := Directory(dir, DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.Hash(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	more, err := tr.With("var/lib/x.json", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d usr", "f usr/f", "d var", "d var/lib", "f var/lib/x.json"}, paths(more)); diff != "" {
		t.Error(diff)
	}
	if b, err := more.ReadFile("var/lib/x.json", 2); err != nil || string(b) != "{}" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := more.ReadFile("usr/f", 3); err != nil || string(b) != "abc" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := more.ReadFile("usr/f", 2); !errors.Is(err, ErrTooLarge) {
		t.Errorf("limit: %v", err)
	}
	for p, want := range map[string]string{"usr/f/x": "usr/f/x: lies below usr/f, which is not a directory",
		"/abs": "/abs: expected a clean relative path", "../x": "../x: expected a clean relative path"} {
		if _, err := tr.With(p, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v, expected %s", p, err, want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for text, want := range map[string]string{
		"cap_net_bind_service+ep":       "0100000200040000000000000000000000000000",
		"cap_net_raw,cap_net_admin=eip": "0100000200300000003000000000000000000000",
		"cap_bpf+p":                     "0000000200000000000000008000000000000000",
	} {
		b, err := Capabilities(text)
		if err != nil || hex.EncodeToString(b) != want {
			t.Errorf("%s: %x, %v; expected %s", text, b, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                       `capabilities: none: expected for example "cap_net_raw+ep"`,
		"cap_net_raw":            `capabilities "cap_net_raw": expected names, "+" or "=", and some of the letters e, i, p`,
		"cap_net_raw+x":          `capabilities "cap_net_raw+x": expected names, "+" or "=", and some of the letters e, i, p`,
		"cap_fly+ep":             `capability "cap_fly": expected one of capabilities(7), as in cap_net_raw`,
		"net_raw+ep":             `capability "net_raw": expected one of capabilities(7), as in cap_net_raw`,
		"cap_chown+ep cap_bpf+p": `capabilities "cap_chown+ep cap_bpf+p": e is one flag for the whole file: expected it with all of them or with none`,
	} {
		if _, err := Capabilities(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, expected %s", text, err, want)
		}
	}
	three, _ := hex.DecodeString("010000030004000000000000000000000000000010270000")
	if got := CapabilityText(withoutRoot(three)); got != "cap_net_bind_service+ep" || len(withoutRoot(three)) != 20 {
		t.Errorf("capabilities of a user namespace: %q", got)
	}
	if CapabilityText([]byte("x")) != "" {
		t.Error("nonsense was read as capabilities")
	}
}

func FuzzCapabilityText(f *testing.F) {
	b, _ := Capabilities("cap_chown,cap_bpf+eip")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		text := CapabilityText(b)
		if text == "" {
			return
		}
		if _, err := Capabilities(text); err != nil && !strings.Contains(err.Error(), "one flag") {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestOpenPackage(t *testing.T) {
	key := apktest.NewKey("test.rsa.pub")
	raw := apktest.Build(apktest.Spec{Package: apk.Package{Name: "hello", Version: "1.0-r0", Arch: "x86_64"}, Parents: true, Sign: key,
		Files: []apktest.File{{Path: "usr/bin/hello", Mode: 0o755, Content: "#!/bin/sh\n"}}})
	name := filepath.Join(t.TempDir(), "hello.apk")
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	p, err := OpenPackage(context.Background(), name, PackageOptions{TempDir: tmp})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d usr", "d usr/bin", "f usr/bin/hello"}, paths(p.Tree)); diff != "" {
		t.Error(diff)
	}
	if b, err := p.ReadFile("usr/bin/hello", 100); err != nil || string(b) != "#!/bin/sh\n" {
		t.Errorf("%q %v", b, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	raw[len(raw)-20] ^= 1
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPackage(context.Background(), name, PackageOptions{TempDir: tmp}); err == nil {
		t.Error("a damaged package was opened")
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
