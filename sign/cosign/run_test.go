package cosign

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
)

const allWritten = `legacy signature written
bundle signature written
legacy signature written
bundle signature written
legacy signature written
bundle signature written
legacy attestation written
bundle attestation written`

func TestRunWithKey(t *testing.T) {
	places(t, func(t *testing.T, x *target.Target) {
		s := newSigner(t, Config{Key: newKey(t)})
		list := jobs(t, x)
		out := mustRun(t, s, x, list, Both)
		if got := states(out); got != allWritten {
			t.Errorf("found\n%s", got)
		}
		for i, d := range subjects(t, x) {
			atts := 0
			if i == 0 {
				atts = 1
			}
			if n := len(layers(t, x, d.Digest, ".sig")); n != 1 {
				t.Errorf("%s: %d legacy signatures", d.Digest, n)
			}
			if n := len(layers(t, x, d.Digest, ".att")); n != atts {
				t.Errorf("%s: %d legacy attestations", d.Digest, n)
			}
			if n := len(bundles(t, x, d.Digest)); n != 1+atts {
				t.Errorf("%s: %d bundles", d.Digest, n)
			}
		}
	})
}

// The second run finds everything and writes nothing; with Again it signs
// again, and keeps what is there.
func TestRunAgain(t *testing.T) {
	places(t, func(t *testing.T, x *target.Target) {
		key := newKey(t)
		list := jobs(t, x)
		mustRun(t, newSigner(t, Config{Key: key}), x, list, Both)
		out := mustRun(t, newSigner(t, Config{Key: key}), x, list, Both)
		if got := states(out); got != strings.ReplaceAll(allWritten, "written", "present") {
			t.Errorf("found\n%s", got)
		}
		root := list[0].Subject.Digest
		if n, m := len(layers(t, x, root, ".sig")), len(bundles(t, x, root)); n != 1 || m != 2 {
			t.Errorf("%d legacy signatures, %d bundles", n, m)
		}
		out = mustRun(t, newSigner(t, Config{Key: key, Again: true}), x, list, Both)
		if got := states(out); got != allWritten {
			t.Errorf("found\n%s", got)
		}
		if n, m := len(layers(t, x, root, ".sig")), len(bundles(t, x, root)); n != 2 || m != 4 {
			t.Errorf("again: %d legacy signatures, %d bundles", n, m)
		}
	})
}

// Signatures of others stay, first in the list, and those of one key are not
// those of another.
func TestRunKeepsOthers(t *testing.T) {
	places(t, func(t *testing.T, x *target.Target) {
		list := jobs(t, x)
		root := list[0].Subject.Digest
		mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, list, Both)
		first := layers(t, x, root, ".sig")[0]
		out := mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, list, Both)
		if got := states(out); got != allWritten {
			t.Errorf("found\n%s", got)
		}
		both := layers(t, x, root, ".sig")
		if len(both) != 2 || both[0].Annotations["dev.cosignproject.cosign/signature"] != first.Annotations["dev.cosignproject.cosign/signature"] {
			t.Errorf("%+v", both)
		}
		if n := len(layers(t, x, root, ".att")); n != 2 {
			t.Errorf("%d attestations", n)
		}
	})
}

// Another statement of the same type is another attestation; one format alone
// is completed later.
func TestRunAddsWhatIsMissing(t *testing.T) {
	places(t, func(t *testing.T, x *target.Target) {
		s := newSigner(t, Config{Key: newKey(t)})
		list := jobs(t, x)
		mustRun(t, s, x, list, Legacy)
		if n := len(bundles(t, x, list[0].Subject.Digest)); n != 0 {
			t.Errorf("%d bundles", n)
		}
		out := mustRun(t, s, x, append(list, attestation(t, list[0].Subject, `{"a": 2}`)), Both)
		want := strings.ReplaceAll(allWritten, "legacy signature written", "legacy signature present")
		want = strings.ReplaceAll(want, "legacy attestation written", "legacy attestation present") + "\nlegacy attestation written\nbundle attestation written"
		if got := states(out); got != want {
			t.Errorf("found\n%s", got)
		}
	})
}

