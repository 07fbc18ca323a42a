package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/sign/evidence"
)

const conformance = "../../../shared/data/sigstore-conformance"

// The identity that the default fixtures are signed by.
const (
	fixtureSubject = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
	fixtureIssuer  = "https://token.actions.githubusercontent.com"
)

// TestConformance runs the fixtures of sigstore-conformance: those whose names
// end in _fail must be refused, the others accepted.
func TestConformance(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(conformance, "bundle-verify", "*", "bundle.sigstore.json"))
	if err != nil || len(dirs) == 0 {
		t.Skip("../shared/data/sigstore-conformance is not there")
	}
	for _, path := range dirs {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			err := verifyFixture(t, dir)
			if fail := strings.HasSuffix(dir, "_fail"); fail && err == nil {
				t.Error("accepted")
			} else if !fail && err != nil {
				t.Error(err)
			}
			t.Log(err)
		})
	}
}

func verifyFixture(t *testing.T, dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "bundle.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	artifact, err := os.ReadFile(filepath.Join(dir, "artifact"))
	if errors.Is(err, os.ErrNotExist) {
		artifact, err = os.ReadFile(filepath.Join(conformance, "a.txt"))
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := evidence.ParseBundle(raw)
	if err != nil {
		return err
	}
	trust, err := fixtureTrust(t, dir)
	if err != nil {
		return err
	}
	engine, err := New(trust)
	if err != nil {
		return err
	}
	signers, err := fixtureSigners(t, dir)
	if err != nil {
		return err
	}
	return engine.checkArtifact(evidence.Item{Format: evidence.FormatBundle, Bundle: b}, artifact, signers)
}

func fixtureTrust(t *testing.T, dir string) (Trust, error) {
	path := filepath.Join(dir, "trusted_root.json")
	if _, err := os.Stat(path); err != nil {
		if _, err := os.Stat(filepath.Join(dir, "key.pub")); err == nil {
			return Trust{}, nil
		}
		path = filepath.Join(sigstoreGo(t), "examples", "trusted-root-public-good.json")
	}
	r, err := ReadTrustedRoot(path)
	return NewTrust(r), err
}

// sigstoreGo is the module's directory in the module cache.
func sigstoreGo(t *testing.T) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Skipf("the module cache cannot be asked: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func fixtureSigners(t *testing.T, dir string) ([]Signer, error) {
	if text, err := os.ReadFile(filepath.Join(dir, "key.pub")); err == nil {
		key, err := ParseKey(text)
		return []Signer{{Key: key}}, err
	}
	subject, issuer := fixtureSubject, fixtureIssuer
	if text, err := os.ReadFile(filepath.Join(dir, "identity")); err == nil {
		subject = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile(filepath.Join(dir, "issuer")); err == nil {
		issuer = strings.TrimSpace(string(text))
	}
	id, err := NewIdentity(issuer, subject, "")
	if err != nil {
		t.Fatal(err)
	}
	return []Signer{{Identity: id}}, nil
}

// checkArtifact is Check for a file instead of an image: a message signature is
// over the file, a statement about its digest.
func (e *Engine) checkArtifact(item evidence.Item, artifact []byte, signers []Signer) error {
	claims, err := entitiesOf(item)
	if err != nil {
		return err
	}
	if env := claims[0].signature.EnvelopeContent(); env != nil {
		sum := sha256.Sum256(artifact)
		st, err := envelopeStatement(env.RawEnvelope())
		if err != nil {
			return err
		}
		if st.subject(v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}) == nil {
			return fmt.Errorf("statement is about %s", st.subjectText())
		}
	} else {
		claims[0].message = artifact
	}
	_, err = e.signer(claims, signers)
	return err
}
