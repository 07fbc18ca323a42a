// Package verify is the one engine that decides who made a signature or an
// attestation, and when. Every caller (the command, the containerd verifier,
// the admission server) goes through it.
//
// Legacy signatures are converted into Sigstore's form first, so that one code
// path, sigstore-go's verifier, checks both. It opens no connection: trust
// comes from a trusted_root.json or from public keys alone, never from TUF.
//
//	engine, err := verify.New(verify.Trust{}) // keys only
//	if err != nil {
//		return err
//	}
//	accept := verify.Accept{Signatures: []verify.Signer{{Name: "release", Key: key}}}
//	c := engine.Check(item, digest, accept)
//	if c.Err != nil {
//		fmt.Println(c.Where, "does not count:", c.Err)
//	}
//
// What is required of an image as a whole (how many signers, which statements)
// is the business of package policy; the result of both is a [Verdict].
package verify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/cairn-dev/cairn/sign/evidence"
)

// Kind says what a verified piece of evidence is.
type Kind string

// The kinds.
const (
	KindSignature   Kind = "signature"
	KindAttestation Kind = "attestation"
)

// Checked is what the engine found out about one piece of evidence.
type Checked struct {
	Where  string
	Format evidence.Format
	// Kind is what it claims to be; empty when that cannot be told.
	Kind Kind
	// Err says why the evidence does not count; nil when it does. The fields
	// below it are only set when it is nil.
	Err error

	// Signer is the name of the signer that made it. Identity tells distinct
	// signers apart: a key's fingerprint, or subject and issuer of a
	// certificate.
	Signer   string
	Identity string
	// Times are the signed times, oldest first; none for a key without log and
	// timestamp.
	Times []time.Time
	// Statement is the in-toto statement; nil for a legacy signature.
	Statement *Statement
	// Repository is where the signer says the image is; may be empty.
	Repository string
	// Annotations are what the signer of the image said beside it: the texts in a
	// legacy signature's "optional", or in the annotations of a statement's subject.
	Annotations map[string]string
}

// SignedAt is the earliest signed time, zero without one.
func (c Checked) SignedAt() time.Time {
	if len(c.Times) == 0 {
		return time.Time{}
	}
	return c.Times[0]
}

// Engine checks evidence against trust. It is safe for concurrent use.
type Engine struct {
	trust        Trust
	certificates *sgverify.Verifier // nil without a trusted root
}

// New makes an engine.
func New(t Trust) (*Engine, error) {
	e := &Engine{trust: t}
	if t.Root == nil {
		if t.Log > 0 || t.Timestamps > 0 || t.SCTs > 0 {
			return nil, errors.New("trust: a log, timestamps or certificate timestamps are required: there is no trusted root to check them with")
		}
		return e, nil
	}
	var err error
	if e.certificates, err = sgverify.NewVerifier(t.Root, t.certificateOptions()...); err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return e, nil
}

// Accept says whose word counts for what.
type Accept struct {
	Signatures   []Signer
	Attestations []Signer
}

// Check verifies one piece of evidence about the subject: that somebody who is
// accepted for its kind made it, that log and timestamps are as the trust requires, and that
// it is about the subject. A panic of a library becomes an error.
func (e *Engine) Check(item evidence.Item, subject v1.Hash, accept Accept) (c Checked) {
	c = Checked{Where: item.Where, Format: item.Format}
	defer func() {
		if r := recover(); r != nil {
			c = Checked{Where: item.Where, Format: item.Format, Err: fmt.Errorf("verifier gave up: %v", r)}
		}
	}()
	claims, err := entitiesOf(item)
	if err != nil {
		c.Err = err
		return c
	}
	if err := c.contents(item, claims, subject); err != nil {
		return Checked{Where: c.Where, Format: c.Format, Kind: c.Kind, Err: err}
	}
	signers := accept.Signatures
	if c.Kind == KindAttestation {
		signers = accept.Attestations
	}
	signed, err := e.signer(claims, signers)
	if err != nil {
		return Checked{Where: c.Where, Format: c.Format, Kind: c.Kind, Err: err}
	}
	c.Signer, c.Identity, c.Times = signed.name, signed.identity, signed.times
	return c
}

// contents reads what the evidence says and that it is about the subject.
// Nothing of it is trusted until the signature is verified as well.
func (c *Checked) contents(item evidence.Item, claims []claim, subject v1.Hash) error {
	envelope := claims[0].signature.EnvelopeContent()
	if envelope == nil {
		if item.Legacy == nil {
			return errors.New("not an image signature: the bundle signs plain bytes, expected a statement")
		}
		c.Kind = KindSignature
		var err error
		c.Repository, c.Annotations, err = simpleSigning(item.Legacy.Payload, subject)
		return err
	}
	st, err := envelopeStatement(envelope.RawEnvelope())
	if err != nil {
		return err
	}
	c.Statement, c.Kind = st, KindAttestation
	if st.PredicateType == PredicateSignature {
		c.Kind = KindSignature
	}
	named := st.subject(subject)
	if named == nil {
		return fmt.Errorf("statement is about %s, not %s", st.subjectText(), subject)
	}
	c.Repository, c.Annotations = named.Name, texts(named.Annotations)
	return nil
}

// signedBy is the outcome of a verification.
type signedBy struct {
	name, identity string
	times          []time.Time
}

