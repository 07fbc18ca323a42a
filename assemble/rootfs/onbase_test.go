package rootfs

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// baseOf makes a base image of what is planned from in.
func baseOf(t testing.TB, in Input) *Base {
	t.Helper()
	tree := plan(t, in)
	b := &Base{Name: "example.org/base:1", Digest: "sha256:" + strings.Repeat("1", 64),
		Receipt: &store.Receipt{Contents: map[string][]byte{}}, Owners: make([]BaseOwner, len(tree.Entries))}
	bodies := map[int][]byte{}
	for i := range tree.Entries {
		e := &tree.Entries[i]
		if e.Type == apk.TypeFile {
			if bodies[i] = e.Content; e.Content == nil {
				body, err := in.ReadFile(t.Context(), e.Package, e.Member)
				if err != nil {
					t.Fatal(err)
				}
				bodies[i] = body
			}
			if store.ContentWanted(e.Path, e.Size) || path.Base(e.Path) == "scripts.tar" {
				b.Receipt.Contents[e.Path] = bodies[i]
			}
		}
		b.Receipt.Entries = append(b.Receipt.Entries, e.Entry)
	}
	b.ReadFile = func(_ context.Context, m int) ([]byte, error) { return bodies[m], nil }
	b.database(t, tree)
	return b
}

// database reads the installed database and finds out whose each path is.
func (b *Base) database(t testing.TB, tree *Tree) {
	t.Helper()
	for i := range tree.Entries {
		e := &tree.Entries[i]
		if path.Base(e.Path) != "installed" {
			continue
		}
		var err error
		if b.Installed, err = apk.ParseInstalled(strings.NewReader(string(e.Content))); err != nil {
			t.Fatal(err)
		}
		b.Database = path.Dir(e.Path)
	}
	for p := range b.Installed {
		for d, dir := range b.Installed[p].Dirs {
			for f, file := range dir.Files {
				for i := range tree.Entries {
					if tree.Entries[i].Path == path.Join(dir.Path, file.Name) && tree.Entries[i].Owner.Name == b.Installed[p].Name {
						b.Owners[i] = BaseOwner{true, p, d, f}
					}
				}
			}
		}
	}
}

// onto plans packages on top of a base of others.
func onto(t testing.TB, base []apktest.Spec, specs ...apktest.Spec) Input {
	t.Helper()
	in := input(t, nil, specs...)
	in.Base = baseOf(t, input(t, nil, base...))
	return in
}

// changed lists the paths that are not as the base has them, with their owners.
func changed(tree *Tree) []string {
	was := map[string]*apk.Entry{}
	for i := range tree.Base.Receipt.Entries {
		was[tree.Base.Receipt.Entries[i].Path] = &tree.Base.Receipt.Entries[i]
	}
	var out []string
	for i := range tree.Entries {
		e := &tree.Entries[i]
		o := was[e.Path]
		delete(was, e.Path)
		if o == nil || e.Type != o.Type || e.Mode != o.Mode || e.UID != o.UID || e.GID != o.GID || e.MTime != o.MTime && e.Type != apk.TypeDir ||
			e.SHA256 != o.SHA256 || e.Link != o.Link || !maps.Equal(e.Xattrs, o.Xattrs) {
			out = append(out, e.Path+" ["+e.Owner.Name+"]")
		}
	}
	for p := range was {
		out = append(out, "gone: "+p)
	}
	slices.Sort(out)
	return out
}

// settings are what every package on top of a base changes.
var settings = []string{"etc/apk/world [apk-settings]", "usr/lib/apk/db/installed [installed-db]"}

