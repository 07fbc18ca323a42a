package store

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// capture streams b through an elfCapture in pieces.
func capture(b []byte, piece int) (*apk.ELF, bool) {
	var c elfCapture
	c.begin(int64(len(b)))
	for len(b) > 0 {
		n := min(len(b), piece)
		c.write(b[:n])
		b = b[n:]
	}
	return c.done(), c.missed
}

// byStandardLibrary is what debug/elf says of the file.
func byStandardLibrary(t *testing.T, b []byte) *apk.ELF {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	x := &apk.ELF{Class: byte(f.Class), Data: byte(f.Data), Type: uint16(f.Type), Machine: uint16(f.Machine), OSABI: byte(f.OSABI)}
	x.Flags = f.ByteOrder.Uint32(b[36:])
	if f.Class == elf.ELFCLASS64 {
		x.Flags = f.ByteOrder.Uint32(b[48:])
	}
	get := func(tag elf.DynTag) []string {
		list, _ := f.DynString(tag)
		return list
	}
	x.Needed = get(elf.DT_NEEDED)
	x.SONAME = strings.Join(get(elf.DT_SONAME), "")
	path := get(elf.DT_RUNPATH)
	if path == nil {
		path = get(elf.DT_RPATH)
	}
	if len(path) > 0 {
		x.RunPath = strings.Split(path[0], ":")
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			x.Interp = cstring(text)
		}
	}
	return x
}

// eachFile calls fn for each regular file of the real packages.
func eachFile(t *testing.T, fn func(pkg string, e *apk.Entry, content []byte)) {
	st := openTemp(t)
	for _, p := range realPackages(t) {
		raw, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		r, err := st.Ingest(t.Context(), bytes.NewReader(raw), Expect{FileSHA256: sha256.Sum256(raw), Unsafe: Unsafe{NoDataHash: true}})
		if err != nil {
			continue // the damaged ones
		}
		data := gunzip(t, raw[r.DataOffset:])
		for i := range r.Entries {
			if e := &r.Entries[i]; e.Type == apk.TypeFile {
				fn(r.ID(), e, data[e.DataOffset:e.DataOffset+e.Size])
			}
		}
	}
}

func TestELFOfRealPackages(t *testing.T) {
	n := 0
	eachFile(t, func(pkg string, e *apk.Entry, content []byte) {
		if !bytes.HasPrefix(content, []byte(elfMagic)) {
			if e.ELF != nil {
				t.Errorf("%s: %s: ELF facts of a file that is none", pkg, e.Path)
			}
			return
		}
		n++
		want := byStandardLibrary(t, content)
		if d := cmp.Diff(want, e.ELF); d != "" {
			t.Errorf("%s: %s (-debug/elf +store):\n%s", pkg, e.Path, d)
		}
	})
	if n < 300 {
		t.Errorf("only %d ELF files", n)
	}
}

// madeELF is a shared object whose parts lie where the test wants them: the
// dynamic section and the string table at the given offsets of a file of the
// given size.
func madeELF(order binary.ByteOrder, wide bool, size, dynamic, strings int) []byte {
	b := make([]byte, size)
	copy(b, elfMagic+"\x02\x01\x01\x03")
	table := "\x00libmade.so.1\x00libc.so.6\x00$ORIGIN/../lib:/opt\x00"
	copy(b[strings:], table)
	const vaddr = 0x400000
	if order == binary.BigEndian {
		b[5] = 2
	}
	order.PutUint16(b[16:], 3)
	order.PutUint16(b[18:], 22)
	word := func(at int, v uint64) int {
		if wide {
			order.PutUint64(b[at:], v)
			return at + 8
		}
		order.PutUint32(b[at:], uint32(v))
		return at + 4
	}
	dyn := dynamic
	for _, d := range [][2]uint64{{dtNeeded, 14}, {dtSoname, 1}, {dtRun, 24}, {dtStrtab, vaddr + uint64(strings)}, {dtStrsz, uint64(len(table))}, {0, 0}} {
		dyn = word(word(dyn, d[0]), d[1])
	}
	segments := []struct{ kind, offset, size int }{{ptLoad, 0, size}, {ptDynamic, dynamic, dyn - dynamic}}
	if wide {
		order.PutUint64(b[32:], 64)
		order.PutUint32(b[48:], 7)
		order.PutUint16(b[54:], 56)
		order.PutUint16(b[56:], uint16(len(segments)))
		for i, s := range segments {
			at := 64 + 56*i
			order.PutUint32(b[at:], uint32(s.kind))
			order.PutUint64(b[at+8:], uint64(s.offset))
			order.PutUint64(b[at+16:], vaddr+uint64(s.offset))
			order.PutUint64(b[at+32:], uint64(s.size))
		}
		return b
	}
	b[4] = 1
	order.PutUint32(b[28:], 64)
	order.PutUint32(b[36:], 7)
	order.PutUint16(b[42:], 32)
	order.PutUint16(b[44:], uint16(len(segments)))
	for i, s := range segments {
		at := 64 + 32*i
		order.PutUint32(b[at:], uint32(s.kind))
		order.PutUint32(b[at+4:], uint32(s.offset))
		order.PutUint32(b[at+8:], vaddr+uint32(s.offset))
		order.PutUint32(b[at+16:], uint32(s.size))
	}
	return b
}

