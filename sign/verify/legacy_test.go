package verify_test

import (
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
	"github.com/cairn-dev/cairn/sign/verify"
)

func alice(t testing.TB) []verify.Signer {
	t.Helper()
	id, err := verify.NewIdentity("https://issuer", "alice@example.test", "")
	if err != nil {
		t.Fatal(err)
	}
	return []verify.Signer{{Name: "alice", Identity: id}}
}

// A legacy attestation by an identity: an envelope with a DSSE entry of Rekor
// v1, which has a promise and no proof.
func TestLegacyAttestation(t *testing.T) {
	for _, c := range []struct {
		name    string
		options evidencetest.Options
		trust   func(a *evidencetest.Authority) verify.Trust
		want    string
	}{
		{"log", evidencetest.Options{Log: true}, func(a *evidencetest.Authority) verify.Trust { return verify.NewTrust(a.Root(false)) }, ""},
		{"timestamp", evidencetest.Options{Timestamp: true}, func(a *evidencetest.Authority) verify.Trust {
			return verify.Trust{Root: a.Root(false), Timestamps: 1}
		}, ""},
		{"log and timestamp", evidencetest.Options{Log: true, Timestamp: true}, func(a *evidencetest.Authority) verify.Trust {
			return verify.Trust{Root: a.Root(false), Log: 1, Timestamps: 1}
		}, ""},
		{"log that is not trusted", evidencetest.Options{Log: true, Timestamp: true}, func(a *evidencetest.Authority) verify.Trust {
			return verify.NewTrust(evidencetest.NewAuthority().Root(false))
		}, "transparency log: not enough verified log entries from transparency log: 0 < 1"},
		{"neither", evidencetest.Options{}, func(a *evidencetest.Authority) verify.Trust { return verify.Trust{Root: a.Root(false)} },
			"signed time: threshold not met for verified signed & log entry integrated timestamps: 0 < 1"},
		{"no trusted root", evidencetest.Options{Log: true}, func(*evidencetest.Authority) verify.Trust { return verify.Trust{} },
			"signed with a certificate: there is no trusted root to check it with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, a := evidencetest.NewStore(), evidencetest.NewAuthority()
			image := s.Image("app")
			s.Attest(image, a.LegacyAttestation("alice@example.test", "https://issuer",
				evidencetest.Statement(image, "", verify.PredicateProvenance, map[string]any{}), c.options))
			got := engine(t, c.trust(a)).Check(items(t, s, image)[0], image, both(alice(t)))
			if text(got.Err) != c.want {
				t.Errorf("found %v", got.Err)
			}
			if c.want == "" && (got.Kind != verify.KindAttestation || got.Statement == nil || got.SignedAt().IsZero()) {
				t.Errorf("found %+v", got)
			}
		})
	}
}

// A log entry about another envelope, or with another promise, is no entry.
func TestLegacyLogEntryOfSomethingElse(t *testing.T) {
	s, a := evidencetest.NewStore(), evidencetest.NewAuthority()
	image := s.Image("app")
	statement := evidencetest.Statement(image, "", verify.PredicateProvenance, map[string]any{})
	one := a.LegacyAttestation("alice@example.test", "https://issuer", statement, evidencetest.Options{Log: true})
	other := a.LegacyAttestation("alice@example.test", "https://issuer", statement, evidencetest.Options{Log: true})
	signed := a.Legacy("alice@example.test", "https://issuer", evidencetest.Payload(image, ""), evidencetest.Options{Log: true})
	const bundle = "dev.sigstore.cosign/bundle"
	for name, c := range map[string]struct{ entry, want string }{
		"of another signature": {other.Annotations[bundle], "transparency log: transparency log signature does not match"},
		"of another kind":      {signed.Annotations[bundle], "transparency log: transparency log signature does not match"},
		"with a later time":    {strings.Replace(one.Annotations[bundle], `"integratedTime":1`, `"integratedTime":2`, 1), "transparency log: not enough verified log entries from transparency log: 0 < 1"},
		"that is no JSON":      {`{"SignedEntryTimestamp":"AA==","Payload":{"body":"AA==","integratedTime":1,"logIndex":1,"logID":"00"}}`, "log entry: invalid character '\\x00' looking for beginning of value"},
	} {
		t.Run(name, func(t *testing.T) {
			s := evidencetest.NewStore()
			image := s.Image("app")
			l := one
			l.Annotations = map[string]string{}
			for k, v := range one.Annotations {
				l.Annotations[k] = v
			}
			l.Annotations[bundle] = c.entry
			s.Attest(image, l)
			got := engine(t, verify.NewTrust(a.Root(false))).Check(items(t, s, image)[0], image, both(alice(t)))
			if text(got.Err) != c.want {
				t.Errorf("found %v", got.Err)
			}
		})
	}
}

// The intermediate that comes along with a legacy signature leads to a trusted
// root; it is nothing by itself.
func TestLegacyChain(t *testing.T) {
	s, a, rogue := evidencetest.NewStore(), evidencetest.NewAuthority(), evidencetest.NewAuthority()
	image := s.Image("app")
	o := evidencetest.Options{Timestamp: true, TSA: a}
	s.Sign(image, a.Legacy("alice@example.test", "https://issuer", evidencetest.Payload(image, ""), o))
	s.Sign(image, rogue.Legacy("alice@example.test", "https://issuer", evidencetest.Payload(image, ""), o))
	e := engine(t, verify.Trust{Root: a.RootWithoutIntermediate(), Timestamps: 1})
	list := items(t, s, image)
	if got := e.Check(list[0], image, both(alice(t))); got.Err != nil {
		t.Error(got.Err)
	}
	got := e.Check(list[1], image, both(alice(t)))
	if !strings.HasPrefix(text(got.Err), "certificate: not from a trusted authority") {
		t.Errorf("found %v", got.Err)
	}
}