func TestOnBase(t *testing.T) {
	root := pkg("root-1-r0", "etc/passwd is=root:x:0:0::/root:/bin/sh|svc:x:7:7::/srv:/bin/false|", "etc/group is=root:x:0:|svc:x:7:|", "usr/lib/", "lib -> usr/lib")
	for _, test := range []struct {
		name string
		base []apktest.Spec
		top  []apktest.Spec
		want []string // beside settings
	}{
		{"a new file", nil, []apktest.Spec{pkg("a-1-r0", "opt/x")}, []string{"opt/x [a]"}},
		{"through a link of the base", nil, []apktest.Spec{pkg("a-1-r0", "lib/x.so")}, []string{"usr/lib/x.so [a]"}},
		{"names of the base's accounts", nil, []apktest.Spec{pkg("a-1-r0", "opt/x own=99:99 name=svc:svc")}, []string{"opt/x [a]"}},
		{"a file that it replaces", []apktest.Spec{pkg("b-1-r0", "etc/conf is=b")}, []apktest.Spec{replacing(pkg("a-1-r0", "etc/conf is=a"), 0, "b")},
			[]string{"etc/conf [a]"}},
		{"a file of its own origin", []apktest.Spec{from("o", pkg("b-1-r0", "etc/conf is=b"))}, []apktest.Spec{from("o", pkg("a-1-r0", "etc/conf is=a"))},
			[]string{"etc/conf [a]"}},
		{"a file that replaces it", []apktest.Spec{replacing(pkg("b-1-r0", "etc/conf is=b"), 1, "a")}, []apktest.Spec{replacing(pkg("a-1-r0", "etc/conf is=a"), 0, "b")},
			nil},
		{"a directory as it is", []apktest.Spec{pkg("b-1-r0", "opt/d/ mode=700")}, []apktest.Spec{pkg("a-1-r0", "opt/d/ mode=755")}, nil},
		{"a directory it narrows", []apktest.Spec{pkg("b-1-r0", "opt/d/ mode=755")}, []apktest.Spec{pkg("a-1-r0", "opt/d/ mode=700")}, []string{"opt/d [a]"}},
		{"a directory that apk-tools makes", nil, []apktest.Spec{pkg("a-1-r0", "tmp/ mode=700", "etc/ mode=700")}, nil},
		{"one name of a hard link", []apktest.Spec{pkg("b-1-r0", "opt/x is=b", "opt/y => opt/x", "opt/z => opt/x")},
			[]apktest.Spec{replacing(pkg("a-1-r0", "opt/x is=a"), 0, "b")}, []string{"opt/x [a]", "opt/y [b]", "opt/z [b]"}},
		{"several", nil, []apktest.Spec{pkg("b-1-r0", "opt/b"), pkg("a-1-r0", "opt/a")}, []string{"opt/a [a]", "opt/b [b]"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := onto(t, append([]apktest.Spec{root}, test.base...), test.top...)
			in.World = []apk.Dependency{{Name: "a"}}
			tree := plan(t, in)
			want := append(slices.Clone(settings), test.want...)
			slices.Sort(want)
			if diff := cmp.Diff(want, changed(tree)); diff != "" {
				t.Error(diff)
			}
		})
	}
	tree := plan(t, onto(t, []apktest.Spec{root}, pkg("a-1-r0", "opt/x own=99:99 name=svc:svc")))
	if e := tree.Lookup("opt/x"); e.UID != 7 || e.GID != 7 {
		t.Errorf("owner %d:%d", e.UID, e.GID)
	}
}

func TestOnBaseRefuses(t *testing.T) {
	for _, test := range []struct {
		name      string
		base, top []apktest.Spec
		want      string
	}{
		{"a file of a package", []apktest.Spec{pkg("b-1-r0", "etc/conf is=b")}, []apktest.Spec{pkg("a-1-r0", "etc/conf is=a")},
			"etc/conf: conflict between b-1-r0 of the base image and a-1-r0: both have the file and neither replaces the other\n  hint: " + overwriteHint},
		{"the same file", []apktest.Spec{pkg("b-1-r0", "etc/conf is=b")}, []apktest.Spec{pkg("a-1-r0", "etc/conf is=b")},
			"etc/conf: conflict between b-1-r0 of the base image and a-1-r0: both have the file and neither replaces the other\n  hint: " + overwriteHint},
		{"a file for a directory", []apktest.Spec{pkg("b-1-r0", "opt/d/x")}, []apktest.Spec{pkg("a-1-r0", "opt/d is=a")},
			"opt/d: conflict between the base image and a-1-r0: the one has a directory where the other has a file"},
		{"a directory for a file", []apktest.Spec{pkg("b-1-r0", "opt/d is=b")}, []apktest.Spec{pkg("a-1-r0", "opt/d/x")},
			"opt/d: conflict between b-1-r0 of the base image and a-1-r0: the one has a directory where the other has a file"},
		{"a link for a directory", []apktest.Spec{pkg("b-1-r0", "opt/d/x")}, []apktest.Spec{pkg("a-1-r0", "opt/d -> e")},
			"opt/d: conflict between the base image and a-1-r0: the one has a directory where the other has a symbolic link"},
	} {
		_, err := Plan(t.Context(), onto(t, test.base, test.top...))
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\nfound    %v\nexpected %s", test.name, err, test.want)
		}
	}
	in := onto(t, nil, pkg("a-1-r0"))
	in.Compat = CompatApko
	if _, err := Plan(t.Context(), in); err == nil || err.Error() != `tree: compatibility "apko": not possible on a base image` {
		t.Errorf("error %v", err)
	}
}