func TestRunKeyless(t *testing.T) {
	for _, kinds := range []string{"r", "t", "rt"} {
		t.Run(kinds, func(t *testing.T) {
			services := cosigntest.Start(t)
			x := open(t, newServer(t, false).image(t))
			list := jobs(t, x)
			s := newSigner(t, keyless(t, services, kinds))
			if got := states(mustRun(t, s, x, list, Both)); got != allWritten {
				t.Errorf("found\n%s", got)
			}
			if n := services.Certificates.Load(); n != 1 {
				t.Errorf("%d certificates for one run", n)
			}
			if want := cosigntest.Subject + " (" + cosigntest.Issuer + ")"; s.Identity() != want {
				t.Errorf("identity %s", s.Identity())
			}
			// Three signatures in two forms and one attestation in one: seven
			// entries; the legacy attestation has a timestamp of its own.
			if n := services.Entries.Load(); strings.Contains(kinds, "r") && n != 7 {
				t.Errorf("%d log entries", n)
			}
			if n := services.Stamps.Load(); strings.Contains(kinds, "t") && n != 8 {
				t.Errorf("%d timestamps", n)
			}
			again := newSigner(t, keyless(t, services, kinds))
			if got := states(mustRun(t, again, x, list, Both)); got != strings.ReplaceAll(allWritten, "written", "present") {
				t.Errorf("another key of the same identity: found\n%s", got)
			}
		})
	}
}

func TestRunKeyWithServices(t *testing.T) {
	services := cosigntest.Start(t)
	c := keyless(t, services, "rt")
	c.Key, c.Token = newKey(t), ""
	x := open(t, layoutImage(t))
	if got := states(mustRun(t, newSigner(t, c), x, jobs(t, x), Both)); got != allWritten {
		t.Errorf("found\n%s", got)
	}
	if n := services.Certificates.Load(); n != 0 {
		t.Errorf("%d certificates", n)
	}
	// What has no log entry does not count as signed where one is asked for.
	y := open(t, layoutImage(t))
	list := jobs(t, y)
	mustRun(t, newSigner(t, Config{Key: c.Key}), y, list, Both)
	if got := states(mustRun(t, newSigner(t, c), y, list, Both)); got != allWritten {
		t.Errorf("found\n%s", got)
	}
}

// When a service fails, nothing is written: not the signatures that succeeded
// before either.
func TestServiceFailureWritesNothing(t *testing.T) {
	for _, path := range []string{"/api/v1/timestamp", "/api/v1/log/entries"} {
		services := cosigntest.Start(t)
		registry := newServer(t, true)
		x := open(t, registry.image(t))
		list := jobs(t, x)
		s := newSigner(t, keyless(t, services, "rt"))
		services.Deny.Store(&path)
		before := registry.writes()
		_, err := s.Run(t.Context(), x, list, Both)
		if !errors.Is(err, ErrService) {
			t.Errorf("%s: %v", path, err)
		}
		if n := registry.writes() - before; n != 0 {
			t.Errorf("%s: %d requests that write", path, n)
		}
	}
}