// A signature by a key with a certificate beside it counts for the key.
func TestLegacyKeyWithCertificate(t *testing.T) {
	s, a, key := evidencetest.NewStore(), evidencetest.NewAuthority(), evidencetest.NewKey()
	image := s.Image("app")
	l := key.Legacy(evidencetest.Payload(image, ""))
	l.Annotations["dev.sigstore.cosign/certificate"] = a.Legacy("x@example.test", "https://issuer", nil, evidencetest.Options{}).Annotations["dev.sigstore.cosign/certificate"]
	s.Sign(image, l)
	if got := engine(t, verify.Trust{}).Check(items(t, s, image)[0], image, both(keySigner(t, key))); got.Err != nil {
		t.Error(got.Err)
	}
}

func TestEnvelopes(t *testing.T) {
	s, key := evidencetest.NewStore(), evidencetest.NewKey()
	for content, want := range map[string]string{
		`{`: "not a DSSE envelope: unexpected end of JSON input",
		`{"payloadType":"x","payload":"AA==","signatures":[]}`:                      "envelope: found 0 signatures, expected one",
		`{"payloadType":"x","payload":"AA==","signatures":[{"sig":""},{"sig":""}]}`: "envelope: found 2 signatures, expected one",
		`{"payloadType":"x","signatures":[{"sig":"AA=="}]}`:                         "envelope: payload is missing",
		`{"payloadType":"x","payload":"AA==","signatures":[{"sig":"AA=="}]}`:        `envelope: payload type "x", expected application/vnd.in-toto+json`,
	} {
		image := s.Image(content)
		s.Attest(image, evidencetest.Layer{MediaType: evidencetest.MediaDSSE, Content: []byte(content)})
		if got := engine(t, verify.Trust{}).Check(items(t, s, image)[0], image, both(keySigner(t, key))); text(got.Err) != want {
			t.Errorf("%s: found %v", content, got.Err)
		}
	}
}

func TestSimpleSigning(t *testing.T) {
	s, key := evidencetest.NewStore(), evidencetest.NewKey()
	image := s.Image("app")
	good := string(evidencetest.Payload(image, ""))
	for name, c := range map[string]struct{ payload, want string }{
		"good":         {good, ""},
		"older type":   {strings.Replace(good, "cosign container image", "atomic container", 1), ""},
		"another type": {strings.Replace(good, "cosign container image", "some", 1), `simple-signing document: type "some signature", expected "cosign container image signature"`},
		"not JSON":     {"x", "not a simple-signing document: found no JSON object"},
		"no digest":    {strings.Replace(good, "docker-manifest-digest", "Docker-Manifest-Digest", 1), "not a simple-signing document: docker-manifest-digest is missing"},
		"two digests":  {strings.Replace(good, `"docker-manifest-digest"`, `"docker-manifest-digest":"x","docker-manifest-digest"`, 1), `not a simple-signing document: key "docker-manifest-digest" repeats`},
		"no identity":  {strings.Replace(good, `"identity"`, `"who"`, 1), "not a simple-signing document: found no JSON object"},
	} {
		image := image
		store := evidencetest.NewStore()
		store.Image("app")
		store.Sign(image, key.Legacy([]byte(c.payload)))
		if got := engine(t, verify.Trust{}).Check(items(t, store, image)[0], image, both(keySigner(t, key))); text(got.Err) != c.want {
			t.Errorf("%s: found %v", name, got.Err)
		}
	}
}

// A key's signature in the log of Rekor v1: the entry must be by that key and
// about that signature.
func TestLegacyKeyWithLog(t *testing.T) {
	a, key, other := evidencetest.NewAuthority(), evidencetest.NewKey(), evidencetest.NewKey()
	image := evidencetest.NewStore().Image("app")
	payload := evidencetest.Payload(image, "")
	good, foreign := a.Logged(key, payload), a.Logged(other, payload)
	mixed := a.Logged(key, payload)
	mixed.Annotations["dev.sigstore.cosign/bundle"] = foreign.Annotations["dev.sigstore.cosign/bundle"]
	for name, c := range map[string]struct {
		layer evidencetest.Layer
		want  string
	}{
		"good":             {good, ""},
		"no entry":         {key.Legacy(payload), "transparency log: not enough verified log entries from transparency log: 0 < 1"},
		"another key":      {foreign, "signed with another key, expected key "},
		"another's entry":  {mixed, "transparency log: transparency log signature does not match"},
		"another document": {func() evidencetest.Layer { l := good; l.Content = append([]byte(" "), payload...); return l }(), "transparency log: transparency log hashedrekord entry digest "},
	} {
		t.Run(name, func(t *testing.T) {
			s := evidencetest.NewStore()
			s.Image("app")
			s.Sign(image, c.layer)
			got := engine(t, verify.NewTrust(a.Root(false))).Check(items(t, s, image)[0], image, both(keySigner(t, key)))
			if !strings.HasPrefix(text(got.Err), c.want) || (got.Err == nil) != (c.want == "") {
				t.Errorf("found %v", got.Err)
			}
			if c.want == "" && got.SignedAt().IsZero() {
				t.Error("the log's time is not taken")
			}
		})
	}
}