// TestBaseIsBroken: a base that no reader gives.
func TestBaseIsBroken(t *testing.T) {
	for _, test := range []struct {
		entry apk.Entry
		want  string
	}{
		{apk.Entry{Path: "a/b", Type: apk.TypeFile}, "base image: /a/b: its directory does not come before it"},
		{apk.Entry{Path: "a", Type: apk.TypeHardlink, Link: "b"}, "base image: /a: hard link to /b, which does not come before it"},
	} {
		in := Input{Base: &Base{Receipt: &store.Receipt{Entries: []apk.Entry{test.entry}}, Owners: make([]BaseOwner, 1)}}
		if _, err := Plan(t.Context(), in); err == nil || err.Error() != test.want {
			t.Errorf("found %v\nexpected %s", err, test.want)
		}
	}
}

// TestFileOfNobody: what no package of the base has gives way, with a warning
// when it was something else.
func TestFileOfNobody(t *testing.T) {
	in := onto(t, []apktest.Spec{pkg("b-1-r0", "etc/same is=a", "etc/other is=b")}, pkg("a-1-r0", "etc/same is=a", "etc/other is=a"))
	clear(in.Base.Owners)
	tree := plan(t, in)
	if diff := cmp.Diff([]string{"/etc/other: no package of the base image has it; a-1-r0 replaces it"}, tree.Warnings); diff != "" {
		t.Error(diff)
	}
	if e := tree.Lookup("etc/same"); e.Owner.Name != "a" {
		t.Errorf("owner %v", e.Owner)
	}
	if e := tree.Lookup("etc"); e.Owner.Name != "a" || tree.Lookup("usr").Owner != baseOwner {
		t.Errorf("owners %v, %v", e.Owner, tree.Lookup("usr").Owner)
	}
}

func TestDatabaseOnBase(t *testing.T) {
	b := replacing(pkg("b-1-r0", "etc/conf is=b", "etc/keep is=b"), 0, "x")
	b.Scripts = map[string]string{"post-install": "b\n"}
	b.Package.Triggers = []string{"/b"}
	a := replacing(pkg("a-1-r0", "etc/conf is=a"), 0, "b")
	a.Scripts, a.Package.Triggers = map[string]string{"trigger": "a\n"}, []string{"/a"}
	in := onto(t, []apktest.Spec{b}, a)
	tree := plan(t, in)
	installed := content(t, tree, "usr/lib/apk/db/installed")
	if strings.Count(installed, "R:conf\n") != 1 || strings.Index(installed, "P:a\n") > strings.Index(installed, "R:conf\n") ||
		!strings.Contains(installed, "P:b\n") || !strings.Contains(installed, "R:keep\n") {
		t.Errorf("installed database:\n%s", installed)
	}
	scripts := content(t, tree, "usr/lib/apk/db/scripts.tar")
	if i, j := strings.Index(scripts, "b-1-r0."), strings.Index(scripts, "a-1-r0."); i != 0 || j != 1024 || len(scripts) != 4*512+1024 {
		t.Errorf("scripts at %d and %d of %d bytes", i, j, len(scripts))
	}
	if lines := strings.Split(content(t, tree, "usr/lib/apk/db/triggers"), "\n"); len(lines) != 3 || !strings.HasSuffix(lines[0], " /b") || !strings.HasSuffix(lines[1], " /a") {
		t.Errorf("triggers %q", lines)
	}
	in.Base.Receipt.Contents["usr/lib/apk/db/scripts.tar"] = []byte(strings.Repeat("x", 600))
	for i := range in.Base.Receipt.Entries {
		if e := &in.Base.Receipt.Entries[i]; e.Path == "usr/lib/apk/db/scripts.tar" {
			e.SHA256 = sum256(strings.Repeat("x", 600))
		}
	}
	if _, err := Plan(t.Context(), in); err == nil || err.Error() != "installed database: scripts of the base image: archive/tar: invalid tar header" {
		t.Errorf("error %v", err)
	}
}

