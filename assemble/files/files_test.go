package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
	"github.com/cairn-dev/cairn/packages/apk"
)

// open makes an image of layers and reads it.
func open(t testing.TB, o Options, layers ...subjecttest.Layer) *Tree {
	t.Helper()
	dir := subjecttest.Layout(t, subjecttest.Image{Arch: "amd64", Layers: layers})
	s, err := subject.Open(t.Context(), dir, subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	tree, err := OfImage(t.Context(), &s.Images[0], o)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func of(members ...string) subjecttest.Layer { return subjecttest.Layer{Members: members} }

func TestLinksAreFollowedBelowTheRoot(t *testing.T) {
	tree := open(t, Options{}, of(
		"d usr", "d usr/bin", "f usr/bin/python3.11 0755 x", "l usr/bin/python3 python3.11", "l bin usr/bin",
		"d etc", "l etc/python /usr/bin/python3", "l etc/up ../../../../usr/bin/python3", "l etc/out /nowhere/else",
		"l loop loop", "l a b", "l b a", "f file 0644 y", "l etc/self .", "l dir usr/bin/"))
	for _, c := range []struct{ path, stat, lstat string }{
		{"/usr/bin/python3", "usr/bin/python3.11", "usr/bin/python3"},
		{"/bin/python3", "usr/bin/python3.11", "usr/bin/python3"},
		{"bin/python3.11", "usr/bin/python3.11", "usr/bin/python3.11"},
		{"/etc/python", "usr/bin/python3.11", "etc/python"},
		{"/etc/up", "usr/bin/python3.11", "etc/up"},
		{"/etc/../bin/../bin/python3.11", "usr/bin/python3.11", "usr/bin/python3.11"}, // .. of where the link leads
		{"/bin/..", "usr", "usr"},
		{"/../../etc", "etc", "etc"},
		{"/etc/self/self/self", "etc", "etc/self"},
		{"/dir/python3.11", "usr/bin/python3.11", "usr/bin/python3.11"},
		{"/", "", ""},
		{"//usr//bin/", "usr/bin", "usr/bin"},
		{"/etc/out", "error: /etc/out: by way of /etc/out → /nowhere/else: /nowhere: file does not exist", "etc/out"},
		{"/loop", "error: /loop: more than 40 symbolic links: file does not exist", "loop"},
		{"/a", "error: /a: more than 40 symbolic links: file does not exist", "a"},
		{"/file/x", "error: /file/x: /file is no directory: file does not exist", "error: /file/x: /file is no directory: file does not exist"},
		{"/file/", "error: /file/: /file is no directory: file does not exist", "error: /file/: /file is no directory: file does not exist"},
		{"/no/thing", "error: /no/thing: /no: file does not exist", "error: /no/thing: /no: file does not exist"},
	} {
		for what, look := range map[string]struct {
			f    func(string) (*Node, error)
			want string
		}{"Stat": {tree.Stat, c.stat}, "Lstat": {tree.Lstat, c.lstat}} {
			n, err := look.f(c.path)
			found := ""
			if err != nil {
				found = "error: " + err.Error()
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s %s: %v is not fs.ErrNotExist", what, c.path, err)
				}
			} else {
				found = n.Path
			}
			if found != c.lstat && what == "Lstat" || found != c.stat && what == "Stat" {
				t.Errorf("%s %s: found %q, expected %q", what, c.path, found, look.want)
			}
		}
	}
}

func TestContentsOfTheTopmostLayer(t *testing.T) {
	tree := open(t, Options{Keep: func(path string, _ int64) bool { return path == "kept" }},
		of("f a 0644 below", "f kept 0644 kept", "f gone 0644 x"), of("f a 0644 above", "w gone", "h other kept", "f empty"))
	for path, want := range map[string]string{"/a": "above", "/kept": "kept", "/other": "kept", "/empty": ""} {
		b, err := tree.ReadFile(t.Context(), path)
		if err != nil || string(b) != want {
			t.Errorf("%s: found %q, %v, expected %q", path, b, err, want)
		}
	}
	if _, err := tree.Stat("/gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
	var there []*Node
	for _, name := range []string{"/other", "/a", "/kept"} {
		n, err := tree.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		there = append(there, n)
	}
	got, err := tree.Read(t.Context(), there...)
	if err != nil || string(got[0])+" "+string(got[1])+" "+string(got[2]) != "kept above kept" {
		t.Errorf("found %q, %v", got, err)
	}
	dir, _ := tree.Stat("/")
	if _, err := tree.Read(t.Context(), dir); !errors.Is(err, ErrUnread) {
		t.Errorf("a directory was read: %v", err)
	}
	large := *there[0]
	large.Size = MaxRead + 1
	if _, err := tree.Read(t.Context(), &large); !errors.Is(err, ErrUnread) {
		t.Errorf("a file over the limit was read: %v", err)
	}
}

// Of several damaged layers the lowest is told, in every run.
func TestDamagedLayersAreRefused(t *testing.T) {
	img := subjecttest.Image{Arch: "amd64"}
	for i := range 8 {
		img.Layers = append(img.Layers, of(fmt.Sprintf("f file%d 0644 content %d", i, i)))
	}
	dir := subjecttest.Layout(t, img)
	s, err := subject.Open(t.Context(), dir, subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var digests []string
	for _, l := range s.Images[0].Manifest.Layers {
		digests = append(digests, l.Digest.Hex)
	}
	for _, i := range []int{7, 5, 2} {
		name := filepath.Join(dir, "blobs", "sha256", digests[i])
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-10] ^= 1
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := OfImage(t.Context(), &s.Images[0], Options{}); err == nil || !strings.Contains(err.Error(), digests[i]) {
				t.Errorf("layer %d is damaged: %v", i, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OfImage(ctx, &s.Images[0], Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOwnersComeFromTheDatabase(t *testing.T) {
	tree := open(t, Options{}, subjecttest.Layer{Members: []string{"d usr", "f usr/a 0644 x", "f b 0644 y"}, Installed: []apk.InstalledPackage{{
		Package: apk.Package{Name: "a", Version: "1-r0", Arch: "x86_64"},
		Dirs:    []apk.InstalledDir{{Path: "usr", Mode: 0o755, Files: []apk.InstalledFile{{Name: "a", Mode: 0o644}}}},
	}}})
	found := map[string]string{}
	for _, n := range tree.All() {
		found[n.Path] = n.Package
	}
	if found["usr/a"] != "a" || found["b"] != "" || !tree.Database || len(tree.Installed) != 1 {
		t.Errorf("found owners %v, database %v", found, tree.Database)
	}
}

func names(list []*Node) string {
	var out []string
	for _, n := range list {
		out = append(out, n.Path)
	}
	return strings.Join(out, " ")
}

func TestWhatIsNotWanted(t *testing.T) {
	tree := open(t, Options{}, of(
		"d bin", "f bin/busybox 0755 x", "l bin/sh busybox", "l bin/bash ../missing", "f bin/zsh 0644 text", "d usr/share/bash",
		"f bin/su 4755 x", "f bin/write 2755 x", "f bin/plain 0755 x", "d srv 2755",
		"d tmp 1777", "d open 0777", "f open/file 0666 x", "l open/link x"))
	for _, c := range []struct {
		what  string
		found []*Node
		want  string
	}{
		{"shells", tree.Shells(), "bin/busybox bin/sh"},
		{"setuid", tree.SetID(), "bin/su bin/write"},
		{"world-writable", tree.WorldWritable(), "open open/file"},
	} {
		if got := names(c.found); got != c.want {
			t.Errorf("%s: found %q, expected %q", c.what, got, c.want)
		}
	}
}

// dump lists a directory with modes and contents.
func dump(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		line := rel + " " + fi.Mode().String()
		switch {
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(b)
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " " + to
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUnpackStaysInItsDirectory(t *testing.T) {
	outside := t.TempDir()
	tree := open(t, Options{},
		of("d bin", "f bin/su 4755 x", "f a 0644 one", "l out "+outside, "l up ../../..", "d locked 0500", "f locked/f 0400 in", "f gone 0644 x", "c dev/null"),
		of("w gone", "f a 0640 two", "h b a", "f copy 0600 two", "f replaced/by 0644 dir", "l ../../etc/passwd x", "d tmp 1777"))
	dir := t.TempDir()
	if err := tree.Unpack(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	want := []string{"a -rw-r----- two", "b -rw-r----- two", "bin drwxr-xr-x", "bin/su -rwxr-xr-x x", "copy -rw------- two", "dev drwxr-xr-x",
		"etc drwxr-xr-x", "etc/passwd Lrwxrwxrwx x", "locked drwx------", "locked/f -r-------- in", "out Lrwxrwxrwx " + outside, "replaced drwxr-xr-x",
		"replaced/by -rw-r--r-- dir", "tmp dtrwxrwxrwx", "up Lrwxrwxrwx ../../.."}
	if d := cmp.Diff(want, dump(t, dir)); d != "" {
		t.Error(d)
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) > 0 {
		t.Errorf("outside: %v, %v", list, err)
	}
	one, err1 := os.Stat(filepath.Join(dir, "a"))
	two, err2 := os.Stat(filepath.Join(dir, "b"))
	if err1 != nil || err2 != nil || !os.SameFile(one, two) {
		t.Errorf("a hard link is another file: %v %v", err1, err2)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tree.Unpack(ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// What goes through a link of another layer lands where the link leads, in the
// tree and on the disk.
func TestUnpackThroughLinks(t *testing.T) {
	tree := open(t, Options{}, of("d usr", "d usr/lib", "l lib usr/lib", "l evil /etc"), of("f lib/x 0644 x", "f evil/y 0644 y"))
	dir := t.TempDir()
	if err := tree.Unpack(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	want := []string{"etc drwxr-xr-x", "etc/y -rw-r--r-- y", "evil Lrwxrwxrwx /etc", "lib Lrwxrwxrwx usr/lib", "usr drwxr-xr-x", "usr/lib drwxr-xr-x", "usr/lib/x -rw-r--r-- x"}
	if d := cmp.Diff(want, dump(t, dir)); d != "" {
		t.Error(d)
	}
}

func TestELFFactsAreFound(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skip(err)
	}
	if len(self) > 1<<16 {
		self = self[:1<<16] // headers are in front
	}
	for _, want := range []bool{true, false} {
		tree := open(t, Options{ELF: want}, of("f program 0755 "+string(self), "f text 0644 text"))
		n, err := tree.Stat("/program")
		if err != nil || (n.ELF != nil) != want {
			t.Errorf("asked for: %v, found %v, %v", want, n, err)
		}
		if n, err := tree.Stat("/text"); err != nil || n.ELF != nil {
			t.Errorf("text: %v, %v", n, err)
		}
	}
}

// FuzzFind: whatever links say, looking stays in the tree and ends.
func FuzzFind(f *testing.F) {
	f.Add("a/b", "../c", "/a/../b/./c")
	f.Add("b", "a", "a/x/..")
	f.Fuzz(func(t *testing.T, one, two, path string) {
		if len(one)+len(two)+len(path) > 300 {
			return
		}
		tree := newTree("", []*Node{
			{Entry: apk.Entry{Path: "a", Type: apk.TypeSymlink, Link: one}}, {Entry: apk.Entry{Path: "b", Type: apk.TypeSymlink, Link: two}},
			{Entry: apk.Entry{Path: "d", Type: apk.TypeDir}}, {Entry: apk.Entry{Path: "d/c", Type: apk.TypeFile}}, {Entry: apk.Entry{Path: "d/up", Type: apk.TypeSymlink, Link: "../" + one}},
		})
		n, err := tree.Stat(path)
		if err == nil && (n.Type == apk.TypeSymlink || n != tree.root && !slices.Contains(tree.All(), n)) {
			t.Errorf("%q leads to %v", path, n)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}
