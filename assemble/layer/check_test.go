package layer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// checkOutline compares written layers with what the plan says of them without
// package data. Every test that writes layers does this.
func checkOutline(t testing.TB, p *Plan, layers []Layer) {
	t.Helper()
	outline := p.Outline()
	if len(outline) != len(layers) {
		t.Fatalf("outline of %d layers, %d were written", len(outline), len(layers))
	}
	for i, o := range outline {
		l := &layers[i]
		if p.opts.Compat {
			continue
		}
		if o.Kind != l.Kind || !slices.Equal(o.Packages, l.Packages) {
			t.Errorf("layer %d: outline %s %v, written %s %v", i, o.Kind, o.Packages, l.Kind, l.Packages)
		}
		if o.Kind == Verbatim {
			if o.Digest != l.Digest || o.DiffID != l.DiffID || o.Size != l.Size || o.Inflated != l.Inflated {
				t.Errorf("layer %d: outline %+v, written %+v", i, o, *l)
			}
			continue
		}
		tar := inflatedOf(t, l)
		if err := p.Check(i, bytes.NewReader(tar)); err != nil {
			t.Errorf("layer %d (%s): %v", i, o.Kind, err)
		}
		if got := compressAgain(t, p, i, tar); !bytes.Equal(got, blobOf(t, l)) {
			t.Errorf("layer %d (%s): compressed again it is another blob", i, o.Kind)
		}
		again, err := p.Remake(i, bytes.NewReader(tar), nil)
		if err != nil || again.Digest != l.Digest || again.DiffID != l.DiffID || again.Size != l.Size || again.Inflated != l.Inflated || again.Kind != l.Kind {
			t.Errorf("layer %d (%s): made again it is %+v: %v", i, o.Kind, again, err)
		}
	}
}

