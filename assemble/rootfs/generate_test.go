package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestEmptyImage(t *testing.T) {
	in := Input{Arch: "aarch64", Created: epoch, World: []apk.Dependency{{Name: "b"}, {Name: "a", Op: apk.OpGreaterEqual, Version: "2"}, {Name: "x", Conflict: true}, {Name: "b"}},
		RuntimeRepositories: []string{"https://b.example", "@tag https://a.example", "https://b.example"},
		Keys:                map[string][]byte{"k.rsa.pub": []byte("key\n")}}
	tree := plan(t, in)
	var got strings.Builder
	if err := tree.Dump(&got); err != nil {
		t.Fatal(err)
	}
	const want = `/dev d 0755 0:0 [generator base-layout]
/etc d 0755 0:0 [generator base-layout]
/etc/apk d 0755 0:0 [generator base-layout]
/etc/apk/arch f 0644 0:0 8 5121ae59 [generator apk-settings]
/etc/apk/keys d 0755 0:0 [generator base-layout]
/etc/apk/keys/k.rsa.pub f 0644 0:0 4 a7998f24 [generator apk-keys]
/etc/apk/repositories f 0644 0:0 41 8fbe1895 [generator apk-settings]
/etc/apk/world f 0644 0:0 10 21b898b6 [generator apk-settings]
/lib d 0755 0:0 [generator installed-db]
/lib/apk l 0777 0:0 -> ../usr/lib/apk [generator installed-db]
/opt d 0755 0:0 [generator base-layout]
/proc d 0555 0:0 [generator base-layout]
/tmp d 1777 0:0 [generator base-layout]
/usr d 0755 0:0 [generator base-layout]
/usr/lib d 0755 0:0 [generator installed-db]
/usr/lib/apk d 0755 0:0 [generator installed-db]
/usr/lib/apk/db d 0755 0:0 [generator installed-db]
/usr/lib/apk/db/installed f 0644 0:0 0 e3b0c442 [generator installed-db]
/usr/lib/apk/db/lock f 0600 0:0 0 e3b0c442 [generator installed-db]
/usr/lib/apk/db/scripts.tar f 0644 0:0 1024 5f70bf18 [generator installed-db]
/usr/lib/apk/db/triggers f 0644 0:0 0 e3b0c442 [generator installed-db]
/usr/lib/apk/exec d 0755 0:0 [generator installed-db]
/var d 0755 0:0 [generator base-layout]
/var/cache d 0755 0:0 [generator base-layout]
/var/cache/apk d 0755 0:0 [generator base-layout]
/var/cache/misc d 0755 0:0 [generator base-layout]
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for p, want := range map[string]string{
		"etc/apk/arch":         "aarch64\n",
		"etc/apk/world":        "!x\na>=2\nb\n",
		"etc/apk/repositories": "@tag https://a.example\nhttps://b.example\n",
	} {
		if got := content(t, tree, p); got != want {
			t.Errorf("/%s: %q, expected %q", p, got, want)
		}
	}
	for i := range tree.Entries {
		if e := &tree.Entries[i]; e.MTime != epoch.Unix() {
			t.Errorf("/%s: time %d, expected that of the image", e.Path, e.MTime)
		}
	}
}

// The database is found under both names, wherever it is.
func TestDatabasePlace(t *testing.T) {
	for _, c := range []struct {
		name  string
		specs []apktest.Spec
		want  string // real path of the directory
		links string
	}{
		{"plain", []apktest.Spec{pkg("a-1-r0", "lib/x")}, "usr/lib/apk", "/lib/apk l 0777 0:0 -> ../usr/lib/apk [generator installed-db]"},
		{"merged", []apktest.Spec{pkg("a-1-r0", "usr/lib/", "lib -> usr/lib")}, "usr/lib/apk", "/lib l 0777 0:0 -> usr/lib [package a]"},
		{"merged, absolute", []apktest.Spec{pkg("a-1-r0", "usr/lib/", "lib -> /usr/lib")}, "usr/lib/apk", "/lib l 0777 0:0 -> /usr/lib [package a]"},
		{"merged the other way", []apktest.Spec{pkg("a-1-r0", "lib/", "usr/lib -> ../lib")}, "lib/apk", "/usr/lib l 0777 0:0 -> ../lib [package a]"},
		{"a package has the directory", []apktest.Spec{pkg("a-1-r0", "lib/apk/exec/")}, "lib/apk", "/usr/lib/apk l 0777 0:0 -> ../../lib/apk [generator installed-db]"},
		{"a package has both", []apktest.Spec{pkg("a-1-r0", "lib/apk/exec/", "usr/lib/apk/x")}, "lib/apk", ""},
		{"a package has the other", []apktest.Spec{pkg("a-1-r0", "lib/", "usr/lib/apk/x")}, "usr/lib/apk", "/lib/apk l 0777 0:0 -> ../usr/lib/apk [generator installed-db]"},
	} {
		tree := plan(t, input(t, nil, c.specs...))
		if e := tree.Lookup(c.want + "/db/installed"); e == nil || e.Type != apk.TypeFile {
			t.Errorf("%s: /%s/db/installed is not there:\n%s", c.name, c.want, dump(t, tree, "/lib*", "/usr*"))
		}
		var links []string
		for _, line := range strings.Split(dump(t, tree, "/lib", "/lib/apk", "/usr/lib", "/usr/lib/apk"), "\n") {
			if strings.Contains(line, " l ") {
				links = append(links, line)
			}
		}
		if got := strings.Join(links, "\n"); got != c.links {
			t.Errorf("%s: links %q, expected %q", c.name, got, c.links)
		}
	}
}

// What apk reads back is what is in the tree.
func TestInstalledDatabase(t *testing.T) {
	lib := replacing(pkg("lib-2-r0", "etc/x is=new mode=640 own=1:2", "usr/lib/z mode=755", "usr/lib/h => usr/lib/z", "usr/lib/l -> z", "top"), 3, "base")
	lib.Package.Arch, lib.Package.Origin = "noarch", "o"
	in := input(t, paths(types.PathMutation{Path: "/usr/lib/z", Type: "permissions", Permissions: 0o500, UID: id(9)}),
		lib, pkg("base-1-r0", "etc/ mode=700", "etc/y", "srv/d/ own=7:7"),
		replacing(apktest.Spec{Package: apk.Package{Name: "Orphan", Version: "1-r0"}, Files: []apktest.File{file("srv/d/f own=5:5 name=www:")}}, 0, "none"),
		pkg("users-1-r0", "etc/passwd is=www:x:33:33::/:/x|", "etc/.keep_x"))
	in.World = []apk.Dependency{{Name: "base", Pin: "edge"}}
	tree := plan(t, in)
	text := content(t, tree, "usr/lib/apk/db/installed")
	list, err := apk.ParseInstalled(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got strings.Builder
	for _, p := range list {
		fmt.Fprintf(&got, "%s %s tag %q replaces %v priority %d\n", p.ID(), p.Arch, p.Tag, p.Replaces, p.ReplacesPriority)
		for _, d := range p.Dirs {
			fmt.Fprintf(&got, " %s/ %04o %d:%d\n", d.Path, d.Mode, d.UID, d.GID)
			for _, f := range d.Files {
				fmt.Fprintf(&got, "  %s %04o %d:%d %.8s\n", f.Name, f.Mode, f.UID, f.GID, f.SHA1.Hex())
			}
		}
	}
	const want = `base-1-r0 x86_64 tag "edge" replaces [] priority 0
 etc/ 0700 0:0
  y 0644 0:0 a2c32c22
 srv/ 0755 0:0
 srv/d/ 0755 7:7
lib-2-r0 x86_64 tag "" replaces [base] priority 3
 etc/ 0755 0:0
  x 0640 1:2 c2a6b03f
 usr/ 0755 0:0
 usr/lib/ 0755 0:0
  z 0755 0:0 fc618fba
  h 0644 0:0 fc618fba
  l 0777 0:0 395df8f7
 / 0755 0:0
  top 0644 0:0 af2c7b4c
Orphan-1-r0  tag "" replaces [none] priority 0
 srv/d/ 0755 0:0
  f 0644 33:5 7f8e8527
users-1-r0 x86_64 tag "" replaces [] priority 0
 etc/ 0755 0:0
  passwd 0644 0:0 2dab5a42
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestScriptsAndTriggers(t *testing.T) {
	a, c := pkg("a-1-r0"), pkg("c-3-r0", "etc/c")
	a.Scripts = map[string]string{"trigger": "T", "post-install": "P", "pre-install": "p", "unknown": "?"}
	a.Package.BuildTime, a.Package.Triggers = 1234, []string{"/usr/lib", "/lib/*"}
	c.Scripts = map[string]string{"post-deinstall": strings.Repeat("x", 600)}
	in := input(t, nil, a, c)
	tree := plan(t, in)
	sumA, sumC := in.Packages[0].Receipt.Package.Checksum.String(), in.Packages[1].Receipt.Package.Checksum.String()
	var got []string
	for r := tar.NewReader(strings.NewReader(content(t, tree, "usr/lib/apk/db/scripts.tar"))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %d:%d %d %d", h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Size))
	}
	want := []string{
		"a-1-r0." + sumA + ".pre-install 755 0:0 1234 1", "a-1-r0." + sumA + ".post-install 755 0:0 1234 1", "a-1-r0." + sumA + ".trigger 755 0:0 1234 1",
		fmt.Sprintf("c-3-r0.%s.post-deinstall 755 0:0 %d 600", sumC, epoch.Unix()),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scripts (-want +got)\n%s", diff)
	}
	if got, want := content(t, tree, "usr/lib/apk/db/triggers"), sumA+" /usr/lib /lib/*\n"; got != want {
		t.Errorf("triggers %q, expected %q", got, want)
	}
}

func TestServices(t *testing.T) {
	c := &config.Config{}
	c.Entrypoint = types.ImageEntrypoint{Type: "service-bundle", Services: map[string]string{"web": "/bin/web -p 80", "log": "/bin/log"}}
	tree := plan(t, input(t, c))
	const want = `/sv d 0755 0:0 [config entrypoint.services]
/sv/log d 0755 0:0 [config entrypoint.services]
/sv/log/run f 0755 0:0 26 81979176 [config entrypoint.services]
/sv/web d 0755 0:0 [config entrypoint.services]
/sv/web/run f 0755 0:0 32 f5cf65a0 [config entrypoint.services]
`
	if diff := cmp.Diff(want, dump(t, tree, "/sv*")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := content(t, tree, "sv/web/run"); got != "#!/bin/execlineb\n/bin/web -p 80\n" {
		t.Errorf("run: %q", got)
	}
	c.Entrypoint.Services = map[string]string{"../x": "y"}
	_, err := Plan(context.Background(), input(t, c))
	if err == nil || err.Error() != `entrypoint.services: name "../x": expected a file name` {
		t.Errorf("error %v", err)
	}
	c.Entrypoint.Services = map[string]string{"x": "y"}
	_, err = Plan(context.Background(), input(t, c, pkg("a-1-r0", "sv")))
	if err == nil || err.Error() != `entrypoint.services: not a directory` {
		t.Errorf("error %v", err)
	}
}

func TestRuntimeKeyring(t *testing.T) {
	one, two := string(apktest.NewKey("one.rsa.pub").PublicPEM()), string(apktest.NewKey("two.rsa.pub").PublicPEM())
	keyring := func(name, content string) *config.Config {
		c := &config.Config{}
		c.Contents.RuntimeKeyring = []types.RuntimeKeyringEntry{{Name: name, Content: content}}
		return c
	}
	for _, c := range []struct {
		name, content string
		specs         []apktest.Spec
		err           string
	}{
		{name: "one.rsa.pub", content: "comment\n" + one},
		{name: "in-image.rsa.pub", content: one},
		{name: "../x", content: one, err: `contents.runtime_keyring[0]: name "../x": expected a file name`},
		{name: "k", content: "", err: `contents.runtime_keyring[0]: name "k": content: expected a public key in PEM form`},
		{name: "k", content: one + two, err: `contents.runtime_keyring[0]: name "k": content: more than one PEM block: expected one public key`},
		{name: "k", content: string(apktest.NewKey("one.rsa.pub").PrivatePEM()), err: `contents.runtime_keyring[0]: name "k": content: PEM block "RSA PRIVATE KEY": expected PUBLIC KEY`},
		{name: "k", content: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", err: `contents.runtime_keyring[0]: name "k": content: public key: `},
		{name: "in-image.rsa.pub", content: two, err: `contents.runtime_keyring[0]: name "in-image.rsa.pub": /etc/apk/keys has another key of this name, owned by apk-keys`},
		{name: "k", content: one, specs: []apktest.Spec{pkg("a-1-r0", "etc/apk/keys/k -> x")},
			err: `contents.runtime_keyring[0]: name "k": something else has this name in /etc/apk/keys, owned by a`},
	} {
		in := input(t, keyring(c.name, c.content), c.specs...)
		in.Keys = map[string][]byte{"in-image.rsa.pub": []byte(one)}
		tree, err := Plan(context.Background(), in)
		if c.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.err) {
				t.Errorf("%s: error %v, expected %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if got := content(t, tree, "etc/apk/keys/"+c.name); got != one {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestSettingsErrors(t *testing.T) {
	for _, c := range []struct {
		change func(*Input)
		specs  []apktest.Spec
		err    string
	}{
		{change: func(in *Input) { in.Keys = map[string][]byte{"a/b": nil} }, err: `key "a/b": expected a file name`},
		{change: func(in *Input) { in.Compat = "docker" }, err: `tree: compatibility "docker": expected nothing or "apko"`},
		{change: func(in *Input) { in.Packages = append(in.Packages, Package{}) }, err: "tree: package 0: it has no receipt"},
		{specs: []apktest.Spec{pkg("a-1-r0", "etc/apk/world/x")}, err: "/etc/apk/world: expected no directory there, a has one"},
		{specs: []apktest.Spec{pkg("a-1-r0", "tmp is=file")}, err: "base directory /tmp: not a directory: it is a file of a"},
		{specs: []apktest.Spec{pkg("a-1-r0", "var is=file")}, err: "base directory /var: not a directory: it is a file of a"},
		{specs: []apktest.Spec{pkg("a-1-r0", "var/cache -> /etc/x", "etc/x")}, err: "base directory /var/cache: etc/x: not a directory"},
		{specs: []apktest.Spec{pkg("a-1-r0", "lib is=file")}, err: "installed database: lib: not a directory"},
	} {
		in := input(t, nil, c.specs...)
		if c.change != nil {
			c.change(&in)
		}
		if _, err := Plan(context.Background(), in); err == nil || err.Error() != c.err {
			t.Errorf("error %v, expected %s", err, c.err)
		}
	}
}

// A base directory may be a symlink; what a package has of the settings and
// keys is replaced unless it is the same.
func TestBaseThroughSymlink(t *testing.T) {
	in := input(t, nil, pkg("a-1-r0", "var/tmp/ mode=1777", "tmp -> var/tmp", "etc/apk/keys/k is=key", "etc/apk/keys/j is=key", "etc/apk/arch is=x86_64|", "etc/apk/world is=x"))
	in.Keys = map[string][]byte{"k": []byte("key"), "j": []byte("other")}
	const want = `/etc/apk/arch f 0644 0:0 7 aaf63169 [package a]
/etc/apk/keys/j f 0644 0:0 5 d9298a10 [generator apk-keys]
/etc/apk/keys/k f 0644 0:0 3 2c70e12b [package a]
/etc/apk/world f 0644 0:0 1 01ba4719 [generator apk-settings]
/tmp l 0777 0:0 -> var/tmp [package a]
/var/tmp d 1777 0:0 [package a]
`
	got := dump(t, plan(t, in), "/tmp", "/var/tmp", "/etc/apk/keys/*", "/etc/apk/arch", "/etc/apk/world")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestBusyboxLinks(t *testing.T) {
	bb := pkg("busybox-1.36.1-r15", "bin/busybox mode=755", "etc/busybox-paths.d/busybox is=/bin/ls|/bin/busybox|/bin/su|usr/sbin/x|bin/taken|bin/cat|")
	cfg := paths(types.PathMutation{Path: "/bin/cat", Type: "symlink", Source: "other"})
	got := dump(t, plan(t, input(t, cfg, bb, pkg("a-1-r0", "bin/taken", "bin/bbsuid mode=4111"))), "/bin*", "/usr/sbin*")
	const want = `/bin d 0755 0:0 [package a]
/bin/bbsuid f 4111 0:0 10 7e6277a9 [package a]
/bin/busybox f 0755 0:0 11 c98e5192 [package busybox]
/bin/cat l 0777 0:0 -> other [config paths[0]]
/bin/ls l 0777 0:0 -> /bin/busybox [generator busybox-links]
/bin/mount l 0777 0:0 -> /bin/bbsuid [generator busybox-links]
/bin/su l 0777 0:0 -> /bin/bbsuid [generator busybox-links]
/bin/taken f 0644 0:0 9 d74d32fd [package a]
/bin/umount l 0777 0:0 -> /bin/bbsuid [generator busybox-links]
/usr/sbin d 0755 0:0 [generator implied-directory]
/usr/sbin/x l 0777 0:0 -> /bin/busybox [generator busybox-links]
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// Merged /usr: the links are where the binary is, each once.
	merged := plan(t, input(t, nil, pkg("base-1-r0", "usr/bin/", "bin -> usr/bin"), pkg("busybox-1.36.1-r15", "bin/busybox mode=755",
		"etc/busybox-paths.d/busybox is=/bin/ls|/usr/bin/ls|/usr/bin/busybox|")))
	if got, want := dump(t, merged, "/bin*", "/usr/bin/*"), "/bin l 0777 0:0 -> usr/bin [package base]\n"+
		"/usr/bin/busybox f 0755 0:0 11 c98e5192 [package busybox]\n/usr/bin/ls l 0777 0:0 -> /bin/busybox [generator busybox-links]\n"; got != want {
		t.Errorf("merged:\n%s", got)
	}
	// No list: the table, by the version of the package that has the binary.
	table := plan(t, input(t, nil, pkg("bb-1.33.0-r0", "bin/busybox mode=755")))
	if e := table.Lookup("bin/sh"); e == nil || e.Owner.Name != "busybox-links" || !slices.Equal(e.Derived, []string{"bb"}) {
		t.Errorf("bin/sh: %+v", e)
	}
	for name, in := range map[string]Input{
		"not there":              input(t, nil, pkg("a-1-r0", "bin/x")),
		"the configuration's":    input(t, files(config.File{Path: "/bin/busybox", Bytes: []byte("x")})),
		"a symlink to a nothing": input(t, nil, pkg("a-1-r0", "bin/busybox -> x")),
	} {
		if got := dump(t, plan(t, in)); strings.Contains(got, "busybox-links") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	_, err := Plan(context.Background(), input(t, nil, pkg("busybox-1-r0", "bin/busybox", "etc/busybox-paths.d/busybox is=../x|")))
	if err == nil || !strings.HasPrefix(err.Error(), "busybox links: etc/busybox-paths.d/busybox: line 1") {
		t.Errorf("error %v", err)
	}
}

// Planning is a function of its input.
func TestDeterministic(t *testing.T) {
	in := syntheticInput()
	var first bytes.Buffer
	for range 3 {
		tree := plan(t, in)
		var out bytes.Buffer
		if err := tree.Dump(&out); err != nil {
			t.Fatal(err)
		}
		if first.Len() == 0 {
			first = out
		} else if !bytes.Equal(first.Bytes(), out.Bytes()) {
			t.Fatal("two plans of one input differ")
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Plan(ctx, syntheticInput()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// Content that the receipt does not vouch for is refused.
func TestReadFileChecked(t *testing.T) {
	in := input(t, withAccounts("", []types.User{{UserName: "app", UID: 900}}, nil), pkg("a-1-r0", "etc/passwd is=x:x:1:1::/:/x|"))
	in.Packages[0].Receipt.Contents = nil
	_ = plan(t, in)
	in.ReadFiles = func(context.Context, int, []int) ([][]byte, error) { return [][]byte{[]byte("other")}, nil }
	if _, err := Plan(context.Background(), in); err == nil || !strings.Contains(err.Error(), "/etc/passwd: package a-1-r0: content with digest sha256:") {
		t.Errorf("wrong content: %v", err)
	}
	broken := errors.New("broken disk")
	in.ReadFiles = func(context.Context, int, []int) ([][]byte, error) { return nil, broken }
	if _, err := Plan(context.Background(), in); !errors.Is(err, broken) {
		t.Errorf("unreadable: %v", err)
	}
	in.ReadFiles = nil
	if _, err := Plan(context.Background(), in); !errors.Is(err, errNoReader) {
		t.Errorf("no reader: %v", err)
	}
}
