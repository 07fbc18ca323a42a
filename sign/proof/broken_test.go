package proof

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// broken is an image of which one operation fails: the one with the number left,
// counted down. A blob that is opened counts once more, for its first byte.
type broken struct {
	Image
	left   int
	err    error
	cancel context.CancelFunc // called in place of failing
}

func (b *broken) next() error {
	b.left--
	if b.left != 0 {
		return nil
	}
	if b.cancel != nil {
		b.cancel()
		return context.Canceled
	}
	return b.err
}

func (b *broken) Resolve(ctx context.Context) (v1.Descriptor, error) {
	if err := b.next(); err != nil {
		return v1.Descriptor{}, err
	}
	return b.Image.Resolve(ctx)
}

func (b *broken) Manifest(ctx context.Context, h v1.Hash) ([]byte, types.MediaType, error) {
	if err := b.next(); err != nil {
		return nil, "", err
	}
	return b.Image.Manifest(ctx, h)
}

func (b *broken) Blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	if err := b.next(); err != nil {
		return nil, err
	}
	return b.Image.Blob(ctx, d, limit)
}

func (b *broken) Referrers(ctx context.Context, h v1.Hash) ([]v1.Descriptor, error) {
	if err := b.next(); err != nil {
		return nil, err
	}
	return b.Image.Referrers(ctx, h)
}

func (b *broken) OpenBlob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if err := b.next(); err != nil {
		return nil, err
	}
	rc, err := b.Image.OpenBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	return &brokenBlob{ReadCloser: rc, b: b}, nil
}

// brokenBlob fails in its middle, or with its last byte.
type brokenBlob struct {
	io.ReadCloser
	b     *broken
	asked bool
}

func (r *brokenBlob) Read(p []byte) (int, error) {
	if !r.asked {
		r.asked = true
		return r.ReadCloser.Read(p[:min(len(p), 7)])
	}
	n, err := r.ReadCloser.Read(p)
	if err == io.EOF {
		if failed := r.b.next(); failed != nil {
			return n, failed
		}
	}
	return n, err
}

// TestABrokenConnectionIsNoVerdict lets one operation after the other fail: the
// proof then has no result, and never a bad one.
func TestABrokenConnectionIsNoVerdict(t *testing.T) {
	w := newWorld(t)
	lost := errors.New("connection lost")
	for _, full := range []bool{false, true} {
		f := w.forger("").seal()
		o := w.trusted(f)
		o.Full, o.Fetch = full, w.fetch
		n := 0
		for {
			n++
			img := &broken{Image: f, left: n, err: lost}
			r, err := Prove(t.Context(), img, o)
			if img.left > 0 { // everything was asked before
				if err != nil || r.Verdict != Proved {
					t.Errorf("nothing failed: %+v, %v", r, err)
				}
				break
			}
			if !errors.Is(err, lost) || r != nil {
				t.Errorf("full %v: operation %d failed: %+v, %v", full, n, r, err)
			}
		}
		if n < 14 {
			t.Errorf("full %v: only %d operations", full, n)
		}
	}
}

// TestCancelledWorkStops cancels in the middle of one operation after the other.
func TestCancelledWorkStops(t *testing.T) {
	w := newWorld(t)
	keys := w.pinned()
	f := w.forger("").seal()
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		img := &broken{Image: f, left: n, cancel: cancel}
		r, err := Prove(ctx, img, Options{Keys: keys, Full: true})
		cancel()
		if img.left > 0 {
			break
		}
		if !errors.Is(err, context.Canceled) || r != nil {
			t.Errorf("cancelled in operation %d: %+v, %v", n, r, err)
		}
	}
}

// TestReportIsForMachines: the JSON form has everything, under names that stay.
func TestReportIsForMachines(t *testing.T) {
	w := newWorld(t)
	f := w.forger("").seal()
	r, err := Prove(t.Context(), f, w.trusted(f))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*r, again) {
		t.Errorf("written %+v\nread    %+v", *r, again)
	}
	for _, part := range []string{
		`"verdict":"proved"`, `"subject":"sha256:`, `"kit":"sha256:`, `"config":"sha256:`, `"lock":"sha256:`, `"rests_on":["key pinned.pub`,
		`"settings":{"format":1,`, `"keys":[{"name":"pinned.pub","fingerprint":"sha256:`, `"pinned":true,"packages":1,"indexes":1`,
		`"arch":"linux/amd64"`, `"kind":"verbatim","packages":["app-1-r0"],"proof":"is the data section of app-1-r0,`, `"read":0`,
	} {
		if !strings.Contains(string(b), part) {
			t.Errorf("%s\nis not in %s", part, b)
		}
	}
	if strings.Contains(string(b), "problem") {
		t.Errorf("a proof without problems names some: %s", b)
	}
}

// TestUnsafeChoicesAreShown: a proof is about bytes, and a build that was told
// not to check is still one to know of.
func TestUnsafeChoicesAreShown(t *testing.T) {
	w := newWorld(t)
	f := w.forger("")
	f.kit.Lock.Cairn.Unsafe = []string{"unsigned-index"}
	r, err := Prove(t.Context(), f.seal(), Options{Keys: w.pinned()})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Unsafe) != 1 || r.Unsafe[0] != "unsigned-index" {
		t.Errorf("unsafe %v", r.Unsafe)
	}
	// The image does not say so, though an image built like that does.
	if want := `annotations.dev.cairn.unsafe: found nothing, expected "unsigned-index"`; r.Verdict != Failed || !strings.Contains(r.Err().Error(), want) {
		t.Errorf("%v, expected %s", r.Err(), want)
	}
}

// TestTextsDoNotSteerTerminals: names are whatever somebody wrote into a kit.
func TestTextsDoNotSteerTerminals(t *testing.T) {
	w := newWorld(t)
	f := w.forger("")
	const evil = "https://example.org/\x1b[2K\rproved\u009b\u202e\nsha256:0: proved"
	f.kit.Indexes[0].URL, f.kit.Lock.Cairn.Indexes[0].URL = evil, evil
	f.config.Config.User = "nobody\x1b[2J"
	r, err := Prove(t.Context(), f.seal(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{r.Err().Error()}
	for _, l := range r.Images[0].Layers {
		texts = append(texts, l.Proof, l.Problem)
	}
	for i, s := range append(texts, r.RestsOn...) {
		if strings.ContainsAny(s, "\x1b\r\u009b\u202e") || i > 0 && strings.Contains(s, "\n") {
			t.Errorf("%q", s)
		}
	}
	if !strings.Contains(strings.Join(texts, ""), "https://example.org/\ufffd[2K\ufffdproved\ufffd\ufffd; sha256:0: proved") {
		t.Errorf("%q: the test does not reach the text", texts)
	}
}