// TestCompressedScripts: apk-tools 3 keeps the scripts in scripts.tar.gz.
func TestCompressedScripts(t *testing.T) {
	b, a := pkg("b-1-r0", "etc/b"), pkg("a-1-r0", "etc/a")
	b.Scripts, a.Scripts = map[string]string{"post-install": "b\n"}, map[string]string{"post-install": "a\n"}
	in := onto(t, []apktest.Spec{b}, a)
	plain := content(t, plan(t, in), "usr/lib/apk/db/scripts.tar")
	packed, err := compressed(in.Base.Receipt.Contents["usr/lib/apk/db/scripts.tar"])
	if err != nil {
		t.Fatal(err)
	}
	for i := range in.Base.Receipt.Entries {
		if e := &in.Base.Receipt.Entries[i]; e.Path == "usr/lib/apk/db/scripts.tar" {
			e.Path, e.SHA256, e.Size = e.Path+".gz", sum256(string(packed)), int64(len(packed))
			in.Base.Receipt.Contents[e.Path] = packed
		}
	}
	tree := plan(t, in)
	if got, err := inflated([]byte(content(t, tree, "usr/lib/apk/db/scripts.tar.gz"))); err != nil || string(got) != plain || tree.Lookup("usr/lib/apk/db/scripts.tar") != nil {
		t.Errorf("%d bytes of scripts, %v", len(got), err)
	}
	in.Base.Receipt.Contents["usr/lib/apk/db/scripts.tar.gz"] = packed[:20]
	for i := range in.Base.Receipt.Entries {
		if e := &in.Base.Receipt.Entries[i]; e.Path == "usr/lib/apk/db/scripts.tar.gz" {
			e.SHA256 = sum256(string(packed[:20]))
		}
	}
	if _, err := Plan(t.Context(), in); err == nil || err.Error() != "installed database: scripts of the base image: unexpected EOF" {
		t.Errorf("error %v", err)
	}
}

// TestBaseWithoutDatabase: the list of packages is all there is; the database is
// made where every image has it.
func TestBaseWithoutDatabase(t *testing.T) {
	in := input(t, nil, pkg("a-1-r0", "opt/x"))
	in.Base = &Base{Receipt: &store.Receipt{}, Installed: []apk.InstalledPackage{{Package: apk.Package{Name: "b", Version: "1-r0"}}}}
	tree := plan(t, in)
	if text := content(t, tree, "usr/lib/apk/db/installed"); !strings.Contains(text, "P:b\n") || !strings.Contains(text, "P:a\n") {
		t.Errorf("installed database:\n%s", text)
	}
	for _, p := range []string{"usr/lib/apk/db/scripts.tar", "usr/lib/apk/db/lock", "etc/apk/arch"} {
		if tree.Lookup(p) == nil {
			t.Errorf("/%s is missing", p)
		}
	}
}

func TestNothingOnBase(t *testing.T) {
	in := onto(t, []apktest.Spec{pkg("b-1-r0", "etc/conf is=b", "etc/ld.so.conf is=/x|")})
	if got := changed(plan(t, in)); got != nil {
		t.Errorf("changed %v", got)
	}
	in.World, in.RuntimeRepositories = []apk.Dependency{{Name: "b"}}, []string{"https://example.org/x"}
	tree := plan(t, in)
	if diff := cmp.Diff([]string{"etc/apk/repositories [apk-settings]", "etc/apk/world [apk-settings]"}, changed(tree)); diff != "" {
		t.Error(diff)
	}
}

func TestKeysOnBase(t *testing.T) {
	one, two := apktest.NewKey("one.rsa.pub"), apktest.NewKey("two.rsa.pub")
	base := input(t, nil, pkg("b-1-r0"))
	base.Keys = map[string][]byte{"one.rsa.pub": append([]byte("\n"), one.PublicPEM()...)}
	in := input(t, nil, pkg("a-1-r0"))
	in.Base = baseOf(t, base)
	in.Keys = map[string][]byte{"one.rsa.pub": one.PublicPEM(), "two.rsa.pub": two.PublicPEM()}
	want := append([]string{"etc/apk/keys/two.rsa.pub [apk-keys]"}, settings[1:]...)
	if diff := cmp.Diff(want, changed(plan(t, in))); diff != "" {
		t.Error(diff)
	}
	in.Keys["one.rsa.pub"] = two.PublicPEM()
	if _, err := Plan(t.Context(), in); err == nil || err.Error() != `key "one.rsa.pub": the base image has another key of this name in /etc/apk/keys` {
		t.Errorf("error %v", err)
	}
}

