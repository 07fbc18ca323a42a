package lint

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/tree"
)

func put(t testing.TB, files map[string]string, modes map[string]os.FileMode) *tree.Tree {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch target, link := strings.CutPrefix(content, "-> "); {
		case err != nil:
		case link:
			err = os.Symlink(target, p)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		default:
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range modes {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
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

// elfHeader is an ELF file of that machine with one section of that name.
func elfHeader(machine byte, section string) string {
	names := "\x00" + section + "\x00.shstrtab\x00"
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01")
	h[16], h[18], h[20], h[52], h[58], h[60], h[62] = 2, machine, 1, 64, 64, 3, 2
	h[40] = 64 // section headers follow
	s := make([]byte, 3*64)
	s[64], s[68] = 1, 1
	s[128], s[132] = byte(2+len(section)), 3
	s[128+24], s[129+24] = 0, 1 // names at 256
	s[128+32] = byte(len(names))
	return string(h) + string(s) + names
}

func TestLinters(t *testing.T) {
	big := strings.Repeat("x", 2000)
	setuid, sticky := os.FileMode(0o755)|os.ModeSetuid, os.FileMode(0o644)|os.ModeSticky
	for name, test := range map[string]struct {
		pkg, arch string
		files     map[string]string
		modes     map[string]os.FileMode
		tests     []string
		only      string
		want      []string // paths; nil: nothing is found
	}{
		"dev":                      {files: map[string]string{"dev/x": "", "usr/dev": ""}, only: "dev", want: []string{"dev/x"}},
		"documentation":            {files: map[string]string{"usr/README": "", "usr/a.md": "", "usr/b.c": ""}, only: "documentation", want: []string{"usr/README", "usr/a.md"}},
		"documentation in doc":     {pkg: "x-doc", files: map[string]string{"usr/a.md": ""}, only: "documentation"},
		"opt":                      {files: map[string]string{"opt/x": ""}, only: "opt", want: []string{"opt/x"}},
		"opt in compat":            {pkg: "x-compat", files: map[string]string{"opt/x": ""}, only: "opt"},
		"object":                   {files: map[string]string{"usr/lib/crt1.o": ""}, only: "object", want: []string{"usr/lib/crt1.o"}},
		"maninfo":                  {files: map[string]string{"usr/share/man/man1/x.1.gz": "", "usr/share/info/x.info": ""}, only: "maninfo", want: []string{"usr/share/info/x.info", "usr/share/man/man1/x.1.gz"}},
		"sbom":                     {files: map[string]string{"var/lib/db/sbom/x": "", "var/lib/db/sbom/x.spdx.json": ""}, only: "sbom", want: []string{"var/lib/db/sbom/x"}},
		"setuid":                   {files: map[string]string{"usr/bin/x": "", "usr/y": ""}, modes: map[string]os.FileMode{"usr/bin/x": setuid, "usr/y": sticky}, only: "setuidgid", want: []string{"usr/bin/x (4755)", "usr/y (1644)"}},
		"srv":                      {files: map[string]string{"srv/x": ""}, only: "srv", want: []string{"srv/x"}},
		"tempdir":                  {files: map[string]string{"tmp/x": "", "var/tmp/d/": "", "run/d/": "", "var/run/e": ""}, only: "tempdir", want: []string{"run/d", "tmp/x", "var/run/e"}},
		"run with tmpfiles.d":      {files: map[string]string{"run/d/": "", "usr/lib/tmpfiles.d/x.conf": ""}, only: "tempdir"},
		"usrlocal":                 {files: map[string]string{"usr/local/bin/x": ""}, only: "usrlocal", want: []string{"usr/local/bin/x"}},
		"varempty":                 {files: map[string]string{"var/empty/x": ""}, only: "varempty", want: []string{"var/empty/x"}},
		"an empty var/empty":       {files: map[string]string{"var/empty/": ""}, only: "varempty"},
		"worldwrite":               {files: map[string]string{"usr/x": ""}, modes: map[string]os.FileMode{"usr/x": 0o666}, only: "worldwrite", want: []string{"usr/x (0666)"}},
		"strip":                    {files: map[string]string{"usr/lib/x.so": elfHeader(62, ".debug_info"), "usr/lib/y.so": elfHeader(62, ".text")}, only: "strip", want: []string{"usr/lib/x.so (.debug_info)"}},
		"strip in dbg":             {pkg: "x-dbg", files: map[string]string{"usr/lib/x.so": elfHeader(62, ".debug_info")}, only: "strip"},
		"empty":                    {files: map[string]string{"usr/": ""}, only: "empty", want: []string{}},
		"not empty":                {files: map[string]string{"usr/x": ""}, only: "empty"},
		"python docs":              {files: map[string]string{"usr/lib/python3.13/site-packages/docs/x": ""}, only: "python/docs", want: []string{"usr/lib/python3.13/site-packages/docs"}},
		"python test":              {files: map[string]string{"usr/lib/python3.13/site-packages/tests/x": ""}, only: "python/test", want: []string{"usr/lib/python3.13/site-packages/tests"}},
		"one python package":       {files: map[string]string{"usr/lib/python3.13/site-packages/a/x": "", "usr/lib/python3.13/site-packages/a.cpython-313.so": "", "usr/lib/python3.13/site-packages/a-1.dist-info/x": ""}, only: "python/multiple"},
		"pkgconf":                  {files: map[string]string{"usr/lib/pkgconfig/x.pc": ""}, tests: []string{}, only: "pkgconf", want: []string{"usr/lib/pkgconfig/x.pc"}},
		"pkgconf tested":           {files: map[string]string{"usr/lib/pkgconfig/x.pc": ""}, tests: []string{"test/pkgconf"}, only: "pkgconf"},
		"tests are not known":      {files: map[string]string{"usr/lib/pkgconfig/x.pc": ""}, only: "pkgconf"},
		"lddcheck":                 {files: map[string]string{"usr/lib/x.so.1": ""}, tests: []string{"test/pkgconf"}, only: "lddcheck", want: []string{"usr/lib/x.so.1"}},
		"usrmerge":                 {files: map[string]string{"sbin/x": "", "lib": "-> usr/lib", "usr/sbin/y": ""}, only: "usrmerge", want: []string{"sbin", "sbin/x", "usr/sbin", "usr/sbin/y"}},
		"cuda":                     {files: map[string]string{"usr/lib/libcuda.so.1": ""}, only: "cudaruntimelib", want: []string{"usr/lib/libcuda.so.1"}},
		"dll":                      {files: map[string]string{"usr/x.dll": ""}, only: "dll", want: []string{"usr/x.dll"}},
		"dylib":                    {files: map[string]string{"usr/x.dylib": ""}, only: "dylib", want: []string{"usr/x.dylib"}},
		"nonlinux":                 {files: map[string]string{"usr/Darwin/x": "", "usr/y": ""}, only: "nonlinux", want: []string{"usr/Darwin/x"}},
		"unsupportedarch":          {files: map[string]string{"usr/mips/x": "", "usr/a-ppc64.so": "", "usr/x86_64-i386": "", "usr/mipsy": ""}, only: "unsupportedarch", want: []string{"usr/a-ppc64.so", "usr/mips/x"}},
		"binaryarch":               {files: map[string]string{"usr/lib/x.so": elfHeader(8, ".text"), "usr/lib/y.so": elfHeader(183, ".text")}, only: "binaryarch", want: []string{"usr/lib/x.so (mips)"}},
		"binaryarch of a package":  {arch: "x86_64", files: map[string]string{"usr/lib/y.so": elfHeader(183, ".text")}, only: "binaryarch", want: []string{"usr/lib/y.so (aarch64)"}},
		"staticarchive":            {files: map[string]string{"usr/lib/x.a": ""}, only: "staticarchive", want: []string{"usr/lib/x.a"}},
		"staticarchive in -static": {pkg: "x-static", files: map[string]string{"usr/lib/x.a": ""}, only: "staticarchive"},
		"libtool":                  {files: map[string]string{"usr/lib/x.la": ""}, only: "libtool/la-files", want: []string{"usr/lib/x.la"}},
		"duplicate":                {files: map[string]string{"a/x": big, "b/x": big, "a/y": big, "a/LICENSE": big, "b/LICENSE": big}, only: "duplicate", want: []string{"a/x = b/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			pkg := test.pkg
			if pkg == "" {
				pkg = "x"
			}
			got, err := Run(context.Background(), Input{Name: pkg, Arch: test.arch, Tree: put(t, test.files, test.modes), Tests: test.tests},
				Options{Only: []string{test.only}})
			if err != nil {
				t.Fatal(err)
			}
			if test.want == nil {
				if len(got) > 0 {
					t.Errorf("found %v", got)
				}
				return
			}
			if len(got) != 1 || !slices.Equal(got[0].Paths, test.want) {
				t.Errorf("found %v, expected %v", got, test.want)
			}
		})
	}
}

func TestEveryLinterIsDescribed(t *testing.T) {
	for _, l := range Linters() {
		if l.Finds == "" || l.Reason == "" || l.Fix == "" || l.Severity == "" || l.check == nil {
			t.Errorf("%s: incomplete", l.Name)
		}
	}
	if n := len(Linters()); n != 30 {
		t.Errorf("%d linters, melange has 30", n)
	}
}

func TestMelangeDefect_DisabledChecksLeak(t *testing.T) {
	tr := put(t, map[string]string{"usr/bin/x": ""}, map[string]os.FileMode{"usr/bin/x": os.FileMode(0o755) | os.ModeSetuid})
	severities := func(disabled ...string) (out []Severity) {
		list, err := Run(context.Background(), Input{Name: "x", Tree: tr, Disabled: disabled}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			out = append(out, f.Severity)
		}
		return out
	}
	if diff := cmp.Diff([]Severity{Warn}, severities("setuidgid")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Severity{Required}, severities()); diff != "" {
		t.Errorf("after a package that disables it: %s", diff)
	}
}

func TestMelangeDefect_StripLooksForOneName(t *testing.T) {
	for section, want := range map[string]string{".debug_line": ".debug_line", ".zdebug_info": ".zdebug_info", ".debug": ".debug", ".debugger": ""} {
		if got := DebugSection(strings.NewReader(elfHeader(62, section))); got != want {
			t.Errorf("%s: %q", section, got)
		}
	}
}

func TestMelangeDefect_PythonNamesAreTruncated(t *testing.T) {
	tr := put(t, map[string]string{"usr/lib/python3.13/site-packages/abcdef.py": "", "usr/lib/python3.13/site-packages/abcxyz.py": ""}, nil)
	got, err := Run(context.Background(), Input{Name: "x", Tree: tr}, Options{Only: []string{"python/multiple"}})
	if err != nil || len(got) != 1 || !slices.Equal(got[0].Paths, []string{"abcdef", "abcxyz"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// The file is /usr/share/info/dir; melange looks below a directory of that name.
func TestMelangeDefect_InfoIndexIsAFile(t *testing.T) {
	got, err := Run(context.Background(), Input{Name: "x-doc", Tree: put(t, map[string]string{"usr/share/info/dir": ""}, nil)}, Options{})
	if err != nil || len(got) != 1 || got[0].Linter != "infodir" || !Failed(got) {
		t.Errorf("%v, %v", got, err)
	}
}

// A file in the root makes melange's usrmerge pass over all that come after it.
func TestMelangeDefect_UsrmergeStopsAtFiles(t *testing.T) {
	got, err := Run(context.Background(), Input{Name: "x", Tree: put(t, map[string]string{"a": "", "sbin/x": ""}, nil)}, Options{Only: []string{"usrmerge"}})
	if err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestOptions(t *testing.T) {
	l, _ := Lookup("opt")
	dev, _ := Lookup("dev")
	docs, _ := Lookup("documentation")
	for i, test := range []struct {
		o        Options
		l        Linter
		disabled []string
		want     Severity
	}{
		{Options{}, l, nil, Warn}, {Options{Require: []string{"opt"}}, l, nil, Required}, {Options{Off: []string{"opt"}}, l, nil, Off},
		{Options{}, l, []string{"opt"}, Off}, {Options{}, dev, []string{"dev"}, Warn}, {Options{Warn: []string{"dev"}}, dev, nil, Warn},
		{Options{}, docs, nil, Off}, {Options{Only: []string{"documentation"}}, docs, nil, Warn}, {Options{Only: []string{"dev"}}, l, nil, Off},
	} {
		if got := test.o.severity(test.l, test.disabled); got != test.want {
			t.Errorf("%d: %s, expected %s", i, got, test.want)
		}
	}
	for name, want := range map[string]string{
		"usrmerg": "check \"usrmerg\": unknown\nhint: did you mean usrmerge?",
		"zzz":     "check \"zzz\": unknown\nhint: cairn package lint --list lists the checks",
	} {
		_, err := Run(context.Background(), Input{Name: "x", Disabled: []string{name}}, Options{})
		if err == nil || err.Error() != want {
			t.Errorf("%v, expected %s", err, want)
		}
	}
}

func TestFindingText(t *testing.T) {
	f := Finding{Package: "x", Linter: "dev", Message: "has files in /dev", Paths: []string{"1", "2", "3", "4", "5", "6", "7"}}
	if got, want := f.String(), "x: dev: has files in /dev: 1, 2, 3, 4, 5 and 2 more"; got != want {
		t.Errorf("%q", got)
	}
}

func FuzzDebugSection(f *testing.F) {
	f.Add(elfHeader(62, ".debug_info"))
	f.Fuzz(func(t *testing.T, b string) {
		if name := DebugSection(strings.NewReader(b)); name != "" && !strings.Contains(name, "debug") {
			t.Errorf("%q", name)
		}
	})
}
