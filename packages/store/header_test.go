package store

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		field string
		want  int64
		bad   bool
	}{
		{"0000644\x00", 0o644, false},
		{"    644 ", 0o644, false},
		{" 644\x00\x00\x00\x00", 0o644, false},
		{"\x00\x00\x00\x00\x00\x00\x00\x00", 0, false},
		{"        ", 0, false},
		{"77777777", 0o77777777, false},
		{"777777777777", 0o777777777777, false},
		{"\x80\x00\x00\x00\x00\x00\x01\x00", 256, false},
		{"\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", 1<<63 - 1, false},
		{"\xff\xff\xff\xff\xff\xff\xff\xff", -1, false},
		{"\xff\xff\xff\xff\xff\xff\xff\x00", -256, false},
		{"0000648\x00", 0, true},
		{"-000644\x00", 0, true},
		{"0x00644\x00", 0, true},
		{"644\x00junk", 0, true},
		{"+644    ", 0, true},
		{"\x81\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 0, true},
		{"\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 0, true},
	} {
		var p numbers
		if got := p.number([]byte(c.field)); got != c.want || (p.bad != "") != c.bad {
			t.Errorf("%q: %d, bad %q; want %d, bad %v", c.field, got, p.bad, c.want, c.bad)
		}
	}
	var p numbers
	p.number([]byte("9"))
	p.number([]byte("8"))
	if p.bad != "9" {
		t.Errorf("the first bad field is reported as %q", p.bad)
	}
}

func TestPAXTime(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
		bad  bool
	}{
		{"0", 0, false}, {"1700000000", 1700000000, false}, {"1700000000.999999999", 1700000000, false},
		{"-1", -1, false}, {"-1.5", -2, false}, {"-1.0", -1, false}, {"-0.5", -1, false}, {"1.", 1, false},
		{"", 0, true}, {".5", 0, true}, {"1.5.5", 0, true}, {"1.x", 0, true}, {"x", 0, true}, {"1e9", 0, true},
		{"99999999999999999999", 0, true},
	} {
		got, err := paxTime(c.text)
		if (err != nil) != c.bad || err == nil && got != c.want {
			t.Errorf("%q: %d, %v", c.text, got, err)
		}
	}
}

func TestParsePAX(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // key=value, joined with |
		err  string
	}{
		{"", "", ""},
		{"10 path=a\n", "path=a", ""},
		{"11 path=a\n", "", `malformed pax record "11 path=a\n"`},
		{"9 path=a\n", "path=a", ""},
		{"9 path=a\n12 uname=me\n", "path=a|uname=me", ""},
		{"11 k=a=b=c\n", "k=a=b=c", ""},
		{"9 k=a\nb\n\n", "k=a\nb\n", ""},
		{"5 k=\n", "k=", ""},
		{"9 path=a", "", `malformed pax record "9 path=a"`},
		{"x path=a\n", "", `malformed pax record "x path=a\n"`},
		{"-9 path=a\n", "", `malformed pax record "-9 path=a\n"`},
		{"9path=a\n", "", `malformed pax record "9path=a\n"`},
		{"0 path=a\n", "", `malformed pax record "0 path=a\n"`},
		{"4294967305 path=a\n", "", `malformed pax record "4294967305 path=a\n"`},
		{"9 path=a\x00", "", `malformed pax record "9 path=a\x00"`},
		{"7 a\x00=b\n", "", `malformed pax record "7 a\x00=b\n"`},
		{"9 path=a\n\x00\x00", "path=a", `malformed pax record "\x00\x00"`},
		{"6 k=a\n6 k=b\n", "k=a", `pax record "k" appears twice`},
	} {
		var got []string
		err := parsePAX([]byte(c.text), map[string]bool{"path": true}, func(key, value string) error {
			got = append(got, key+"="+value)
			return nil
		})
		if s := strings.Join(got, "|"); s != c.want || fmt.Sprint(err) != c.err && (err != nil || c.err != "") {
			t.Errorf("%q: %q, %v; want %q, %s", c.text, s, err, c.want, c.err)
		}
	}
}

