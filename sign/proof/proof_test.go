package proof

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/repository"
)

func sha(b []byte) apk.SHA256 { return sha256.Sum256(b) }

// TestProof proves honest images, in every layering, and looks at what was read.
func TestProof(t *testing.T) {
	for _, c := range []struct{ name, config, kinds string }{
		{"default", "", "verbatim verbatim top"},
		{"packed", "layering: {strategy: package, budget: 2}\n", "packed top"},
		{"single", "layering: {strategy: single}\n", "packed"},
		{"files", "files: [{path: /etc/motd, content: hello}]\npaths: [{path: /data, type: directory, permissions: 0o750, uid: 7, gid: 7}]\n", "verbatim verbatim top"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			f := w.forger(c.config).seal()
			r, err := Prove(t.Context(), f, w.trusted(f))
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != Proved || r.Err() != nil {
				t.Fatalf("verdict %q, error %v", r.Verdict, r.Err())
			}
			var kinds []string
			for i, l := range r.Images[0].Layers {
				kinds = append(kinds, l.Kind)
				read := f.read[f.image.Layers[i].Digest]
				if (l.Kind == "verbatim") != (read == 0) || l.Read != read {
					t.Errorf("layer %d (%s): %d bytes read, %d reported", i, l.Kind, read, l.Read)
				}
				if l.Proof == "" || l.Problem != "" {
					t.Errorf("layer %d: %+v", i, l)
				}
			}
			if got := strings.Join(kinds, " "); got != c.kinds {
				t.Errorf("layers %s, expected %s", got, c.kinds)
			}
			if len(r.Keys) != 1 || !r.Keys[0].Pinned || r.Keys[0].Name != "pinned.pub" || r.Keys[0].Packages != 1 || r.Keys[0].Indexes != 1 {
				t.Errorf("keys %+v", r.Keys)
			}
			if r.Config.IsZero() || r.Lock.IsZero() || r.Downloaded == 0 || len(r.RestsOn) != 3 {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// TestWithoutKeys: the kit's own keys explain everything and prove nothing.
func TestWithoutKeys(t *testing.T) {
	w := newWorld(t)
	r, err := Prove(t.Context(), w.forger("").seal(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != Consistent || !errors.Is(r.Err(), ErrNotPinned) || errors.Is(r.Err(), ErrUnproved) {
		t.Errorf("verdict %q, error %v", r.Verdict, r.Err())
	}
	if len(r.NotPinned) != 2 || r.NotPinned[0] != "keys: those that came with the image were used\nhint: give --key with the keys that you trust" {
		t.Errorf("not pinned: %q", r.NotPinned)
	}
	if len(r.Keys) != 1 || r.Keys[0].Pinned || r.Keys[0].Name != "key.rsa.pub" {
		t.Errorf("keys %+v", r.Keys)
	}
	want := "key key.rsa.pub (sha256:…), which came with the kit: not pinned"
	if plain(r.RestsOn[0]) != want {
		t.Errorf("rests on %q, expected %q", r.RestsOn[0], want)
	}
}

func TestAnotherKeyPinned(t *testing.T) {
	w := newWorld(t)
	other, err := repository.ParseKey("key.rsa.pub", apktest.NewKey("other").PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Prove(t.Context(), w.forger("").seal(), Options{Keys: []repository.Key{other}})
	if err != nil || r.Verdict != Failed {
		t.Fatalf("%+v, %v", r, err)
	}
	if want := "package base-1-r0: its control section is signed by key.rsa.pub, which is no allowed key"; !strings.Contains(r.Err().Error(), want) {
		t.Errorf("error %v, expected %s", r.Err(), want)
	}
	if want := "package empty-1-r0: its control section is not signed"; !strings.Contains(r.Err().Error(), want) {
		t.Errorf("error %v, expected %s: packages without files count too", r.Err(), want)
	}
}

// TestFull reads the layers and derives their receipts again.
func TestFull(t *testing.T) {
	w := newWorld(t)
	f := w.forger("").seal()
	r, err := Prove(t.Context(), f, Options{Keys: w.pinned(), Full: true, Fetch: w.fetch})
	if err != nil || r.Verdict != Proved {
		t.Fatalf("%+v, %v", r, err)
	}
	for i, l := range r.Images[0].Layers {
		if read := f.read[f.image.Layers[i].Digest]; read != f.image.Layers[i].Size || l.Read != read {
			t.Errorf("layer %d: %d bytes read, %d reported", i, read, l.Read)
		}
		if l.Kind == "verbatim" && !strings.HasSuffix(l.Proof, "; receipt derived again: equal") {
			t.Errorf("layer %d: %s", i, l.Proof)
		}
	}
}

// BenchmarkProve75 is a proof of an image of 75 layers. It downloads the kit and
// the top layer.
func BenchmarkProve75(b *testing.B) {
	var specs []apktest.Spec
	for i := range 74 {
		s := pkg(fmt.Sprintf("package-%02d", i), "1-r0")
		for n := range 100 {
			s.Files = append(s.Files, apktest.File{Path: fmt.Sprintf("usr/share/package-%02d/file-%03d", i, n), Content: strings.Repeat("text\n", 20+n)})
		}
		specs = append(specs, s)
	}
	w := newWorld(b, specs...)
	f := w.forger("").seal()
	o := w.trusted(f)
	if n := len(f.image.Layers); n != 75 {
		b.Fatalf("%d layers", n)
	}
	b.ResetTimer()
	for b.Loop() {
		r, err := Prove(b.Context(), f, o)
		if err != nil || r.Verdict != Proved {
			b.Fatalf("%+v, %v", r, err)
		}
	}
}

// difficult are packages that cannot all be taken as they are: a file of one
// lies below a symlink of another, files are replaced, have attributes and other
// names.
func difficult() []apktest.Spec {
	large := strings.Repeat("a library of some size\n", 20000)
	links := pkg("links", "1-r0", apktest.File{Path: "usr/lib", Type: apk.TypeDir}, apktest.File{Path: "lib", Type: apk.TypeSymlink, Link: "usr/lib"})
	merged := pkg("merged", "1-r0", apktest.File{Path: "lib/large.so", Content: large}, apktest.File{Path: "lib/other.so", Type: apk.TypeHardlink, Link: "lib/large.so"})
	owned := pkg("owned", "1-r0",
		apktest.File{Path: "usr/bin/su", Content: "su", Mode: 0o4755, Xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02"}},
		apktest.File{Path: "usr/share/long/" + strings.Repeat("name/", 30) + "end", Content: "end"},
		apktest.File{Path: "usr/share/text", Content: "first"})
	over := pkg("over", "1-r0", apktest.File{Path: "usr/share/text", Content: "second"})
	over.Package.Replaces = []apk.Dependency{{Name: "owned"}}
	return []apktest.Spec{links, merged, owned, over}
}

func TestProofOfDifficultPackages(t *testing.T) {
	for _, c := range []struct{ name, config, kinds string }{
		{"default", "", "rewritten"},
		{"packed", "layering: {strategy: package, budget: 3}\n", "packed"},
		{"single", "layering: {strategy: single}\n", "packed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, difficult()...)
			f := w.forger(c.config).seal()
			r, err := Prove(t.Context(), f, Options{Keys: w.pinned(), Full: true, Fetch: w.fetch})
			if err != nil || r.Verdict != Proved {
				t.Fatalf("%+v, %v", r, err)
			}
			kinds := map[string]int{}
			for _, l := range r.Images[0].Layers {
				kinds[l.Kind]++
			}
			if kinds[c.kinds] == 0 {
				t.Errorf("layers %v: expected one that is %s", kinds, c.kinds)
			}
			// Another owner in the middle of a layer that is derived.
			for i, l := range r.Images[0].Layers {
				if l.Kind == "verbatim" {
					continue
				}
				forged := w.forger(c.config)
				tar := forged.tar(i)
				copy(tar[108:116], "0001750\x00") // uid of the first member
				copy(tar[148:156], fmt.Sprintf("%06o\x00 ", headerSum(tar[:512])))
				forged.layer(i, tar)
				if r, err := Prove(t.Context(), forged.seal(), Options{Keys: w.pinned()}); err != nil || r.Verdict != Failed {
					t.Errorf("layer %d (%s) with another owner: %+v, %v", i, l.Kind, r, err)
				}
				// Contents of what has none: some readers would skip as much.
				forged = w.forger(c.config)
				tar = forged.tar(i)
				for at := 0; at+512 <= len(tar); at += 512 {
					b := tar[at : at+512]
					if string(b[257:262]) != "ustar" || b[156] < '1' || b[156] > '5' {
						continue
					}
					copy(b[124:136], "00000001000\x00")
					copy(b[148:156], fmt.Sprintf("%06o\x00 ", headerSum(b)))
				}
				forged.layer(i, tar)
				if r, err := Prove(t.Context(), forged.seal(), Options{Keys: w.pinned()}); err != nil || r.Verdict != Failed {
					t.Errorf("layer %d (%s) with contents of directories and links: %+v, %v", i, l.Kind, r, err)
				}
			}
		})
	}
}

func headerSum(b []byte) (sum int) {
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	return sum
}