// signer finds the signer that made the evidence. Every form of the evidence is
// tried with every signer that it could be from.
func (e *Engine) signer(claims []claim, signers []Signer) (signedBy, error) {
	var reasons []string
	hasKeys := slices.ContainsFunc(signers, func(s Signer) bool { return s.Key != nil })
	for _, cl := range claims {
		if !cl.certificate && len(claims) > 1 && !hasKeys {
			continue // nobody to try the signature without its certificate for
		}
		var by signedBy
		var err error
		if cl.certificate {
			by, err = e.byCertificate(cl, signers)
		} else {
			by, err = e.byKey(cl, signers)
		}
		if err == nil {
			return by, nil
		}
		reasons = append(reasons, err.Error())
	}
	return signedBy{}, errors.New(strings.Join(reasons, "; "))
}

func (e *Engine) byCertificate(cl claim, signers []Signer) (signedBy, error) {
	if e.certificates == nil {
		return signedBy{}, errors.New("signed with a certificate: there is no trusted root to check it with")
	}
	v := e.certificates
	if cl.stamped != nil {
		var err error
		if v, err = sgverify.NewVerifier(stamped(e.trust.Root, cl), e.trust.certificateOptions()...); err != nil {
			return signedBy{}, err
		}
	}
	result, err := run(v, cl)
	if err != nil {
		return signedBy{}, err
	}
	summary := result.Signature.Certificate
	for _, s := range signers {
		if s.Identity != nil && s.Identity.matches(summary) {
			return signedBy{s.Name, identityText(summary), times(result)}, nil
		}
	}
	return signedBy{}, fmt.Errorf("signed by %s, expected %s", identityText(summary), expected(signers))
}

func identityText(c *certificate.Summary) string {
	return fmt.Sprintf("%s (issuer %s)", c.SubjectAlternativeName, c.Issuer)
}

// byKey tries the keys one after the other: the hint in a bundle is nobody's
// word.
func (e *Engine) byKey(cl claim, signers []Signer) (signedBy, error) {
	var reason error
	for _, s := range signers {
		if s.Key == nil {
			continue
		}
		result, err := e.keyResult(cl, s.Key)
		if err == nil {
			return signedBy{s.Name, s.Key.Fingerprint, times(result)}, nil
		}
		if reason == nil || !isMismatch(err) {
			reason = err
		}
	}
	if reason == nil || isMismatch(reason) {
		return signedBy{}, fmt.Errorf("signed with another key, expected %s", expected(signers))
	}
	return signedBy{}, reason
}

func (e *Engine) keyResult(cl claim, k *Key) (*sgverify.VerificationResult, error) {
	// With a time when there is one that can be trusted, otherwise without,
	// where that is allowed.
	v, err := sgverify.NewVerifier(stamped(e.trust.withKey(k), cl), e.trust.keyOptions(true)...)
	if err != nil {
		return nil, err
	}
	result, err := run(v, cl)
	if err == nil || e.trust.Timestamps > 0 {
		return result, err
	}
	if v, err = sgverify.NewVerifier(stamped(e.trust.withKey(k), cl), e.trust.keyOptions(false)...); err != nil {
		return nil, err
	}
	return run(v, cl)
}

// run is the one call into sigstore-go's verifier.
func run(v *sgverify.Verifier, cl claim) (*sgverify.VerificationResult, error) {
	artifact := sgverify.WithoutArtifactUnsafe() // a statement; its subject is compared by the caller
	if cl.message != nil {
		artifact = sgverify.WithArtifact(bytes.NewReader(cl.message))
	}
	who := sgverify.WithoutIdentitiesUnsafe() // compared by the caller
	if !cl.certificate {
		who = sgverify.WithKey()
	}
	result, err := v.Verify(cl, sgverify.NewPolicy(artifact, who))
	if err != nil {
		return nil, explain(err)
	}
	return result, nil
}

// steps names the steps of sigstore-go's verification in its error texts.
var steps = []struct{ theirs, ours string }{
	{"failed to verify log inclusion: ", "transparency log: "},
	{"failed to verify timestamps: ", "signed time: "},
	{"failed to verify leaf certificate: ", "certificate: not from a trusted authority, or not valid at the signed time: "},
	{"failed to verify signed certificate timestamp: ", "certificate log (SCT): "},
	{"failed to verify signature: ", "signature: "},
}

// reword takes the words out of sigstore-go's texts that say nothing, and a
// formatting mistake of it.
func reword(text string) string {
	return strings.NewReplacer("; error: %!w(<nil>)", "", "error: ", "", "error while ", "while ", "error ", "cannot ",
		"failed to ", "cannot ", "unable to ", "cannot ").Replace(text)
}

// explain puts an error of sigstore-go into words that name the step.
func explain(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, s := range steps {
		if rest, ok := strings.CutPrefix(text, s.theirs); ok {
			return stepError{s.ours, s.ours + reword(rest), err}
		}
	}
	return stepError{"", reword(text), err}
}

type stepError struct {
	step, text string
	err        error
}

func (e stepError) Error() string { return e.text }
func (e stepError) Unwrap() error { return e.err }

// isMismatch tells a signature by another key from other reasons.
func isMismatch(err error) bool {
	var s stepError
	if !errors.As(err, &s) {
		return false
	}
	return s.step == "signature: " && (strings.Contains(s.text, "could not verify") || strings.Contains(s.text, "invalid signature")) ||
		strings.Contains(s.text, "transparency log certificate does not match")
}
