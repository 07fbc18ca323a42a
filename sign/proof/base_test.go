package proof

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
)

// TestOnABase proves an image that stands on another, by who vouches for the base.
func TestOnABase(t *testing.T) {
	w := newWorld(t)
	digest := w.onBase()
	f := w.forger("").seal()
	lock := digestOf(t, f)
	other := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	const unknown = "base image (linux/amd64): sha256:… is what the image's own kit says\nhint: give --lockfile with the lock that the image is to be from, or --base-image with the base image that you trust"
	for _, c := range []struct {
		name    string
		options Options
		verdict Verdict
		proof   string
		want    string
	}{
		{"lock", Options{Lock: lock}, Proved, "base image sha256:…, pinned in the lock", ""},
		{"lock and everything read", Options{Lock: lock, Full: true, Fetch: w.fetch}, Proved, "base image sha256:…, pinned in the lock", ""},
		{"given and read", Options{Bases: []v1.Hash{other, digest}, Full: true, Fetch: w.fetch}, Proved, "base image sha256:…, which was given", ""},
		{"given", Options{Bases: []v1.Hash{digest}}, Consistent, "base image sha256:…, which was given",
			"base image (linux/amd64): what is in its layers is as the image's own kit says\nhint: give --lockfile with a lock that has the digest of its files, or --full to read them"},
		{"another given", Options{Bases: []v1.Hash{other}, Full: true, Fetch: w.fetch}, Consistent, "base image sha256:…, which came with the kit: not pinned", unknown},
		{"nothing", Options{}, Consistent, "base image sha256:…, which came with the kit: not pinned", unknown},
	} {
		clear(f.read)
		c.options.Keys = w.pinned()
		r, err := Prove(t.Context(), f, c.options)
		if err != nil || r.Verdict != c.verdict || c.want != "" && !strings.Contains(plain(r.Err().Error()), c.want) {
			t.Errorf("%s: %+v, %v\nexpected %s: %s", c.name, r, err, c.verdict, c.want)
			continue
		}
		below := 0
		for i, l := range r.Images[0].Layers {
			if l.Kind != "base" {
				continue
			}
			below++
			if plain(l.Proof) != c.proof {
				t.Errorf("%s: layer %d: %s, expected %s", c.name, i, l.Proof, c.proof)
			}
			if read := f.read[f.image.Layers[i].Digest]; (read != 0) != (c.options.Full && c.verdict == Proved) {
				t.Errorf("%s: layer %d: %d bytes read", c.name, i, read)
			}
		}
		if below == 0 || !strings.HasPrefix(r.RestsOn[1], "base image (linux/amd64) sha256:") {
			t.Errorf("%s: %d layers below, rests on %q", c.name, below, r.RestsOn)
		}
	}
}

// ofBase is the base image of the kit, changed.
func (f *forger) ofBase(change func(*baseimage.Pieces)) error {
	f.t.Helper()
	p, err := f.kit.Bases[0].Image.Pieces()
	if err != nil {
		f.t.Fatal(err)
	}
	change(&p)
	arch, _ := config.ParseArch("x86_64")
	b, err := baseimage.FromPieces(p, arch)
	if err != nil {
		return err
	}
	f.kit.Bases[0].Image = b
	f.kit.Settings.Bases[0].Digest = b.Digest
	return nil
}

// otherRoot is a list of files in which etc/passwd has another account.
func otherRoot(list []byte) []byte {
	const text, evil = "root:x:0:0:root:/root:/bin/sh\n", "root:!:0:0:root:/root:/bin/sh\n"
	s1, e1 := sha1.Sum([]byte(text)), sha1.Sum([]byte(evil))
	s256, e256 := sha([]byte(text)), sha([]byte(evil))
	list = bytes.ReplaceAll(list, []byte(text), []byte(evil))
	list = bytes.ReplaceAll(list, s1[:], e1[:])
	return bytes.ReplaceAll(list, s256[:], e256[:])
}