func TestELFWhereverItsPartsLie(t *testing.T) {
	const large = elfWindow + 600_000
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, wide := range []bool{true, false} {
			for _, c := range []struct {
				name                   string
				size, dynamic, strings int
				missed                 bool
			}{
				{"small", 4096, 1000, 2000, false},
				{"dynamic section behind the window", large, large - 5000, 2000, false},
				{"dynamic section across the window's end", large, elfWindow - 30, 2000, false},
				{"strings behind the window", large, 3000, large - 5000, true},
				{"both behind the window", large, large - 9000, large - 5000, false},
				{"both at the very end", large, large - 300, large - 60, false},
				{"strings before the dynamic section, behind the window", large, large - 5000, large - 9000, true},
			} {
				b := madeELF(order, wide, c.size, c.dynamic, c.strings)
				for _, piece := range []int{1 << 18, 3, 100_001} {
					if piece == 3 && c.size > 5000 {
						continue
					}
					got, missed := capture(b, piece)
					if missed != c.missed {
						t.Errorf("%s, wide %v, pieces of %d: missed %v", c.name, wide, piece, missed)
					}
					if !missed {
						checkMade(t, c.name, got)
					}
				}
				f := newELFFile(b[:200], int64(len(b)), bytes.NewReader(b))
				got, complete := f.facts()
				if !complete {
					t.Errorf("%s: second look: incomplete", c.name)
				}
				checkMade(t, c.name+", second look", got)
			}
		}
	}
}

func checkMade(t *testing.T, name string, got *apk.ELF) {
	t.Helper()
	if got == nil || got.SONAME != "libmade.so.1" || !slices.Equal(got.Needed, []string{"libc.so.6"}) ||
		!slices.Equal(got.RunPath, []string{"$ORIGIN/../lib", "/opt"}) || got.Machine != 22 || got.Type != 3 || got.Flags != 7 || got.OSABI != 3 {
		t.Errorf("%s: %+v", name, got)
	}
}

// A file whose string table lies far back is read a second time from the blob.
func TestELFSecondLook(t *testing.T) {
	const large = elfWindow + 600_000
	spec := apktest.Spec{Package: apk.Package{Name: "big", Version: "1-r0"}, Parents: true, Files: []apktest.File{
		{Path: "usr/lib/a.so", Content: string(madeELF(binary.LittleEndian, true, large, 3000, large-5000))},
		{Path: "usr/lib/between", Content: "x"},
		{Path: "usr/lib/b.so", Content: string(madeELF(binary.BigEndian, false, large, large-5000, large-9000))},
	}}
	st := openTemp(t)
	r, _ := ingest(t, st, spec)
	n := 0
	for _, e := range r.Entries {
		if strings.HasSuffix(e.Path, ".so") {
			checkMade(t, e.Path, e.ELF)
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d libraries", n)
	}
	if problems, err := st.Check(t.Context(), true); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	left, err := filepath.Glob(st.path(tmpDir, "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %q, %v", left, err)
	}
}

func TestELFOddities(t *testing.T) {
	good := madeELF(binary.LittleEndian, true, 4096, 1000, 2000)
	change := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	for name, c := range map[string]struct {
		b       []byte
		is      bool
		libname string
	}{
		"good":                         {good, true, "libmade.so.1"},
		"text":                         {[]byte("hello"), false, ""},
		"empty":                        {nil, false, ""},
		"magic only":                   {[]byte(elfMagic), false, ""},
		"header cut short":             {good[:60], false, ""},
		"class 9":                      {change(4, 9), false, ""},
		"byte order 3":                 {change(5, 3), false, ""},
		"program headers far away":     {change(32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), true, ""},
		"program headers at -1":        {change(32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), true, ""},
		"program headers too small":    {change(54, 4), true, ""},
		"dynamic section out of range": {change(64+56+8, 0xff, 0xff, 0xff, 0xff), true, ""},
		"string table out of range":    {change(1000+3*16+8, 0xff, 0xff, 0xff, 0xff, 0xff), true, ""},
		"string table of no size":      {change(1000+4*16+8, 0), true, ""},
		"name out of range":            {change(1000+1*16+8, 0xff, 0xff), true, ""},
		"file ends after the headers":  {good[:900], true, ""},
	} {
		got, missed := capture(c.b, 7)
		if (got != nil) != c.is || missed {
			t.Errorf("%s: %+v, missed %v", name, got, missed)
		} else if got != nil && got.SONAME != c.libname {
			t.Errorf("%s: name %q", name, got.SONAME)
		}
	}
}

func FuzzELF(f *testing.F) {
	f.Add(madeELF(binary.LittleEndian, true, 2500, 1000, 2000))
	f.Add(madeELF(binary.BigEndian, false, 2500, 1000, 2000))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, _ := capture(b, len(b)+1)
		pieces, _ := capture(b, 5)
		if d := cmp.Diff(whole, pieces); d != "" {
			t.Fatal(d)
		}
	})
}