func TestExtendedRecords(t *testing.T) {
	x := noExtended()
	for _, r := range [][2]string{
		{"path", "a/long/name"}, {"linkpath", "target"}, {"uname", "u"}, {"gname", ""}, {"size", "77"}, {"uid", "1000"}, {"gid", "0"},
		{"mtime", "5.5"}, {"atime", "not looked at"}, {"LIBARCHIVE.creationtime", "1"}, {"SCHILY.xattr.user.a", "1"},
		{"SCHILY.xattr.user.b", "\x00"}, {"SCHILY.acl.access", "user::rw-"}, {paxChecksum, strings.Repeat("0a", 20)},
	} {
		if err := x.record(r[0], r[1]); err != nil {
			t.Errorf("%q: %v", r, err)
		}
	}
	h := header{name: "short", link: "l", uname: "nobody", gname: "kept", size: 1, uid: 2, gid: 3, mtime: 4}
	x.overlay(&h)
	want := header{name: "a/long/name", link: "target", uname: "u", gname: "kept", size: 77, uid: 1000, gid: 0, mtime: 5}
	if h != want {
		t.Errorf("%+v\nwant %+v", h, want)
	}
	if !maps.Equal(x.xattrs, map[string]string{"user.a": "1", "user.b": "\x00"}) || x.sha1 != (apk.SHA1(bytes.Repeat([]byte{10}, 20))) {
		t.Errorf("attributes %q, checksum %s", x.xattrs, x.sha1.Hex())
	}
	h = want
	none := noExtended()
	if none.overlay(&h); h != want {
		t.Errorf("no extended header changed the header to %+v", h)
	}
}

// Archives as archive/tar writes them, in each of its formats, read the same
// whatever pieces they come in.
func TestScanWhatArchiveTarWrites(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	for round := range 150 {
		format := []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU}[round%3]
		archive := randomArchive(t, rnd, format)
		var first []apk.Entry
		for _, piece := range []int{len(archive), 1, 511, 512, 513, 1 + rnd.IntN(3000)} {
			s := newScanner("random-1", Limits{}.withDefaults())
			for b := archive; len(b) > 0; {
				n := min(len(b), piece)
				if _, err := s.Write(b[:n]); err != nil {
					t.Fatalf("round %d, %v, pieces of %d: %v", round, format, piece, err)
				}
				b = b[n:]
			}
			if err := s.finish(); err != nil {
				t.Fatalf("round %d, %v, pieces of %d: %v", round, format, piece, err)
			}
			if s.verbatim != "" || s.end != int64(len(archive))-1024 {
				t.Errorf("round %d: verbatim %q, end %d of %d", round, s.verbatim, s.end, len(archive))
			}
			if first == nil {
				first = s.entries
				compareEntries(t, archive, s)
				checkExtents(t, archive, s)
			} else if d := cmp.Diff(first, s.entries); d != "" {
				t.Fatalf("round %d: pieces of %d give something else:\n%s", round, piece, d)
			}
		}
	}
}

