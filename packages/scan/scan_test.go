package scan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/tree"
)

// put makes a tree: a content that begins with "-> " is a symbolic link, a name
// that ends in "/" a directory; files in a bin directory are executable.
func put(t testing.TB, files map[string]string) *tree.Tree {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch target, link := strings.CutPrefix(content, "-> "); {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case link:
			err = os.Symlink(target, p)
		case strings.HasSuffix(filepath.Dir(p), "bin"):
			err = os.WriteFile(p, []byte(content), 0o755)
		default:
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tr, err := tree.Directory(dir, tree.DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	if err := tr.Hash(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	return tr
}

func scanned(t testing.TB, in Input) *Result {
	t.Helper()
	if in.Version == "" {
		in.Version = "1.0-r0"
	}
	r, err := Scan(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestScanFiles(t *testing.T) {
	for name, test := range map[string]struct {
		pkg                                  string
		files                                map[string]string
		declared                             []string
		options                              Options
		depends, provides, vendored, warning []string
	}{
		"commands": {files: map[string]string{"usr/bin/a": "x", "usr/bin/l": "-> a", "usr/libexec/b": "x", "usr/sbin/c": "x"},
			provides: []string{"cmd:a=1.0-r0", "cmd:c=1.0-r0"}},
		"no commands": {files: map[string]string{"usr/bin/a": "#!/bin/bash\n"}, options: Options{NoCommands: true}},
		"no provides": {files: map[string]string{"usr/bin/a": "#!/bin/bash\n"}, options: Options{NoProvides: true}, depends: []string{"cmd:bash"}},
		"no depends":  {files: map[string]string{"usr/bin/a": "#!/bin/bash\n"}, options: Options{NoDepends: true}, provides: []string{"cmd:a=1.0-r0"}},
		"shebangs": {files: map[string]string{"usr/local/bin/a": "#!/usr/bin/env -S ruby -w\n", "usr/local/bin/b": "#! /bin/sh -e\n",
			"usr/local/bin/c": "#!/usr/bin/env python3.12", "usr/local/bin/d": "#!/usr/bin/env x y\n", "usr/share/e": "#!/bin/zsh\n"},
			depends: []string{"cmd:python3.12", "cmd:ruby"},
			warning: []string{`usr/local/bin/d: "#!/usr/bin/env x y": expected #!/usr/bin/env PROGRAM or #!/usr/bin/env -S PROGRAM …`}},
		"pkg-config": {files: map[string]string{"usr/lib/pkgconfig/x.pc": "v=2\nRequires: a >= ${v}, b\nRequires.private: c\nLibs: -lx\n",
			"usr/lib/pkgconfig/y.pc": "-> x.pc", "opt/x/z.pc": "Requires: q\n"},
			depends: []string{"pc:a", "pc:b", "pc:c"}, provides: []string{"pc:x=1.0-r0"}, vendored: []string{"pc:z=1.0-r0"}},
		"broken pkg-config": {files: map[string]string{"usr/lib/pkgconfig/x.pc": "Requires: ${a\n"},
			warning: []string{`usr/lib/pkgconfig/x.pc: Requires: variable "a" without closing brace`}},
		"documentation":        {pkg: "x-doc", files: map[string]string{"usr/share/man/man1/x.1": "", "usr/share/info/x.info": ""}, depends: []string{"man-db", "texinfo"}},
		"no documentation":     {pkg: "x", files: map[string]string{"usr/share/man/man1/x.1": ""}},
		"python":               {files: map[string]string{"usr/lib/python3.13/site-packages/x.py": ""}, depends: []string{"python-3.13-base"}},
		"python is declared":   {files: map[string]string{"usr/lib/python3.13/site-packages/x.py": ""}, declared: []string{"python3>=3.13"}},
		"python of no version": {files: map[string]string{"usr/lib/python/site-packages/x.py": ""}},
		"ruby is declared":     {files: map[string]string{"usr/lib/ruby/gems/3.2.0/gems/x": ""}, declared: []string{"ruby-3.2"}},
		"perl is declared":     {files: map[string]string{"usr/lib/perl5/vendor_perl/x": ""}, declared: []string{"perl"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := scanned(t, Input{Name: test.pkg, Tree: put(t, test.files), Declared: test.declared, Options: test.options})
			got := [][]string{r.Depends, r.Provides, r.Vendored, r.Warnings}
			for i, want := range [][]string{test.depends, test.provides, test.vendored, test.warning} {
				if len(want)+len(got[i]) > 0 && !cmp.Equal(want, got[i]) {
					t.Errorf("list %d: %q, expected %q", i, got[i], want)
				}
			}
		})
	}
}

func TestMelangeDefect_PerlBelowLib(t *testing.T) {
	r := scanned(t, Input{Tree: put(t, map[string]string{"lib/perl5/vendor_perl/x": ""})})
	if !cmp.Equal(r.Depends, []string{"perl~5"}) {
		t.Errorf("%v", r.Depends)
	}
}

func TestMelangeDefect_RubyWithOtherLastNumbers(t *testing.T) {
	r := scanned(t, Input{Tree: put(t, map[string]string{"usr/lib/ruby/gems/3.4.5/gems/x": ""})})
	if !cmp.Equal(r.Depends, []string{"ruby-3.4"}) {
		t.Errorf("%v", r.Depends)
	}
}

func TestMelangeDefect_VersionedShlibDepsOfInstalledPackages(t *testing.T) {
	p, err := tree.OpenPackage(context.Background(), apktest.Data(t, "wolfi-built", "hello-wolfi-2.12.1-r1.apk"), tree.PackageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	in := Input{Name: "hello-wolfi", Tree: p.Tree, Options: Options{VersionedShlibDeps: true}, Installed: []apk.Package{
		{Name: "glibc", Version: "2.38-r3", Provides: []apk.Dependency{{Name: "so-ver:libc.so.6", Op: apk.OpEqual, Version: "2.38-r3"}}}}}
	want := []string{"so-ver:libc.so.6>=2.38-r3", "so:ld-linux-aarch64.so.1", "so:libc.so.6"}
	if r := scanned(t, in); !cmp.Equal(r.Depends, want) {
		t.Errorf("%v", r.Depends)
	}
	in.Options.NoVersionedShlibDeps = true
	if r := scanned(t, in); !cmp.Equal(r.Depends, want[1:]) {
		t.Errorf("switched off: %v", r.Depends)
	}
}

// A version constraint of a so-ver: dependency survives the filter.
func TestMelangeDefect_FilterDropsVersions(t *testing.T) {
	r := Result{Depends: []string{"so-ver:libx.so.1>=2-r0", "so:liby.so.1"}, Provides: []string{"so:liby.so.1=1"}}
	depends, provides := r.Merge([]string{"a>1", "!so:liby.so.1"}, []string{"b"})
	if want := []string{"!so:liby.so.1", "a>1", "so-ver:libx.so.1>=2-r0"}; !cmp.Equal(depends, want) {
		t.Errorf("depends %v, expected %v", depends, want)
	}
	if want := []string{"b", "so:liby.so.1=1"}; !cmp.Equal(provides, want) {
		t.Errorf("provides %v, expected %v", provides, want)
	}
}

// TestRealPackages compares with what melange found, which stands in .PKGINFO.
func TestRealPackages(t *testing.T) {
	for file, want := range map[string]struct{ depends, provides, vendored []string }{
		"libcap-2.69-r0.apk": {[]string{"so:ld-linux-aarch64.so.1", "so:libc.so.6", "so:libcap.so.2", "so:libpsx.so.2"},
			[]string{"so-ver:libcap.so.2=2.69-r0", "so-ver:libpsx.so.2=2.69-r0", "so:libcap.so.2=2", "so:libpsx.so.2=2"}, nil},
		"perl-json-4.11-r0.apk":           {[]string{"perl~5"}, nil, nil},
		"ruby3.2-base64-0.2.0-r2.apk":     {[]string{"ruby-3.2"}, nil, nil},
		"bash-doc-5.2.37-r2.apk":          {[]string{"man-db", "texinfo"}, nil, nil},
		"hello-wolfi-2.12.1-r0.apk":       {[]string{"so:ld-linux-x86-64.so.2", "so:libc.so.6"}, []string{"cmd:hello=2.12.1-r0"}, nil},
		"catatonit-0.2.1-r0.apk":          {nil, []string{"cmd:catatonit=0.2.1-r0"}, nil},
		"busybox-1.37.0-r0.apk":           {nil, []string{"cmd:busybox=1.37.0-r0"}, nil},
		"kubeflow-pipelines-2.1.3-r7.apk": {nil, nil, nil},
	} {
		t.Run(file, func(t *testing.T) {
			p, err := tree.OpenPackage(context.Background(), apktest.Data(t, "wolfi-built", file), tree.PackageOptions{NoDataHash: true})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			r := scanned(t, Input{Name: p.Receipt.Package.Name, Version: p.Receipt.Package.Version, Tree: p.Tree})
			for i, pair := range [][2][]string{{want.depends, r.Depends}, {want.provides, r.Provides}, {want.vendored, r.Vendored}} {
				if len(pair[0])+len(pair[1]) > 0 && !cmp.Equal(pair[0], pair[1]) {
					t.Errorf("list %d: %s", i, cmp.Diff(pair[0], pair[1]))
				}
			}
		})
	}
}

func TestLinksToSiblings(t *testing.T) {
	p, err := tree.OpenPackage(context.Background(), apktest.Data(t, "wolfi-built", "libcap-2.69-r0.apk"), tree.PackageOptions{NoDataHash: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dev := put(t, map[string]string{"usr/lib/libcap.so": "-> libcap.so.2"})
	r := scanned(t, Input{Name: "libcap-dev", Tree: dev, Related: []Related{{"libcap", p.Tree}}})
	if !cmp.Equal(r.Depends, []string{"so:libcap.so.2"}) {
		t.Errorf("%v", r.Depends)
	}
	if r.Findings[0] != (Finding{Depend, "so:libcap.so.2", "so", "usr/lib/libcap.so"}) {
		t.Errorf("%+v", r.Findings)
	}
}

func TestConfiguredDirectories(t *testing.T) {
	s := &scanner{in: Input{Tree: put(t, map[string]string{"etc/ld.so.conf.d/a.conf": "# x\n/opt/lib/\nrelative\n", "etc/ld.so.conf.d/b": "/no\n"}),
		Related: []Related{{"b", put(t, map[string]string{"etc/ld.so.conf.d/c.conf": "/usr/c"})}}}}
	if got := s.configuredDirs(); !cmp.Equal(got, []string{"opt/lib", "usr/c"}) {
		t.Errorf("%v", got)
	}
}

func TestSonameVersion(t *testing.T) {
	for soname, want := range map[string]string{"libc.so.6": "6", "libx.so.1.2.3": "1.2.3", "libx.so": "0", "libx.so.0unstable": "0", "x": "0"} {
		if got := sonameVersion(soname); got != want {
			t.Errorf("%s: %s, expected %s", soname, got, want)
		}
	}
}

func FuzzPkgConfigRequires(f *testing.F) {
	f.Add([]byte("a=1\nRequires: b >= ${a}, c\n"))
	f.Add([]byte("a=${a}${a}\\\n\nRequires: ${a}>=2 <"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := PkgConfigRequires(b)
		for _, n := range list {
			if err == nil && (n == "" || strings.ContainsAny(n, "<>=!, \t")) {
				t.Errorf("name %q", n)
			}
		}
	})
}

func FuzzInterpreter(f *testing.F) {
	f.Add("#!/usr/bin/env -S a b")
	f.Fuzz(func(t *testing.T, line string) {
		if name, err := Interpreter(line); err == nil && strings.ContainsAny(name, " \t\n") {
			t.Errorf("%q", name)
		}
	})
}

func FuzzGoBuildInfo(f *testing.F) {
	f.Add("\x7fELF")
	f.Fuzz(func(t *testing.T, b string) {
		if info, err := GoBuildInfo(strings.NewReader(b)); info == nil && err == nil {
			t.Error("neither information nor an error")
		}
	})
}

func BenchmarkScan(b *testing.B) {
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("usr/share/x/%d", i)] = "x"
		files[fmt.Sprintf("usr/bin/p%d", i)] = "#!/usr/bin/env bash\n"
	}
	in := Input{Name: "x", Version: "1-r0", Tree: put(b, files)}
	for b.Loop() {
		scanned(b, in)
	}
	b.ReportMetric(float64(len(in.Tree.Entries())), "files")
}
