package verify

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
)

// Trust is where trust comes from and how much of it is required.
type Trust struct {
	// Root holds the authorities: certificate, timestamp, logs. Nil means that
	// only public keys are trusted.
	Root root.TrustedMaterial
	// Log is the number of transparency logs that must hold the signature; 0
	// means that none is looked at.
	Log int
	// Timestamps is the number of RFC 3161 timestamps required. A certificate
	// needs a signed time in any case: one of these or the log's.
	Timestamps int
	// SCTs is the number of certificate logs that must have promised to hold
	// the certificate.
	SCTs int
}

// NewTrust requires what a trusted root can check: one log entry when it lists
// logs, one certificate timestamp when it lists certificate logs.
func NewTrust(r root.TrustedMaterial) Trust {
	t := Trust{Root: r}
	if r == nil {
		return t
	}
	t.Log = min(1, len(r.RekorLogs()))
	t.SCTs = min(1, len(r.CTLogs()))
	return t
}

// maxTrustedRoot bounds a trusted root file, in bytes.
const maxTrustedRoot = 8 << 20

// ReadTrustedRoot reads a trusted_root.json. Nothing is fetched.
func ReadTrustedRoot(path string) (r root.TrustedMaterial, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%s: not a trusted root: the parser gave up: %v", path, p)
		}
	}()
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxTrustedRoot {
		return nil, fmt.Errorf("%s: not a trusted root: found %d bytes, expected at most %d", path, fi.Size(), maxTrustedRoot)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	tr, err := root.NewTrustedRootFromJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: not a trusted root: %s", path, strings.TrimPrefix(reword(err.Error()), "cannot proto-json unmarshal trusted root: "))
	}
	return tr, nil
}

func (t Trust) certificateOptions() []sgverify.VerifierOption {
	opts := []sgverify.VerifierOption{sgverify.WithoutStatementPredicate()}
	if t.SCTs > 0 {
		opts = append(opts, sgverify.WithSignedCertificateTimestamps(t.SCTs))
	}
	if t.Timestamps == 0 {
		opts = append(opts, sgverify.WithObserverTimestamps(1))
	}
	return t.common(opts)
}

// keyOptions verifies with a time or without one.
func (t Trust) keyOptions(timed bool) []sgverify.VerifierOption {
	opts := []sgverify.VerifierOption{sgverify.WithoutStatementPredicate()}
	switch {
	case t.Timestamps > 0:
	case timed:
		opts = append(opts, sgverify.WithObserverTimestamps(1))
	default:
		opts = append(opts, sgverify.WithNoObserverTimestamps())
	}
	return t.common(opts)
}

func (t Trust) common(opts []sgverify.VerifierOption) []sgverify.VerifierOption {
	if t.Timestamps > 0 {
		opts = append(opts, sgverify.WithSignedTimestamps(t.Timestamps))
	}
	if t.Log > 0 {
		opts = append(opts, sgverify.WithTransparencyLog(t.Log))
	}
	return opts
}

// keyMaterial is a trusted root in which one public key stands for every hint.
type keyMaterial struct {
	root.TrustedMaterial
	key root.TimeConstrainedVerifier
}

func (m keyMaterial) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	return m.key, nil
}

func (t Trust) withKey(k *Key) root.TrustedMaterial {
	m := keyMaterial{TrustedMaterial: t.Root, key: root.NewExpiringKey(k.verifier, time.Time{}, time.Time{})}
	if t.Root == nil {
		m.TrustedMaterial = &root.BaseTrustedMaterial{}
	}
	return m
}

// stampedMaterial is a trusted root whose timestamp authorities are asked about
// other bytes than the signature.
type stampedMaterial struct {
	root.TrustedMaterial
	stamped []byte
}

func (m stampedMaterial) TimestampingAuthorities() []root.TimestampingAuthority {
	var out []root.TimestampingAuthority
	for _, a := range m.TrustedMaterial.TimestampingAuthorities() {
		out = append(out, stampedAuthority{a, m.stamped})
	}
	return out
}

type stampedAuthority struct {
	root.TimestampingAuthority
	stamped []byte
}

func (a stampedAuthority) Verify(timestamp, _ []byte) (*root.Timestamp, error) {
	return a.TimestampingAuthority.Verify(timestamp, a.stamped)
}

// stamped returns the material to check a claim with.
func stamped(m root.TrustedMaterial, cl claim) root.TrustedMaterial {
	if cl.stamped == nil {
		return m
	}
	return stampedMaterial{m, cl.stamped}
}

// times returns the verified times, oldest first.
func times(r *sgverify.VerificationResult) []time.Time {
	var out []time.Time
	for _, t := range r.VerifiedTimestamps {
		out = append(out, t.Timestamp.UTC())
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}