// A registry that fails half-way: what is where is said, and the next run
// completes it without a second signature anywhere.
func TestHalfWay(t *testing.T) {
	registry := newServer(t, true)
	x := open(t, registry.image(t))
	list := jobs(t, x)[:1]
	root := list[0].Subject.Digest
	s := newSigner(t, Config{Key: newKey(t)})
	registry.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	_, err := s.Run(t.Context(), x, list, Both)
	var incomplete *IncompleteError
	if !errors.As(err, &incomplete) || !errors.Is(err, target.ErrUnreachable) {
		t.Fatalf("%v", err)
	}
	if got := states(incomplete.Outcomes); got != "legacy signature written\nbundle signature missing" {
		t.Errorf("found\n%s", got)
	}
	message := err.Error()
	for _, want := range []string{
		"signing is incomplete: ", "\nwritten: legacy signature of " + root.String(), "\nmissing: bundle signature of " + root.String(),
		"\nhint: the same command again adds what is missing",
	} {
		if !strings.Contains(message, want) {
			t.Errorf("%q is not in\n%s", want, message)
		}
	}
	registry.on(nil)
	if got := states(mustRun(t, s, x, list, Both)); got != "legacy signature present\nbundle signature written" {
		t.Errorf("found\n%s", got)
	}
	if n, m := len(layers(t, x, root, ".sig")), len(bundles(t, x, root)); n != 1 || m != 1 {
		t.Errorf("%d legacy signatures, %d bundles", n, m)
	}
}

// Stopped half-way, the report is not lost in the cancellation.
func TestStoppedHalfWay(t *testing.T) {
	registry := newServer(t, true)
	x := open(t, registry.image(t))
	list := jobs(t, x)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	registry.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			cancel()
			io.Copy(io.Discard, r.Body) // only then is a client that hangs up noticed
			<-r.Context().Done()
			return true
		}
		return false
	})
	s := newSigner(t, Config{Key: newKey(t)})
	_, err := s.Run(ctx, x, list, Both)
	var incomplete *IncompleteError
	if !errors.As(err, &incomplete) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "context canceled") {
		t.Fatalf("%v", err)
	}
	registry.on(nil)
	if got := states(mustRun(t, s, x, list, Both)); !strings.Contains(got, "present") || strings.Contains(got, "missing") {
		t.Errorf("found\n%s", got)
	}
}