// compressAgain makes a layer's blob of its tar, handed over in pieces of all
// sizes.
func compressAgain(t testing.TB, p *Plan, i int, tar []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := p.compressing(i, &out)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; len(tar) > 0; n = n*3 + 1 {
		n = min(n, len(tar))
		if m, err := w.Write(tar[:n]); m != n || err != nil {
			t.Fatalf("layer %d: %d of %d bytes: %v", i, m, n, err)
		}
		tar = tar[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func blobOf(t testing.TB, l *Layer) []byte {
	t.Helper()
	r, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func inflatedOf(t testing.TB, l *Layer) []byte {
	t.Helper()
	r, err := l.inflated()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// evil is the tar of one file, without an end of archive.
func evil(t testing.TB, e apk.Entry, content string) []byte {
	t.Helper()
	b, err := tarHeader(&e)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(b, []byte(content), padding(int64(len(content))))
}

// TestCheckRefuses is about everything that a layer could be instead of what
// the plan makes of it.
func TestCheckRefuses(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st, pkg("a", file("bin/a", "aaaa"), link("bin/l", "a")), pkg("b", file("bin/b", "bb"), hard("bin/h", "bin/b")), pkg("c", file("bin/c", "c")))
	put(tree, apk.Entry{Path: "etc", Type: apk.TypeDir, Mode: 0o755}, "")
	put(tree, apk.Entry{Path: "etc/hostname", Type: apk.TypeFile, Mode: 0o644}, "host\n")
	p := mustPlan(t, tree, Options{Budget: 2})
	layers := mustWrite(t, p, st)
	if kinds := kindsOf(p); kinds != "packed a b c" || len(layers) != 2 {
		t.Fatalf("layers: %s", kinds)
	}
	packed, top := inflatedOf(t, &layers[0]), inflatedOf(t, &layers[1])
	setuid := evil(t, apk.Entry{Path: "bin/evil", Type: apk.TypeFile, Mode: 0o4755, Size: 4}, "boo!")
	cut := func(b []byte, from, to int) []byte { return slices.Concat(b[:from], b[to:]) }
	replace := func(b []byte, old, now string) []byte {
		if bytes.Count(b, []byte(old)) != 1 {
			t.Fatalf("%q stands %d times", old, bytes.Count(b, []byte(old)))
		}
		return bytes.Replace(b, []byte(old), []byte(now), 1)
	}
	end := len(top) - len(zeroBlocks)
	for _, c := range []struct {
		name  string
		layer int
		tar   []byte
		want  string
	}{
		{"file added in front", 1, slices.Concat(setuid, top),
			"found file bin/evil (mode 4755, owner 0:0, time 0, 4 bytes), expected directory etc (mode 0755, owner 0:0, time 0): differs from the plan"},
		{"file added at the end", 1, slices.Concat(top[:end], setuid, top[end:]),
			"found file bin/evil (mode 4755, owner 0:0, time 0, 4 bytes), expected the end of the archive: differs from the plan"},
		{"file added behind the end", 1, slices.Concat(top, setuid), "found bytes after the end of the archive: differs from the plan"},
		{"zeros added behind the end", 1, slices.Concat(top, zeroBlocks[:blockSize]), "found bytes after the end of the archive: differs from the plan"},
		{"end cut off", 1, top[:end], "found the end of the layer, expected the end of the archive: differs from the plan"},
		{"end cut in half", 1, top[:end+blockSize], "found the end of the layer, expected the end of the archive: differs from the plan"},
		{"empty", 1, nil, "found the end of the layer, expected directory etc (mode 0755, owner 0:0, time 0): differs from the plan"},
		{"content changed", 1, replace(top, "host\n", "evil\n"), "member etc/hostname: content has sha256 " + hexOf("evil\n") + ", expected " + hexOf("host\n") + ": differs from the plan"},
		{"content cut off", 1, top[:end-blockSize+2], "member etc/hostname: content ends after 2 of 5 bytes: differs from the plan"},
		{"padding used", 1, replace(top, "host\n\x00", "host\nx"), "member etc/hostname: padding is not zero: differs from the plan"},
		{"owner changed", 1, slices.Concat(evil(t, apk.Entry{Path: "etc", Type: apk.TypeDir, Mode: 0o755, UID: 7}, ""), top[blockSize:]),
			"found directory etc (mode 0755, owner 7:0, time 0), expected directory etc (mode 0755, owner 0:0, time 0): differs from the plan"},
		{"no tar", 1, bytes.Repeat([]byte("x"), 4096), "found what is no header, expected directory etc (mode 0755, owner 0:0, time 0): differs from the plan"},
		{"whiteout", 1, slices.Concat(top[:end], evil(t, apk.Entry{Path: "bin/.wh.a", Type: apk.TypeFile, Mode: 0o644}, ""), top[end:]),
			"found file bin/.wh.a (mode 0644, owner 0:0, time 0, 0 bytes), expected the end of the archive: differs from the plan"},
		{"other layer", 0, top, "found directory etc (mode 0755, owner 0:0, time 0), expected directory bin (mode 0755, owner 0:0, time 0): differs from the plan"},
		{"package file added", 0, slices.Concat(packed[:blockSize], setuid, packed[blockSize:]), "found file bin/evil (mode 4755, owner 0:0, time 0, 4 bytes), expected file bin/a"},
		{"package content changed", 0, replace(packed, "aaaa", "evil"), "member bin/a: content has sha256 " + hexOf("evil") + ", expected " + hexOf("aaaa")},
		{"package left out", 0, cut(packed, blockSize, blockSize*4), "expected file bin/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := p.Check(c.layer, bytes.NewReader(c.tar))
			if err == nil || !errors.Is(err, ErrDiffers) {
				t.Fatalf("error %v, expected ErrDiffers", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q\nexpected %q", err, c.want)
			}
		})
	}
}

func hexOf(s string) string { return apk.SHA256(sha256.Sum256([]byte(s))).Hex() }

// TestALayerIsMadeOfAllOfATar: what is no layer of the plan gives no blob.
func TestALayerIsMadeOfAllOfATar(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st, pkg("a", file("bin/a", "aaaa")), pkg("b", file("bin/b", "bb")))
	p := mustPlan(t, tree, Options{Strategy: Single})
	tar := inflatedOf(t, &mustWrite(t, p, st)[0])
	for n, want := range map[int]string{0: "less than planned", len(tar) - 1: "1 bytes less than planned", len(tar): "", len(tar) + 1: "longer than planned"} {
		w, err := p.compressing(0, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(append(slices.Clone(tar), 0)[:n])
		err = errors.Join(err, w.Close())
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d bytes: %v, expected %q", n, err, want)
		}
	}
}

// TestCheckOfRawHeaders changes what a package's own header blocks say.
func TestCheckOfRawHeaders(t *testing.T) {
	st := openStore(t)
	long := strings.Repeat("long/", 30) + "name"
	tree := plainTree(t, st,
		pkg("a", apktest.File{Path: "bin/a", Content: "a", Mode: 0o755, Xattrs: map[string]string{"security.capability": "\x01\x02"}}, file(long, "l")),
		pkg("b", file("bin/b", "bb")))
	p := mustPlan(t, tree, Options{Budget: 2})
	layers := mustWrite(t, p, st)
	tar := inflatedOf(t, &layers[0])
	for _, c := range []struct{ name, old, now string }{
		{"attribute", "security.capability=\x01\x02", "security.capability=\x01\x03"},
		{"attribute's name", "security.capability=\x01\x02", "security.capabilitx=\x01\x02"},
		{"name", "long/name", "long/nice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !bytes.Contains(tar, []byte(c.old)) {
				t.Fatalf("%q is not in the layer", c.old)
			}
			err := p.Check(0, bytes.NewReader(bytes.ReplaceAll(tar, []byte(c.old), []byte(c.now))))
			if !errors.Is(err, ErrDiffers) {
				t.Errorf("error %v, expected ErrDiffers", err)
			}
		})
	}
}

func TestCheckPassesReadersErrorsOn(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st, pkg("a", file("bin/a", strings.Repeat("a", 4096))), pkg("b"))
	p := mustPlan(t, tree, Options{Strategy: Single})
	layers := mustWrite(t, p, st)
	tar := inflatedOf(t, &layers[0])
	broken := errors.New("connection lost")
	err := p.Check(0, io.MultiReader(bytes.NewReader(tar[:2048]), failing{broken}))
	if !errors.Is(err, broken) || errors.Is(err, ErrDiffers) {
		t.Errorf("error %v, expected the reader's", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestApkosLayerIsNotChecked(t *testing.T) {
	p := mustPlan(t, &rootfs.Tree{Arch: "x86_64"}, Options{Compat: true})
	if err := p.Check(0, nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("error %v, expected ErrUnknown", err)
	}
	if o := p.Outline(); len(o) != 1 || o[0].Kind != Packed {
		t.Errorf("outline %+v", o)
	}
}