// randomArchive is a well-formed archive with long names, times and attributes
// where the format allows them.
func randomArchive(t *testing.T, rnd *rand.Rand, format tar.Format) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	var regular []string
	for i := range 1 + rnd.IntN(25) {
		name := fmt.Sprintf("d%d/%s%d", rnd.IntN(3), strings.Repeat("n", rnd.IntN(80)), i)
		if format != tar.FormatUSTAR && rnd.IntN(4) == 0 {
			name = fmt.Sprintf("d/%s/%s/x%d", strings.Repeat("long", 50), strings.Repeat("long", 40), i)
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: rnd.Int64N(0o10000), Uid: rnd.IntN(70000), Gid: rnd.IntN(70000),
			Uname: "user", Gname: "group", ModTime: time.Unix(rnd.Int64N(2e9), 0), Format: format}
		if format == tar.FormatPAX {
			h.ModTime = time.Unix(rnd.Int64N(2e9), rnd.Int64N(1e9))
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.x": strings.Repeat("v", rnd.IntN(600))}
		}
		switch kind := rnd.IntN(6); {
		case kind == 0:
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case kind == 1:
			h.Typeflag, h.Linkname = tar.TypeSymlink, "../"+strings.Repeat("t", rnd.IntN(90))
			if format != tar.FormatUSTAR {
				h.Linkname += strings.Repeat("/long", 60)
			}
		case kind == 2 && len(regular) > 0:
			h.Typeflag, h.Linkname = tar.TypeLink, regular[rnd.IntN(len(regular))]
		default:
			h.Size = rnd.Int64N(2000)
			regular = append(regular, h.Name)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// checkExtents checks that the members' extents cover the archive without gaps,
// and that each is a whole archive of one member by itself.
func checkExtents(t *testing.T, archive []byte, s *scanner) {
	t.Helper()
	var end int64
	for i := range s.entries {
		e := &s.entries[i]
		if e.HeaderOffset != end {
			t.Fatalf("%s: begins at %d, the member before ends at %d", e.Path, e.HeaderOffset, end)
		}
		end = MemberEnd(e)
		if e.Type == apk.TypeHardlink {
			continue // its target is not in the part
		}
		one := newScanner("one-1", Limits{}.withDefaults())
		if _, err := one.Write(archive[e.HeaderOffset:end]); err != nil {
			t.Fatalf("%s alone: %v", e.Path, err)
		}
		if err := one.finish(); err != nil || len(one.entries) != 1 || one.entries[0].Path != e.Path || one.entries[0].SHA256 != e.SHA256 {
			t.Fatalf("%s alone: %+v, %v", e.Path, one.entries, err)
		}
	}
	if end != s.end {
		t.Fatalf("the last member ends at %d, TarEnd is %d", end, s.end)
	}
}

func TestCleanName(t *testing.T) {
	long := strings.Repeat("a", 255)
	for name, want := range map[string]string{
		"a": "a", "a/b": "a/b", "./a": "a", "././a/b/": "a/b", "a/": "a", "./": "", ".": "", "": "",
		"..a": "..a", "a..": "a..", "...": "...", "a b": "a b", "\xff": "\xff", "ü": "ü", ".hidden": ".hidden", long: long,
	} {
		if got, err := cleanName(name); err != nil || got != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"/": "absolute path", "/a": "absolute path", "//a": "absolute path",
		"..": `".." in the path`, "../a": `".." in the path`, "a/..": `".." in the path`, "a/../b": `".." in the path`, "./../a": `".." in the path`,
		"a//b": `empty or "." component in the path`, "a/./b": `empty or "." component in the path`, "a//": `empty or "." component in the path`,
		".//a": `empty or "." component in the path`, "a\x00": "control character 0x00 in the path", "a\tb": "control character 0x09 in the path",
		long + "a": "path component of 256 bytes, at most 255 are possible",
	} {
		got, err := cleanName(name)
		if err == nil || err.Error() != want {
			t.Errorf("%q: %q, %v; want %s", name, got, err, want)
		}
	}
}

func TestWhiteout(t *testing.T) {
	for p, want := range map[string]bool{".wh.a": true, "a/.wh.b": true, "a/.wh..wh..opq": true, "a/.wh": false, "a.wh.b": false, ".wh.a/b": false} {
		if got := whiteout(p); got != want {
			t.Errorf("%q: %v", p, got)
		}
	}
}

func TestNamespace(t *testing.T) {
	dirs := []string{"a", "a/b"}
	n := namespace{at: map[string]int32{"a": 0, "a/b": 1, "f": 2}}
	isDir := func(at int32) bool { return int(at) < len(dirs) }
	for _, p := range []string{"a/b/c", "a/b/d", "x/y/z", "x/y/w", "top", "a/q"} {
		if err := n.parents(p, isDir); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	var known []string
	for p, at := range n.at {
		if at == implicit {
			known = append(known, p)
		}
	}
	slices.Sort(known)
	if !slices.Equal(known, []string{"x", "x/y"}) {
		t.Errorf("implied directories %q", known)
	}
	for range 2 { // the answer is not forgotten
		if err := n.parents("f/below", isDir); err == nil || err.Error() != `lies below "f", which is not a directory in this package` {
			t.Errorf("error %v", err)
		}
	}
}