func TestNothingWritten(t *testing.T) {
	registry := newServer(t, true)
	x := open(t, registry.image(t))
	registry.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	_, err := newSigner(t, Config{Key: newKey(t)}).Run(t.Context(), x, jobs(t, x), Both)
	if err == nil || !strings.HasPrefix(err.Error(), "nothing was written: ") || !errors.Is(err, target.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// Somebody else signs at the same time: both signatures are there afterwards.
func TestSignersAtTheSameTime(t *testing.T) {
	registry := newServer(t, true)
	ref := registry.image(t)
	x := open(t, ref)
	list := jobs(t, x)
	other := newSigner(t, Config{Key: newKey(t)})
	done := false
	registry.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && !done { // the first blob: tags were read before
			done = true
			registry.on(nil)
			if _, err := other.Run(context.Background(), open(t, ref), list, Both); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	out := mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, list, Both)
	if got := states(out); got != allWritten {
		t.Errorf("found\n%s", got)
	}
	for _, d := range subjects(t, x) {
		if n := len(layers(t, x, d.Digest, ".sig")); n != 2 {
			t.Errorf("%s: %d legacy signatures", d.Digest, n)
		}
	}
	if n := len(layers(t, x, list[0].Subject.Digest, ".att")); n != 2 {
		t.Errorf("%d attestations", n)
	}
}

// What is no list of signatures is not written over.
func TestTagThatIsNone(t *testing.T) {
	x := open(t, layoutImage(t))
	root := subjects(t, x)[0]
	index := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	if _, err := x.Push(t.Context(), target.Artifact{Manifest: index, MediaType: "application/vnd.oci.image.index.v1+json", Tag: legacyTag(root.Digest, ".sig")}); err != nil {
		t.Fatal(err)
	}
	_, err := newSigner(t, Config{Key: newKey(t)}).Run(t.Context(), x, jobs(t, x), Both)
	want := "tag sha256-" + root.Digest.Hex + ".sig: media type application/vnd.oci.image.index.v1+json: expected an image manifest, which signatures are added to\nhint: --signature-format bundle leaves it alone"
	if err == nil || err.Error() != want {
		t.Errorf("found %v\nwant %s", err, want)
	}
	mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, jobs(t, x), Bundle)
}

// Referrers that are anything but bundles are passed over.
func TestStrangeReferrers(t *testing.T) {
	places(t, func(t *testing.T, x *target.Target) {
		root := subjects(t, x)[0]
		for _, c := range []struct{ artifact, content string }{
			{bundleType, "{"}, {bundleType, "{}"}, {bundleType, `{"mediaType":"` + bundleType + `","dsseEnvelope":{"payload":"e30="}}`}, {"text/plain", "x"},
		} {
			a, err := target.Refer(root, c.artifact, nil, target.Layer{MediaType: bundleType, Content: []byte(c.content)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Push(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		if got := states(mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, jobs(t, x), Both)); got != allWritten {
			t.Errorf("found\n%s", got)
		}
	})
}

// The statement in the bundle, and in the legacy envelope, is the job's, byte
// for byte.
func TestStatementsAreKept(t *testing.T) {
	x := open(t, layoutImage(t))
	list := jobs(t, x)
	mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, list, Both)
	for _, b := range bundles(t, x, list[0].Subject.Digest) {
		if !bytes.Equal(b.payload, list[0].Statement) && !bytes.Equal(b.payload, list[3].Statement) {
			t.Errorf("bundle says %s", b.payload)
		}
	}
	l := layers(t, x, list[0].Subject.Digest, ".att")[0]
	raw, err := x.Blob(t.Context(), l, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"payload":"` + base64Of(list[3].Statement) + `","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"`
	if !bytes.HasPrefix(raw, []byte(want)) {
		t.Errorf("found %s\nwant %s…", raw, want)
	}
}

func TestCancelled(t *testing.T) {
	x := open(t, layoutImage(t))
	list := jobs(t, x)
	s := newSigner(t, Config{Key: newKey(t)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, x, list, Both); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if n := len(layers(t, x, list[0].Subject.Digest, ".sig")); n != 0 {
		t.Errorf("%d signatures", n)
	}
}

// A service that never answers is left when the context ends.
func TestSilentService(t *testing.T) {
	silent := newServer(t, true)
	silent.on(func(_ http.ResponseWriter, r *http.Request) bool {
		io.Copy(io.Discard, r.Body) // only then is a client that hangs up noticed
		<-r.Context().Done()
		return true
	})
	x := open(t, layoutImage(t))
	list := jobs(t, x)
	c := Config{Key: newKey(t), Services: &Services{Timestamps: []string{"http://" + silent.host}}}
	ctx, cancel := context.WithTimeout(t.Context(), 50e6)
	defer cancel()
	if _, err := newSigner(t, c).Run(ctx, x, list, Both); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// What does not verify is not written.
func TestSelfCheck(t *testing.T) {
	services, strangers := cosigntest.Start(t), cosigntest.Start(t)
	registry := newServer(t, true)
	x := open(t, registry.image(t))
	list := jobs(t, x)
	foreign, err := strangers.Trust(false)
	if err != nil {
		t.Fatal(err)
	}
	c := keyless(t, services, "rt")
	c.Key, c.Trust = newKey(t), foreign
	before := registry.writes()
	if _, err := newSigner(t, c).Run(t.Context(), x, list, Both); !errors.Is(err, ErrSelfCheck) {
		t.Errorf("%v", err)
	}
	if n := registry.writes() - before; n != 0 {
		t.Errorf("%d requests that write", n)
	}
	if err := guard(func() error { panic("x") }); err == nil || err.Error() != "panic: x" {
		t.Errorf("%v", err)
	}
}

func BenchmarkRunWithKey(b *testing.B) {
	s := newSigner(b, Config{Key: newKey(b), Again: true})
	ref := newServer(b, true).image(b)
	x := open(b, ref)
	list := jobs(b, x)
	var none v1.Hash
	if list[0].Subject.Digest == none {
		b.Fatal("no subject")
	}
	for b.Loop() {
		b.StopTimer()
		x = open(b, newServer(b, true).image(b))
		list = jobs(b, x)
		b.StartTimer()
		mustRun(b, s, x, list, Both)
	}
}