// TestAttacksOnABase: nobody's layer is the base's, and nobody's list says what is
// in it. The base image is known, and so is the lock but where it is forged too.
func TestAttacksOnABase(t *testing.T) {
	forgeList := func(f *forger) {
		if err := f.ofBase(func(p *baseimage.Pieces) { p.Files = otherRoot(p.Files) }); err != nil {
			f.t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*forger)
		want   string
	}{
		{"layer of the base replaced", func(f *forger) {
			f.layer(0, slices.Concat(member(f.t, "usr/bin/evil", "boo", 0o4755), make([]byte, 1024)))
		}, "linux/amd64: layer 0 (base sha256:…): found sha256:… of "},
		{"layer of the base left out", func(f *forger) {
			f.image.Layers, f.config.RootFS.DiffIDs = f.image.Layers[1:], f.config.RootFS.DiffIDs[1:]
		}, "linux/amd64: layer 0 (base sha256:…): found sha256:… of "},
		{"media type of a layer of the base", func(f *forger) {
			f.image.Layers[0].MediaType = "application/vnd.oci.image.layer.v1.tar"
		}, `linux/amd64: layer 0 (base sha256:…): media type "application/vnd.oci.image.layer.v1.tar", expected "application/vnd.oci.image.layer.v1.tar+gzip"`},
		{"layer between the base and the rest", func(f *forger) {
			f.image.Layers = slices.Insert(f.image.Layers, 2, f.image.Layers[0])
			f.config.RootFS.DiffIDs = slices.Insert(f.config.RootFS.DiffIDs, 2, f.config.RootFS.DiffIDs[0])
		}, "linux/amd64: layer 2 (verbatim sha256:…): found sha256:… of "},
		{"only layers of the base", func(f *forger) { f.image.Layers = f.image.Layers[:1] }, "linux/amd64: layer 1 (base): missing"},
		{"history of the base", func(f *forger) { f.config.History[0].Comment = "nothing to see" },
			`linux/amd64: configuration: at history[0].comment: found "nothing to see"`},
		{"base that the annotation names", func(f *forger) {
			f.image.Annotations["org.opencontainers.image.base.digest"] = "sha256:0"
		}, `linux/amd64: manifest: at annotations.org.opencontainers.image.base.digest: found "sha256:0"`},
		{"list of files but not in the lock", forgeList,
			"kit sha256:…: invalid kit: base image (x86_64): list of files sha256:…, the lock has sha256:…"},
		{"list of files and in the lock", func(f *forger) {
			forgeList(f)
			f.kit.Lock.Cairn.Request.Base[0].Files = f.kit.Bases[0].Image.FilesDigest()
		}, "base image (linux/amd64): its layers give other files than the kit lists"},
		{"list of packages but not in the lock", func(f *forger) {
			if err := f.ofBase(func(p *baseimage.Pieces) { p.Packages = append(p.Packages, '\n') }); err != nil {
				f.t.Fatal(err)
			}
		}, "invalid kit: base image (x86_64): list of packages sha256:…, the lock has sha256:…"},
		{"another manifest", func(f *forger) {
			if err := f.ofBase(func(p *baseimage.Pieces) { p.Manifest = append(p.Manifest, '\n') }); err != nil {
				f.t.Fatal(err)
			}
		}, "invalid kit: base image (x86_64): manifest sha256:…, the lock has sha256:…"},
		{"no base image", func(f *forger) { f.kit.Bases, f.kit.Settings.Bases = nil, nil }, "derive: base image (x86_64): not at hand"},
		{"layers above the base left out", func(f *forger) {
			f.image.Layers = f.image.Layers[:f.top()]
			f.config.RootFS.DiffIDs = f.config.RootFS.DiffIDs[:len(f.image.Layers)]
		}, "(top): missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			digest := w.onBase()
			f := w.forger("")
			f.t = t
			c.change(f)
			r, err := Prove(t.Context(), f.seal(), Options{Keys: w.pinned(), Bases: []v1.Hash{digest}, Full: true, Fetch: w.fetch})
			if err != nil {
				t.Fatal(err)
			}
			if err = r.Err(); r.Verdict != Failed || !errors.Is(err, ErrUnproved) || !strings.Contains(plain(err.Error()), c.want) {
				t.Errorf("verdict %q, error %v\nexpected %s", r.Verdict, err, c.want)
			}
		})
	}
}

// TestAnotherConfigurationOfABase: the manifest names it.
func TestAnotherConfigurationOfABase(t *testing.T) {
	w := newWorld(t)
	w.onBase()
	f := w.forger("")
	err := f.ofBase(func(p *baseimage.Pieces) { p.Config = append(p.Config, '\n') })
	if err == nil || !strings.Contains(err.Error(), "larger than its descriptor says") {
		t.Errorf("error %v", err)
	}
}

// TestALockThatDoesNotNameTheFiles is one that an older cairn wrote.
func TestALockThatDoesNotNameTheFiles(t *testing.T) {
	w := newWorld(t)
	w.onBase()
	f := w.forger("")
	f.kit.Lock.Cairn.Request.Base[0].Files = apk.SHA256{}
	f.seal()
	r, err := Prove(t.Context(), f, w.trusted(f))
	if want := "what is in its layers is as the image's own kit says"; err != nil || r.Verdict != Consistent || !strings.Contains(r.Err().Error(), want) {
		t.Errorf("%+v, %v\nexpected %s", r, err, want)
	}
	o := w.trusted(f)
	o.Full, o.Fetch = true, w.fetch
	if r, err := Prove(t.Context(), f, o); err != nil || r.Verdict != Proved {
		t.Errorf("with everything read: %+v, %v", r, err)
	}
}

// TestABrokenConnectionToABase is no verdict either.
func TestABrokenConnectionToABase(t *testing.T) {
	w := newWorld(t)
	digest := w.onBase()
	f := w.forger("").seal()
	lost := errors.New("connection lost")
	o := Options{Keys: w.pinned(), Bases: []v1.Hash{digest}, Full: true, Fetch: w.fetch}
	for n := 1; ; n++ {
		img := &broken{Image: f, left: n, err: lost}
		r, err := Prove(t.Context(), img, o)
		if img.left > 0 {
			if err != nil || r.Verdict != Proved || n < 20 {
				t.Errorf("nothing failed in %d operations: %+v, %v", n, r, err)
			}
			break
		}
		if !errors.Is(err, lost) || r != nil {
			t.Errorf("operation %d failed: %+v, %v", n, r, err)
		}
	}
}
