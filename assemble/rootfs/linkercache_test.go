package rootfs

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/generate/ldcache"
	"github.com/cairn-dev/cairn/packages/apk"
)

// withELF says of the packages' regular files named lib*.so*, ld-* that they are
// x86-64 libraries, with the part of the name up to ".so.N" as SONAME.
func withELF(in Input) Input {
	for _, p := range in.Packages {
		for i := range p.Receipt.Entries {
			e := &p.Receipt.Entries[i]
			_, name := split(e.Path)
			if e.Type == apk.TypeFile && ldcache.IsLibrary(name) {
				parts := strings.SplitAfterN(name, ".", 4)
				e.ELF = &apk.ELF{Class: 2, Data: 1, Type: 3, Machine: 62, SONAME: strings.TrimSuffix(strings.Join(parts[:min(3, len(parts))], ""), ".")}
			}
		}
	}
	return in
}

func cached(t *testing.T, tree *Tree) []string {
	t.Helper()
	list, err := ldcache.Parse([]byte(content(t, tree, "etc/ld.so.cache")))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name+" "+e.Path)
	}
	slices.Sort(out)
	return out
}

func TestLinkerCache(t *testing.T) {
	in := withELF(input(t, nil,
		pkg("base-1-r0", "usr/lib/", "lib -> usr/lib", "etc/ld.so.conf is=include|", "etc/ld.so.conf.d/x.conf is=/opt/x|"),
		pkg("a-1-r0", "lib/liba.so.1.2 mode=755", "usr/lib/liba.so.1 -> liba.so.1.2", "usr/lib/liba.so -> ../../lib/liba.so.1", "usr/lib/libdangling.so.1 -> nothing"),
		pkg("b-1-r0", "opt/x/libb.so.2", "opt/y/libc.so.3", "usr/lib/glibc-hwcaps/x86-64-v3/liba.so.1", "usr/lib/libhard.so.1", "usr/lib/libother.so.1 => usr/lib/libhard.so.1"),
	))
	// The helper's contents have no spaces.
	in.Packages[0].Receipt.Contents["etc/ld.so.conf"] = []byte("include ld.so.conf.d/*.conf\n")
	for i := range in.Packages[0].Receipt.Entries {
		if e := &in.Packages[0].Receipt.Entries[i]; e.Path == "etc/ld.so.conf" {
			e.SHA256, e.Size = sum256("include ld.so.conf.d/*.conf\n"), 28
		}
	}
	tree := plan(t, in)
	want := []string{
		"liba.so /lib/liba.so",
		"liba.so.1 /lib/glibc-hwcaps/x86-64-v3/liba.so.1",
		"liba.so.1 /lib/liba.so.1",
		"libb.so.2 /opt/x/libb.so.2",
		"libhard.so.1 /lib/libhard.so.1",
	}
	if diff := cmp.Diff(want, cached(t, tree)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if e := tree.Lookup("etc/ld.so.cache"); e.Mode != 0o644 || !slices.Equal(e.Derived, []string{"a", "b"}) || e.Owner != (Owner{OwnedByGenerator, "ld.so.cache"}) {
		t.Errorf("%o %v %v", e.Mode, e.Owner, e.Derived)
	}
}

func TestLinkerCacheOnlyForGlibc(t *testing.T) {
	if e := plan(t, withELF(input(t, nil, pkg("musl-1-r0", "lib/libc.musl-x86_64.so.1", "lib/liba.so.1")))).Lookup("etc/ld.so.cache"); e != nil {
		t.Errorf("musl: %+v", e)
	}
	glibc := plan(t, withELF(input(t, nil, pkg("glibc-1-r0", "lib/ld-linux-x86-64.so.2", "lib/libc.so.6"))))
	if diff := cmp.Diff([]string{"ld-linux-x86-64.so.2 /lib/ld-linux-x86-64.so.2", "libc.so.6 /lib/libc.so.6"}, cached(t, glibc)); diff != "" {
		t.Errorf("glibc (-want +got)\n%s", diff)
	}
	conf := plan(t, input(t, &config.Config{Files: []config.File{{Path: "/etc/ld.so.conf", Bytes: []byte("/opt\n")}}}))
	if got := cached(t, conf); len(got) != 0 {
		t.Errorf("no libraries: %v", got)
	}
}

// Debian's glibc searches its multiarch directories without an ld.so.conf; a
// directory that only looks like one is not searched.
func TestLinkerCacheMultiarch(t *testing.T) {
	debian := plan(t, withELF(input(t, nil,
		pkg("base-1-r0", "usr/lib/", "usr/lib64/", "lib -> usr/lib", "lib64 -> usr/lib64"),
		pkg("libc6-1-r0", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/ld-linux-x86-64.so.2 -> ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
		pkg("other-1-r0", "usr/lib/aarch64-linux-gnu/libcross.so.1", "usr/lib/libplain.so.1"),
	)))
	want := []string{
		"ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "ld-linux-x86-64.so.2 /lib64/ld-linux-x86-64.so.2",
		"libc.so.6 /lib/x86_64-linux-gnu/libc.so.6", "libplain.so.1 /lib/libplain.so.1",
	}
	if diff := cmp.Diff(want, cached(t, debian)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLinkerCacheErrors(t *testing.T) {
	for _, c := range []struct {
		file, err string
	}{
		{"include [\n", "etc/ld.so.conf line 1: include"},
		{"include ld.so.conf\n", "are nested more than"},
	} {
		cfg := &config.Config{Files: []config.File{{Path: "/etc/ld.so.conf", Bytes: []byte(c.file)}}}
		if _, err := Plan(context.Background(), input(t, cfg)); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: error %v, expected %s", c.file, err, c.err)
		}
	}
}
