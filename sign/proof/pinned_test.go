package proof

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/store"
)

// authority is a certificate in PEM form, indented.
func authority(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Unix(4000000000, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n        ")
}

// TestContentsOfNoPackage: what the configuration brings, somebody must vouch for,
// however well the packages are known.
func TestContentsOfNoPackage(t *testing.T) {
	w := newWorld(t)
	const inline = "files: [{path: /usr/bin/evil, content: boo, mode: 0o4755}]\n"
	certificates := "certificates:\n  additional:\n    - name: ours\n      content: |\n        " + authority(t) + "\n"
	for _, c := range []struct{ name, config, want string }{
		{"inline file", inline, "files: 1 that the image's own kit brings are no package's\nhint: give --lockfile, or --config with"},
		{"certificates", certificates, "certificates: 1 that the image's own kit brings are no package's\nhint: give --config with"},
	} {
		f := w.forger(c.config).seal()
		digests, err := kit.Digests(w.load("image.yaml", "base, app, empty", c.config))
		if err != nil {
			t.Fatal(err)
		}
		full := Options{Keys: w.pinned(), Full: true, Fetch: w.fetch}
		r, err := Prove(t.Context(), f, full)
		if err != nil || r.Verdict != Consistent || !strings.Contains(r.Err().Error(), c.want) {
			t.Errorf("%s: nobody vouches: %+v, %v\nexpected %s", c.name, r, err, c.want)
		}
		full.Config = digests
		for name, o := range map[string]Options{"configuration": full, "lock": w.trusted(f)} {
			if r, err := Prove(t.Context(), f, o); err != nil || r.Verdict != Proved {
				t.Errorf("%s: with the %s: %+v, %v", c.name, name, r, err)
			}
		}
		full.Config = []apk.SHA256{{1}}
		r, err = Prove(t.Context(), f, full)
		if want := "configuration sha256:…, expected sha256:…"; err != nil || r.Verdict != Failed || !strings.Contains(plain(r.Err().Error()), want) {
			t.Errorf("%s: another configuration: %+v, %v", c.name, r, err)
		}
	}
}

// TestALockOfAnotherConfiguration pins files, but not what came later.
func TestALockOfAnotherConfiguration(t *testing.T) {
	w := newWorld(t)
	f := w.forger("certificates:\n  additional:\n    - name: ours\n      content: |\n        " + authority(t) + "\n")
	f.kit.Lock.Config.Checksum = w.forger("").kit.Lock.Config.Checksum
	f.seal()
	r, err := Prove(t.Context(), f, w.trusted(f))
	if want := "certificates: 1 that the image's own kit brings"; err != nil || r.Verdict != Consistent || !strings.Contains(r.Err().Error(), want) {
		t.Errorf("%+v, %v\nexpected %s", r, err, want)
	}
	plainly := w.forger("environment: {A: b}\n")
	plainly.kit.Lock.Config.Checksum = f.kit.Lock.Config.Checksum
	plainly.seal()
	r, err = Prove(t.Context(), plainly, w.trusted(plainly))
	if err != nil || r.Verdict != Proved || !strings.Contains(r.RestsOn[1], " being the one that is wanted: ") {
		t.Errorf("settings only: %+v, %v", r, err)
	}
}

// TestAFileThatWasNotGiven: the configuration is the same, what it includes is not.
func TestAFileThatWasNotGiven(t *testing.T) {
	w := newWorld(t)
	w.write("local.txt", "local\n")
	more := "files: [{path: /etc/local, source: local.txt, sha256: " + sha([]byte("local\n")).Hex() + "}]\n"
	f := w.forger(more).seal()
	digests, err := kit.Digests(w.load("image.yaml", "base, app, empty", more))
	if err != nil || len(digests) != 2 {
		t.Fatalf("%v, %v", digests, err)
	}
	o := Options{Keys: w.pinned(), Full: true, Fetch: w.fetch, Config: digests[:1]}
	r, err := Prove(t.Context(), f, o)
	if want := `local.txt": not among the 1 files of the one that was given`; err != nil || r.Verdict != Failed || !strings.Contains(plain(r.Err().Error()), want) {
		t.Errorf("%+v, %v\nexpected %s", r, err, want)
	}
	for _, c := range []struct {
		given []apk.SHA256
		want  string
	}{
		{[]apk.SHA256{digests[0], {1}}, `local.txt": sha256:…, expected sha256:…`},
		{append(digests[:2:2], apk.SHA256{1}), "configuration: 2 files, expected 3"},
		{[]apk.SHA256{digests[1], digests[0]}, "configuration sha256:…, expected sha256:…"},
	} {
		o.Config = c.given
		if r, err := Prove(t.Context(), f, o); err != nil || r.Verdict != Failed || !strings.Contains(plain(r.Err().Error()), c.want) {
			t.Errorf("%+v, %v\nexpected %s", r, err, c.want)
		}
	}
	o.Config = digests
	if r, err := Prove(t.Context(), f, o); err != nil || r.Verdict != Proved || !strings.Contains(r.RestsOn[1], ", with 1 more files, which was given: ") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestTheCommandLine changes a configuration, and is in a kit only.
func TestTheCommandLine(t *testing.T) {
	w := newWorld(t)
	f := w.forger("")
	digests, err := kit.Digests(w.load("image.yaml", "base, app, empty", ""))
	if err != nil {
		t.Fatal(err)
	}
	f.kit.Settings.Overrides = []kit.Overrides{{Annotations: map[string]string{"a": "b"}}}
	f.seal()
	r, err := Prove(t.Context(), f, Options{Keys: w.pinned(), Full: true, Fetch: w.fetch, Config: digests})
	if err != nil || len(r.NotPinned) != 1 || !strings.HasPrefix(r.NotPinned[0], "command line: what it changed") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAPackageThatIsInNoKit is vouched for by nobody.
func TestAPackageThatIsInNoKit(t *testing.T) {
	if v := (&prover{}).voucher("x86_64", &store.Receipt{}); v.problem != "not in the kit" {
		t.Errorf("%+v", v)
	}
}

// TestKeysInTheImage: whoever has one decides what is installed later.
func TestKeysInTheImage(t *testing.T) {
	w := newWorld(t)
	f := w.forger("")
	f.kit.Lock.Contents.Keyring = append(f.kit.Lock.Contents.Keyring, lock.Key{Name: "evil.rsa.pub", Content: string(apktest.NewKey("evil.rsa.pub").PublicPEM())})
	f.seal()
	r, err := Prove(t.Context(), f, Options{Keys: w.pinned(), Full: true, Fetch: w.fetch})
	if err != nil || len(r.NotPinned) != 1 || !strings.HasPrefix(plain(r.NotPinned[0]), `keys: the image holds "evil.rsa.pub" (sha256:…), which was not given`) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAnUnreadableKitDoesNotHideAGoodOne: a manifest can name what is not there.
func TestAnUnreadableKitDoesNotHideAGoodOne(t *testing.T) {
	w := newWorld(t)
	f := w.forger("").seal()
	o := w.trusted(f)
	bad := f.put([]byte(strings.Replace(string(f.blobs[f.referrers[0].Digest]), `"size":`, `"size": `, 1)))
	bad.ArtifactType = kit.ArtifactType
	delete(f.blobs, bad.Digest)
	f.referrers = append(f.referrers, bad)
	if r, err := Prove(t.Context(), f, o); err != nil || r.Verdict != Proved {
		t.Errorf("%+v, %v", r, err)
	}
	// Where no other proves the image, it might have.
	if r, err := Prove(t.Context(), f, Options{}); err == nil || r != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAKitOfAnotherLockIsNotRead beyond its lock.
func TestAKitOfAnotherLockIsNotRead(t *testing.T) {
	w := newWorld(t)
	f := w.forger("").seal()
	r, err := Prove(t.Context(), f, Options{Keys: w.pinned(), Lock: apk.SHA256{1}})
	if want := "of another lock: lock sha256:…, expected sha256:0100000"; err != nil || r.Verdict != Failed || !strings.Contains(strings.ReplaceAll(r.Err().Error(), r.Lock.String(), ""), "of another lock") {
		t.Errorf("%+v, %v\nexpected %s", r, err, want)
	}
	if len(f.read) != 1 {
		t.Errorf("%d blobs were read, expected the lock only", len(f.read))
	}
}

// asking counts manifests.
type asking struct {
	*forger
	manifests int
}

func (a *asking) Manifest(ctx context.Context, h v1.Hash) ([]byte, types.MediaType, error) {
	a.manifests++
	return a.forger.Manifest(ctx, h)
}

// TestThousandsOfReferrers are not all asked what they are.
func TestThousandsOfReferrers(t *testing.T) {
	w := newWorld(t)
	f := w.forger("")
	f.noKit = true
	f.seal()
	for i := range 4000 {
		d := f.put(fmt.Appendf(nil, `{"n":%d}`, i))
		if i%2 == 0 {
			d.ArtifactType = kit.TypeEmpty
		}
		f.referrers = append(f.referrers, d)
	}
	a := &asking{forger: f}
	if r, err := Prove(t.Context(), a, Options{}); !errors.Is(err, ErrNoKit) || r != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if a.manifests > 128 {
		t.Errorf("%d manifests were read", a.manifests)
	}
}
