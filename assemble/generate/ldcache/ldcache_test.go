package ldcache

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// lib is an x86-64 library.
func lib(p, soname string) Library {
	return Library{Path: p, ELF: &apk.ELF{Class: class64, Data: dataLittle, Type: typeDyn, Machine: machineX8664, SONAME: soname}}
}

func link(p, soname string) Library {
	l := lib(p, soname)
	l.Link = true
	return l
}

func build(t *testing.T, in Input) []Entry {
	t.Helper()
	b, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBuildNames(t *testing.T) {
	const f = flagX8664 | flagLibc6
	for name, c := range map[string]struct {
		libs []Library
		want []Entry
	}{
		"file named as its SONAME":          {[]Library{lib("usr/lib/liba.so.1", "liba.so.1")}, []Entry{{"liba.so.1", "/usr/lib/liba.so.1", f, ""}}},
		"link named as the SONAME":          {[]Library{lib("usr/lib/liba.so.1.2", "liba.so.1"), link("usr/lib/liba.so.1", "liba.so.1")}, []Entry{{"liba.so.1", "/usr/lib/liba.so.1", f, ""}}},
		"no link: the file itself":          {[]Library{lib("usr/lib/liba.so.1.2", "liba.so.1")}, []Entry{{"liba.so.1", "/usr/lib/liba.so.1.2", f, ""}}},
		"the newer of two files":            {[]Library{lib("usr/lib/liba.so.1.9", "liba.so.1"), lib("usr/lib/liba.so.1.10", "liba.so.1")}, []Entry{{"liba.so.1", "/usr/lib/liba.so.1.10", f, ""}}},
		"a file rather than a foreign link": {[]Library{lib("usr/lib/liba.so.1.2", "liba.so.1"), link("usr/lib/liba.so.1", "liba.so.1"), link("usr/lib/libz.so.3", "liba.so.1")}, []Entry{{"liba.so.1", "/usr/lib/liba.so.1", f, ""}}},
		"no SONAME":                         {[]Library{lib("usr/lib/libR.so", "")}, []Entry{{"libR.so", "/usr/lib/libR.so", f, ""}}},
		"the compiler's link":               {[]Library{lib("usr/lib/liba.so.1", "liba.so.1"), link("usr/lib/liba.so", "liba.so.1")}, []Entry{{"liba.so.1", "/usr/lib/liba.so.1", f, ""}, {"liba.so", "/usr/lib/liba.so", f, ""}}},
		"the dynamic linker":                {[]Library{lib("usr/lib/ld-linux-x86-64.so.2", "ld-linux-x86-64.so.2")}, []Entry{{"ld-linux-x86-64.so.2", "/usr/lib/ld-linux-x86-64.so.2", f, ""}}},
		"not searched":                      {[]Library{lib("opt/lib/liba.so.1", "liba.so.1"), lib("usr/lib/sub/libb.so.1", "libb.so.1")}, nil},
		"not libraries":                     {[]Library{lib("usr/lib/plugin.so", "plugin.so"), {Path: "usr/lib/libscript.so"}, lib("usr/lib/liba.a", "")}, nil},
		"SONAME with a directory":           {[]Library{lib("usr/lib/liba.so.1", "../liba.so.1"), lib("usr/lib/libb.so", "lib\nb.so")}, nil},
		"nothing":                           {nil, nil},
	} {
		got := build(t, Input{Dirs: []string{"/usr/lib"}, Libraries: c.libs})
		if d := cmp.Diff(c.want, got); d != "" && len(c.want)+len(got) > 0 {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestBuildDirectories(t *testing.T) {
	const f = flagX8664 | flagLibc6
	libs := []Library{
		lib("usr/lib/liba.so.1", "liba.so.1"), lib("usr/local/lib/liba.so.1", "liba.so.1"),
		lib("usr/lib/glibc-hwcaps/x86-64-v3/liba.so.1.2", "liba.so.1"), lib("usr/lib/glibc-hwcaps/x86-64-v2/liba.so.1", "liba.so.1"),
		lib("usr/lib/glibc-hwcaps/.hidden/liba.so.1", "liba.so.1"), lib("usr/lib/glibc-hwcaps/a:b/liba.so.1", "liba.so.1"),
	}
	resolve := func(dir string) string {
		return map[string]string{"/lib": "usr/lib", "/usr/lib": "usr/lib", "/usr/local/lib": "usr/local/lib"}[dir]
	}
	got := build(t, Input{Dirs: []string{"/usr/local/lib", "/lib", "/usr/lib", "/missing", "relative"}, Libraries: libs, Resolve: resolve})
	want := []Entry{
		{"liba.so.1", "/lib/glibc-hwcaps/x86-64-v2/liba.so.1", f, "x86-64-v2"},
		{"liba.so.1", "/lib/glibc-hwcaps/x86-64-v3/liba.so.1.2", f, "x86-64-v3"},
		{"liba.so.1", "/usr/local/lib/liba.so.1", f, ""},
		{"liba.so.1", "/lib/liba.so.1", f, ""},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The order is that of the dynamic linker's binary search.
func TestCompareNames(t *testing.T) {
	order := []string{"", "A", "libA", "liba.so", "liba.so.1", "liba.so.1.a", "liba.so.1.2", "liba.so.2", "liba.so.10", "liba-1.so", "liba1", "libb", "lib0", "lib1", "lib10a"}
	slices.SortStableFunc(order, compareNames)
	want := []string{"", "A", "libA", "liba-1.so", "liba.so", "liba.so.1", "liba.so.1.a", "liba.so.1.2", "liba.so.2", "liba.so.10", "liba1", "libb", "lib0", "lib1", "lib10a"}
	if d := cmp.Diff(want, order); d != "" {
		t.Error(d)
	}
	for _, c := range [][2]string{{"a01", "a1"}, {"a", "a"}, {"a1.0", "a01.00"}} {
		if compareNames(c[0], c[1]) != 0 {
			t.Errorf("%q and %q differ", c[0], c[1])
		}
	}
	// Numbers of any length (glibc's own comparison would overflow).
	if compareNames("a99999999999999999999", "a100000000000000000000") != -1 {
		t.Error("long numbers")
	}
}

var machines = map[string]struct {
	elf  apk.ELF
	want uint32
	text string // in ldconfig -p
}{
	"x86_64":          {apk.ELF{Class: 2, Machine: 62}, 0x303, "libc6,x86-64"},
	"x32":             {apk.ELF{Class: 1, Machine: 62}, 0x803, "libc6,x32"},
	"x86":             {apk.ELF{Class: 1, Machine: 3}, 0x003, "libc6"},
	"aarch64":         {apk.ELF{Class: 2, Machine: 183}, 0xa03, "libc6,AArch64"},
	"armv7":           {apk.ELF{Class: 1, Machine: 40, Flags: 0x05000400}, 0x903, "libc6,hard-float"},
	"arm soft float":  {apk.ELF{Class: 1, Machine: 40, Flags: 0x05000200}, 0xb03, "libc6,soft-float"},
	"arm unmarked":    {apk.ELF{Class: 1, Machine: 40, Flags: 0x05000000}, 0x003, "libc6"},
	"arm old ABI":     {apk.ELF{Class: 1, Machine: 40, Flags: 0x00000400}, 0x003, "libc6"},
	"ppc64le":         {apk.ELF{Class: 2, Machine: 21, Flags: 2}, 0x503, "libc6,64bit"},
	"riscv64":         {apk.ELF{Class: 2, Machine: 243, Flags: 0x5}, 0x1003, "libc6,double-float"},
	"riscv64 soft":    {apk.ELF{Class: 2, Machine: 243, Flags: 0x0}, 0xf03, "libc6,soft-float"},
	"loongarch64":     {apk.ELF{Class: 2, Machine: 258, Flags: 0x43}, 0x1203, ""},
	"loongarch soft":  {apk.ELF{Class: 2, Machine: 258, Flags: 0x41}, 0x1103, ""},
	"mips64 n64":      {apk.ELF{Class: 2, Machine: 8}, 0x703, "libc6,64bit"},
	"mips n32":        {apk.ELF{Class: 1, Machine: 8, Flags: 0x20}, 0x603, "libc6,N32"},
	"mips o32 nan":    {apk.ELF{Class: 1, Machine: 8, Flags: 0x400}, 0xc03, "libc6,nan2008"},
	"mips n32 nan":    {apk.ELF{Class: 1, Machine: 8, Flags: 0x420}, 0xd03, "libc6,N32,nan2008"},
	"mips n64 nan":    {apk.ELF{Class: 2, Machine: 8, Flags: 0x400}, 0xe03, "libc6,64bit,nan2008"},
	"s390x":           {apk.ELF{Class: 2, Data: dataBig, Machine: 22}, 0x403, ""},
	"s390":            {apk.ELF{Class: 1, Data: dataBig, Machine: 22}, 0x003, ""},
	"sparc64":         {apk.ELF{Class: 2, Data: dataBig, Machine: 43}, 0x103, ""},
	"unknown machine": {apk.ELF{Class: 2, Machine: 9999}, 0x003, "libc6"},
}

// Research §1.4: apko stops at machines other than x86_64 and aarch64.
func TestApkoDefect_LdCacheMachines(t *testing.T) {
	for name, m := range machines {
		e := m.elf
		e.Type, e.SONAME = typeDyn, "liba.so.1"
		if e.Data == 0 {
			e.Data = dataLittle
		}
		b, err := Build(Input{Dirs: []string{"/usr/lib"}, Libraries: []Library{{Path: "usr/lib/liba.so.1", ELF: &e}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(b)
		if err != nil || len(got) != 1 || got[0].Flags != m.want {
			t.Errorf("%s: %+v, %v; want flags %#x", name, got, err, m.want)
		}
		if want := byte(2 + e.Data - dataLittle); b[28] != want {
			t.Errorf("%s: byte order mark %d, want %d", name, b[28], want)
		}
		if m.text != "" {
			checkListed(t, name, b, m.text)
		}
	}
}

// checkListed asks this machine's ldconfig, when it is there, what it makes of
// the flags.
func checkListed(t *testing.T, name string, cache []byte, want string) {
	prog, err := exec.LookPath("/sbin/ldconfig")
	if err != nil {
		return
	}
	file := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(file, cache, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := list(t, prog, file); got != "\tliba.so.1 ("+want+") => /usr/lib/liba.so.1\n" {
		t.Errorf("%s: ldconfig lists %q, want %q", name, got, want)
	}
}

func TestBuildLeavesOut(t *testing.T) {
	for name, change := range map[string]func(*apk.ELF){
		"program":             func(e *apk.ELF) { e.Type = 2 },
		"relocatable":         func(e *apk.ELF) { e.Type = 1 },
		"no byte order":       func(e *apk.ELF) { e.Data = 0 },
		"other byte order":    func(e *apk.ELF) { e.Data = dataBig },
		"RISC-V single float": func(e *apk.ELF) { e.Machine, e.Flags = machineRISCV, 2 },
		"RISC-V quad float":   func(e *apk.ELF) { e.Machine, e.Flags = machineRISCV, 6 },
		"RISC-V embedded":     func(e *apk.ELF) { e.Machine, e.Flags = machineRISCV, 8 },
		"LoongArch single":    func(e *apk.ELF) { e.Machine, e.Flags = machineLOONGARCH, 2 },
	} {
		l := lib("usr/lib/libz.so.1", "libz.so.1")
		change(l.ELF)
		got := build(t, Input{Dirs: []string{"/usr/lib"}, Libraries: []Library{l, lib("usr/lib/liba.so.1", "liba.so.1")}})
		if len(got) != 1 || got[0].Name != "liba.so.1" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	libs := []Library{lib("usr/lib/libA.so.1", "libA.so.1"), lib("usr/lib/liba.so.1", "liba.so.1"), link("usr/lib/liba.so", "liba.so.1"),
		lib("usr/lib/liba.so.01", "liba.so.01"), lib("lib/liba.so.1", "liba.so.1"), lib("usr/lib/libb.so.1.2", "libb.so.1"), lib("usr/lib/libb.so.1.02", "libb.so.1"),
		lib("usr/lib/glibc-hwcaps/v/liba.so.1", "liba.so.1"), lib("usr/lib/glibc-hwcaps/w/libb.so.1", "libb.so.1")}
	var first []byte
	for i := range 50 {
		rand.Shuffle(len(libs), func(i, j int) { libs[i], libs[j] = libs[j], libs[i] })
		b, err := Build(Input{Dirs: []string{"/lib", "/usr/lib"}, Libraries: libs})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Fatal("the order of the libraries shows")
		}
	}
}

// The layout byte by byte, so that a change of it is noticed.
func TestBuildGolden(t *testing.T) {
	b, err := Build(Input{Dirs: []string{"/l"}, Libraries: []Library{lib("l/liba.so.1", "liba.so.1"), lib("l/glibc-hwcaps/v3/liba.so", "liba.so.1")}})
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) string { return hex.EncodeToString([]byte(s)) }
	want := text("glibc-ld.so.cache1.1") +
		"02000000" + "35000000" + // 2 entries, 53 bytes of strings
		"02000000" + "98000000" + strings.Repeat("00", 12) + // little endian, extensions at 152
		"03030000" + "7b000000" + "60000000" + "00000000" + "0000000000000040" +
		"03030000" + "7b000000" + "85000000" + "00000000" + "0000000000000000" +
		text("/l/glibc-hwcaps/v3/liba.so\x00") + // 96
		text("liba.so.1\x00") + // 123
		text("/l/liba.so.1\x00") + // 133
		text("v3\x00") + "000000" + // 146, padding
		"7421a4ea" + "02000000" + // 152: magic, 2 extensions
		"00000000" + "00000000" + "c4000000" + "05000000" + // the maker at 196
		"01000000" + "00000000" + "c0000000" + "04000000" + // the glibc-hwcaps names at 192
		"92000000" + text("cairn")
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestDirs(t *testing.T) {
	standard := []string{"/lib", "/usr/lib", "/lib64", "/usr/lib64"}
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // before the standard ones
	}{
		"nothing": {nil, nil},
		"plain":   {map[string]string{"etc/ld.so.conf": "# c\n\n /opt/lib/ # x\n\t/srv\n/opt/lib\nrelative\nhwcap 1 nosegneg\n/old=libc6\n"}, []string{"/opt/lib", "/srv", "/old"}},
		"include": {map[string]string{"etc/ld.so.conf": "include ld.so.conf.d/*.conf\n/last\n", "etc/ld.so.conf.d/b.conf": "/b", "etc/ld.so.conf.d/a.conf": "/a\n",
			"etc/ld.so.conf.d/.hidden.conf": "/hidden\n", "etc/ld.so.conf.d/x": "/x\n"}, []string{"/a", "/b", "/last"}},
		"absolute, several, tabs": {map[string]string{"etc/ld.so.conf": "include\t/etc/a /srv/*.d\n", "etc/a": "/a\n", "srv/z.d": "/z\n"}, []string{"/a", "/z"}},
		"nested":                  {map[string]string{"etc/ld.so.conf": "include d/1\n", "etc/d/1": "/1\ninclude 2\n", "etc/d/2": "/2\n"}, []string{"/1", "/2"}},
		"missing":                 {map[string]string{"etc/ld.so.conf": "include none/*\n/a\n"}, []string{"/a"}},
	} {
		files := map[string][]byte{}
		for p, text := range c.files {
			files[p] = []byte(text)
		}
		got, err := Dirs(files)
		if d := cmp.Diff(append(slices.Clone(c.want), standard...), got); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
}

func TestDirsOfTheSystem(t *testing.T) {
	got, err := Dirs(map[string][]byte{"etc/ld.so.conf": []byte("/opt\n/usr/lib/multi\n")}, "/lib/multi", "/usr/lib/multi")
	if want := []string{"/opt", "/usr/lib/multi", "/lib/multi", "/lib", "/usr/lib", "/lib64", "/usr/lib64"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// apko forgets the lines after the first include, and looks for relative
// patterns below the root.
func TestApkoDefect_LdConfIncludes(t *testing.T) {
	got, err := Dirs(map[string][]byte{"etc/ld.so.conf": []byte("include conf.d/*.conf\n/after\n"), "etc/conf.d/x.conf": []byte("/included\n"), "conf.d/x.conf": []byte("/wrong\n")})
	if err != nil || !slices.Equal(got[:2], []string{"/included", "/after"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDirsErrors(t *testing.T) {
	for want, files := range map[string]map[string][]byte{
		`etc/ld.so.conf line 2: include "[": syntax error in pattern`: {"etc/ld.so.conf": []byte("/a\ninclude [\n")},
		"etc/ld.so.conf: includes are nested more than 16 deep":       {"etc/ld.so.conf": []byte("include ld.so.conf\n")},
	} {
		_, err := Dirs(files)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestIsLibrary(t *testing.T) {
	for name, want := range map[string]bool{"liba.so": true, "liba.so.1": true, "libfoo-1.2.so": true, "ld-linux.so.2": true, "ld.so.1": true, "ld64.so.2": true,
		"plugin.so": false, "liba.a": false, "liba.so.1.dpkg-new": false, "liba.so.1.dpkg-tmp": false, "liba.so.1.#prelink#.x": false, "libstdc++.so.6-gdb.py": false, "ld": false, "": false} {
		if IsLibrary(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	good, err := Build(Input{Dirs: []string{"/l"}, Libraries: []Library{lib("l/liba.so.1", "liba.so.1"), lib("l/glibc-hwcaps/v3/liba.so", "liba.so.1")}})
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	for want, b := range map[string][]byte{
		`0 bytes, expected 48 or more that begin with "glibc-ld.so.cache1.1"`:  nil,
		`48 bytes, expected 48 or more that begin with "glibc-ld.so.cache1.1"`: []byte(strings.Repeat("ld.so-1.7.0\x00", 4)),
		"byte order mark 0, expected 2 or 3":                                   change(28, 0),
		"99999 entries do not fit into 201 bytes":                              change(20, 99999),
		"entry 0: hwcaps index 7 of 1":                                         change(48+16, 7),
		"an offset leads past the end":                                         change(48+4, 1<<30),
		"entry 0: hwcaps index 0 of 0":                                         change(32, 1<<31),
	} {
		_, err := Parse(b)
		if want = strings.TrimSpace(want) + ": not an ld.so.cache"; err == nil || err.Error() != want || !errors.Is(err, ErrCache) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range []string{"x86_64", "s390x"} {
		e := machines[m].elf
		e.Type, e.SONAME = typeDyn, "liba.so.1"
		e.Data = max(e.Data, dataLittle)
		b, err := Build(Input{Dirs: []string{"/usr/lib"}, Libraries: []Library{{Path: "usr/lib/liba.so.1", ELF: &e}, {Path: "usr/lib/glibc-hwcaps/v3/liba.so", ELF: &e}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Parse(b); err != nil && !errors.Is(err, ErrCache) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}

func FuzzDirs(f *testing.F) {
	f.Add("include ld.so.conf.d/*\n/a", "/b # c\nhwcap 0 x\n")
	f.Add("include /etc/ld.so.conf.d/x.conf\n", "include ../ld.so.conf\n")
	f.Fuzz(func(t *testing.T, main, included string) {
		dirs, err := Dirs(map[string][]byte{"etc/ld.so.conf": []byte(main), "etc/ld.so.conf.d/x.conf": []byte(included)})
		if err != nil {
			return
		}
		for i, d := range dirs {
			if !strings.HasPrefix(d, "/") || slices.Contains(dirs[:i], d) {
				t.Errorf("directory %q", d)
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	var libs []Library
	for i := range 2000 {
		name := "libx" + strings.Repeat("y", i%30) + string(rune('a'+i%26)) + ".so." + string(rune('0'+i%10))
		libs = append(libs, lib("usr/lib/"+name, name))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(Input{Dirs: []string{"/usr/lib"}, Libraries: libs}); err != nil {
			b.Fatal(err)
		}
	}
}