func TestLinkerCacheOnBase(t *testing.T) {
	base := withELF(input(t, nil, pkg("b-1-r0", "etc/ld.so.conf is=/opt/x|", "opt/x/libb.so.1")))
	in := withELF(input(t, nil, pkg("a-1-r0", "opt/x/liba.so.1")))
	in.Base = baseOf(t, base)
	tree := plan(t, in)
	if diff := cmp.Diff([]string{"liba.so.1 /opt/x/liba.so.1", "libb.so.1 /opt/x/libb.so.1"}, cached(t, tree)); diff != "" {
		t.Error(diff)
	}
	if e := tree.Lookup("etc/ld.so.cache"); !slices.Equal(e.Derived, []string{"a", "b"}) {
		t.Errorf("derived from %v", e.Derived)
	}
	clear(in.Base.Owners)
	if e := plan(t, in).Lookup("etc/ld.so.cache"); !slices.Equal(e.Derived, []string{"a", BaseImage}) {
		t.Errorf("derived from %v", e.Derived)
	}
	in = withELF(input(t, nil, pkg("a-1-r0", "opt/else")))
	in.Base = baseOf(t, base)
	if e := plan(t, in).Lookup("etc/ld.so.cache"); e.Content != nil {
		t.Error("written anew for nothing")
	}
	in = withELF(input(t, nil, replacing(pkg("a-1-r0", "etc/ld.so.conf is=/opt/y|"), 0, "b")))
	in.Base = baseOf(t, base)
	if got := cached(t, plan(t, in)); len(got) != 0 {
		t.Errorf("the configuration changed, the cache has %v", got)
	}
}

func TestBusyboxOnBase(t *testing.T) {
	bb := pkg("busybox-1.36.1-r15", "bin/busybox mode=755", "etc/busybox-paths.d/busybox is=/bin/ls|/bin/cat|")
	in := onto(t, []apktest.Spec{bb}, pkg("a-1-r0", "opt/x"))
	for i := range in.Base.Receipt.Entries { // somebody removed a link
		if in.Base.Receipt.Entries[i].Path == "bin/cat" {
			in.Base.Receipt.Entries = slices.Delete(in.Base.Receipt.Entries, i, i+1)
			in.Base.Owners = slices.Delete(in.Base.Owners, i, i+1)
			break
		}
	}
	if diff := cmp.Diff([]string{"opt/x [a]", "usr/lib/apk/db/installed [installed-db]"}, changed(plan(t, in))); diff != "" {
		t.Error(diff)
	}
	more := onto(t, []apktest.Spec{bb}, pkg("a-1-r0", "etc/busybox-paths.d/more is=/bin/more|"))
	want := []string{"bin/more [busybox-links]", "etc/busybox-paths.d/more [a]", "usr/lib/apk/db/installed [installed-db]"}
	if diff := cmp.Diff(want, changed(plan(t, more))); diff != "" {
		t.Error(diff)
	}
	fresh := onto(t, nil, bb)
	if tree := plan(t, fresh); tree.Lookup("bin/ls") == nil {
		t.Error("a busybox on top has no links")
	}
}

func TestReadingTheBase(t *testing.T) {
	in := onto(t, []apktest.Spec{pkg("b-1-r0", "etc/ld.so.conf is=/opt/x|")}, pkg("a-1-r0", "opt/x/y"))
	delete(in.Base.Receipt.Contents, "etc/ld.so.conf")
	if _, err := Plan(t.Context(), in); err != nil {
		t.Error(err)
	}
	broken := errors.New("unreadable")
	in.Base.ReadFile = func(context.Context, int) ([]byte, error) { return nil, broken }
	if _, err := Plan(t.Context(), in); !errors.Is(err, broken) || err.Error() != "/etc/ld.so.conf: base image: unreadable" {
		t.Errorf("error %v", err)
	}
	in.Base.ReadFile = func(context.Context, int) ([]byte, error) { return []byte("x"), nil }
	if _, err := Plan(t.Context(), in); err == nil || !strings.HasPrefix(err.Error(), "/etc/ld.so.conf: base image: content with digest sha256:") {
		t.Errorf("error %v", err)
	}
	in.Base.ReadFile = nil
	if _, err := Plan(t.Context(), in); !errors.Is(err, errNoReader) {
		t.Errorf("error %v", err)
	}
}
