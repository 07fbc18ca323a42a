package proof

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestApkosLayer is proved from the packages, and without them everything but the
// layer is.
func TestApkosLayer(t *testing.T) {
	w := newWorld(t)
	w.compat = "apko"
	full := func(f *forger) Options {
		o := w.trusted(f)
		o.Full, o.Fetch, o.Store = true, w.fetch, w.ws.Store()
		return o
	}
	f := w.forger("").seal()
	r, err := Prove(t.Context(), f, w.trusted(f))
	if err != nil || r.Verdict != Unprovable || !errors.Is(r.Err(), ErrNeedsFull) || errors.Is(r.Err(), ErrNotPinned) {
		t.Fatalf("without packages: %+v, %v", r, err)
	}
	if want := ": not provable without --full:\nlinux/amd64: layer 0 (packed sha256:…): " + whyApko; !strings.HasSuffix(plain(r.Err().Error()), want) {
		t.Errorf("error %v, expected %s", r.Err(), want)
	}
	r, err = Prove(t.Context(), f, full(f))
	if want := "written again from 3 packages, each vouched for, as apko does: equal, byte for byte"; err != nil || r.Verdict != Proved || r.Images[0].Layers[0].Proof != want {
		t.Errorf("with packages: %+v, %v", r, err)
	}
	if l := f.image.Layers[0]; f.read[l.Digest] != 0 {
		t.Errorf("%d bytes of the layer were read: its digest says all", f.read[l.Digest])
	}

	for _, c := range []struct {
		name    string
		change  func(*forger)
		verdict Verdict
		want    string
	}{
		{"compressed by something else", func(f *forger) { f.layer(0, f.tar(0)) }, Proved, "as apko does: equal when inflated"},
		{"file added", func(f *forger) {
			b := f.tar(0)
			f.layer(0, slices.Concat(b[:len(b)-1024], member(t, "usr/bin/evil", "boo", 0o4755), b[len(b)-1024:]))
		}, Failed, "linux/amd64: layer 0 (packed sha256:…): inflates to sha256:… of "},
		{"no gzip", func(f *forger) { f.blob(0, func([]byte) []byte { return []byte("hello") }) }, Failed, "not gzip: "},
		{"entrypoint", func(f *forger) { f.config.Config.Entrypoint = []string{"/bin/sh"} }, Failed, `configuration: at config.Entrypoint[0]: found "/bin/sh"`},
		{"layer appended", func(f *forger) { f.image.Layers = append(f.image.Layers, f.image.Layers[0]) }, Failed, "not explained: 1 layers were derived"},
	} {
		f := w.forger("")
		c.change(f)
		r, err := Prove(t.Context(), f.seal(), full(f))
		if err != nil || r.Verdict != c.verdict {
			t.Fatalf("%s: %+v, %v", c.name, r, err)
		}
		found := r.Images[0].Layers[0].Proof
		if c.verdict == Failed {
			found = plain(r.Err().Error())
		}
		if !strings.Contains(found, c.want) {
			t.Errorf("%s: %s, expected %s", c.name, found, c.want)
		}
	}

	// Without a store, or without repositories, it is as without --full.
	o := full(f)
	o.Store = nil
	if r, err := Prove(t.Context(), f, o); err != nil || r.Verdict != Unprovable {
		t.Errorf("without a store: %+v, %v", r, err)
	}
	// What is in the kit must be what is in the repository.
	f = w.forger("")
	f.receipt("base", secondRoot(t, f.pkg("base").Receipt))
	r, err = Prove(t.Context(), f.seal(), full(f))
	if want := "x86_64: package base-1-r0: receipt digest is …, expected …"; err != nil || r.Verdict != Failed || !strings.Contains(plain(r.Err().Error()), want) {
		t.Errorf("forged receipt: %+v, %v", r, err)
	}
}

// TestALayerThatIsNotApkos: saying so does not spare it the comparison.
func TestALayerThatIsNotApkos(t *testing.T) {
	w := newWorld(t)
	f := w.forger("")
	f.kit.Settings.Compat = "apko"
	r, err := Prove(t.Context(), f.seal(), Options{Keys: w.pinned()})
	if err != nil || r.Verdict != Failed {
		t.Fatalf("%+v, %v", r, err)
	}
	if want := "linux/amd64: layer 1 (sha256:…): not explained: 1 layers were derived"; !strings.Contains(plain(r.Err().Error()), want) {
		t.Errorf("error %v, expected %s", r.Err(), want)
	}
}
