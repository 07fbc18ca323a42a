// Package sign is the façade of everything about signatures: it signs images
// and attaches attestations to them, in a registry or in an OCI layout.
//
// What a signature is worth is not decided here, and how it is made neither:
// the rooms below do that (target, keys, attest, cosign and their neighbours).
// They are visible to the rest of cairn but promise no compatibility; this
// package does.
//
//	result, err := sign.Sign(ctx, sign.SignOptions{
//		Image: "registry.example/team/app@sha256:…",
//		Key:   "release.key",
//		Keys:  keys.Options{LookupEnv: os.LookupEnv},
//		NoLog: true,
//	})
//	if err != nil {
//		return err
//	}
//	fmt.Println(result.Image)
//
// The image index and every image in it are signed, by one identity, with one
// certificate where certificates are used. Everything is signed and verified
// before the first byte is written.
package sign

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/attest"
	"github.com/cairn-dev/cairn/sign/cosign"
	"github.com/cairn-dev/cairn/sign/keys"
)

// ErrOptions: options that contradict each other, or one that is missing.
var ErrOptions = errors.New("options")

// SignOptions say what is signed, by whom and where it goes.
type SignOptions struct {
	// Image is a reference: "host/repository@sha256:…", or a layout "dir/".
	// See [target.Parse].
	Image string
	// Registry says how a registry is reached.
	Registry target.Options

	// Key names the private key; see [keys.Load]. Empty with Keyless.
	Key  string
	Keys keys.Options
	// Keyless signs with a key that lives as long as the call, for which a
	// certificate authority vouches with the identity in a token.
	Keyless bool
	Token   cosign.TokenSource

	// SigningConfig is a file that names the services; empty for none. There
	// are no default ones.
	SigningConfig string
	// NoLog leaves the transparency log out: without a log nobody notices what
	// a stolen key signs, so it has to be said.
	NoLog bool
	// TrustedRoot is a file with what verifiers trust; everything is verified
	// against it before it is written. Empty: the signature alone is verified.
	TrustedRoot string

	// Format is "both", "bundle" or "legacy"; empty for both.
	Format string
	// Repository is what the signature says the image's repository is; empty:
	// the one it is in. A layout is in none.
	Repository string
	// Annotations are signed with the image, by name.
	Annotations map[string]string
	// Again signs also what the same signer has signed already.
	Again bool
}

// Attestation is a predicate about an image.
type Attestation struct {
	// Subject is the image or image index that it is about; zero: the one
	// that is named.
	Subject v1.Hash
	// Type is a predicate type, by URI or short name; see [attest.TypeURI].
	Type string
	// Predicate is a JSON object. It is kept byte for byte.
	Predicate []byte
	// Children attaches it to every image of an index too.
	Children bool
}

// AttestOptions say what is attested.
type AttestOptions struct {
	SignOptions
	Attestations []Attestation
	// Image signs the images too, in the same run.
	SignImage bool
}

// Result says what was done.
type Result struct {
	// Image is the reference that was signed, by digest.
	Image  string  `json:"image"`
	Digest v1.Hash `json:"digest"`
	// Signer is the key's fingerprint, or the certificate's identity.
	Signer   string           `json:"signer"`
	Outcomes []cosign.Outcome `json:"outcomes"`
	// Notes are what a person should know and nothing failed for.
	Notes []string `json:"notes,omitempty"`
}

// Sign signs an image: the image index and every image in it.
func Sign(ctx context.Context, o SignOptions) (*Result, error) {
	return run(ctx, &o, nil, true)
}

// Attest attaches attestations to an image.
func Attest(ctx context.Context, o AttestOptions) (*Result, error) {
	if len(o.Attestations) == 0 {
		return nil, fmt.Errorf("%w: no attestation", ErrOptions)
	}
	return run(ctx, &o.SignOptions, o.Attestations, o.SignImage)
}

// session is one call of Sign or Attest.
type session struct {
	o        *SignOptions
	format   cosign.Format
	services *cosign.Services
	trust    root.TrustedMaterial
	ref      target.Ref
	target   *target.Target
	image    v1.Descriptor
	below    []v1.Descriptor // every image and index below, in order
	notes    []string
}

func run(ctx context.Context, o *SignOptions, list []Attestation, signImage bool) (*Result, error) {
	s := &session{o: o}
	if err := s.configure(); err != nil {
		return nil, err
	}
	if err := s.find(ctx); err != nil {
		return nil, err
	}
	jobs, err := s.jobs(list, signImage)
	if err != nil {
		return nil, err
	}
	signer, err := s.signer(ctx)
	if err != nil {
		return nil, err
	}
	outcomes, err := signer.Run(ctx, s.target, jobs, s.format)
	if err != nil {
		return nil, err
	}
	return &Result{
		Image: s.ref.WithDigest(s.image.Digest).String(), Digest: s.image.Digest,
		Signer: signer.Identity(), Outcomes: outcomes, Notes: s.notes,
	}, nil
}

// configure checks everything that can be checked without a connection.
func (s *session) configure() (err error) {
	o := s.o
	switch {
	case o.Key == "" && !o.Keyless:
		return fmt.Errorf("%w: who signs? expected a key or keyless\nhint: cairn key generate makes a key", ErrOptions)
	case o.Key != "" && o.Keyless:
		return fmt.Errorf("%w: a key and keyless: expected one of them", ErrOptions)
	}
	if s.format, err = cosign.ParseFormat(o.Format); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if s.ref, err = target.Parse(o.Image); err != nil {
		return err
	}
	if err := s.configureServices(); err != nil {
		return err
	}
	if o.TrustedRoot != "" {
		s.trust, err = cosign.LoadTrust(o.TrustedRoot)
	}
	return err
}

func (s *session) configureServices() (err error) {
	o := s.o
	s.services = &cosign.Services{}
	switch {
	case o.SigningConfig != "":
		if s.services, err = cosign.LoadServices(o.SigningConfig, time.Now()); err != nil {
			return err
		}
	case !o.NoLog:
		return fmt.Errorf("%w: which transparency log? expected a signing config or no log\nhint: --signing-config names the services; --no-log does without", ErrOptions)
	}
	if o.NoLog {
		s.services.Logs = nil
	}
	if s.format != cosign.Bundle && len(s.services.Logs) > 0 && s.services.Logs[0].Version > 1 {
		s.notes = append(s.notes, "the legacy format has no room for entries of Rekor 2: legacy signatures carry the timestamp only")
	}
	return nil
}

// maxBelow bounds how many images of an index are signed: as many as Verify looks
// at beside the index.
const maxBelow = maxChildren - 1

// find opens the target and lists what is to be signed.
func (s *session) find(ctx context.Context) (err error) {
	if s.target, err = target.Open(ctx, s.ref, s.o.Registry); err != nil {
		return err
	}
	if s.image, err = s.target.Resolve(ctx); err != nil {
		return err
	}
	if !s.image.MediaType.IsIndex() && !s.image.MediaType.IsImage() {
		return fmt.Errorf("%s: media type %q: expected an image or an image index: %w", s.ref, s.image.MediaType, target.ErrMalformed)
	}
	if _, ok := s.ref.Digest(); !ok && !s.ref.IsLayout() {
		s.notes = append(s.notes, fmt.Sprintf("the tag %s named %s, which was signed; tags move, digests do not", s.ref.Tag(), s.image.Digest))
	}
	seen := map[v1.Hash]bool{s.image.Digest: true}
	return s.descend(ctx, s.image, seen, 0)
}

func (s *session) descend(ctx context.Context, parent v1.Descriptor, seen map[v1.Hash]bool, depth int) error {
	children, err := s.target.Children(ctx, parent)
	if err != nil {
		return err
	}
	for _, c := range children {
		if seen[c.Digest] {
			continue
		}
		seen[c.Digest] = true
		if len(s.below) == maxBelow || depth == 4 {
			return fmt.Errorf("%s: more than %d images, or nested too deep: %w", s.ref, maxBelow, target.ErrLimit)
		}
		s.below = append(s.below, v1.Descriptor{MediaType: c.MediaType, Size: c.Size, Digest: c.Digest})
		if err := s.descend(ctx, c, seen, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// name is the repository that statements name.
func (s *session) name() string {
	if s.o.Repository != "" {
		return s.o.Repository
	}
	return s.target.Repository()
}

// jobs lists the statements to sign: signatures first.
func (s *session) jobs(list []Attestation, signImage bool) ([]cosign.Job, error) {
	var jobs []cosign.Job
	all := append([]v1.Descriptor{s.image}, s.below...)
	if signImage {
		for _, subject := range all {
			statement, err := attest.NewSignature(attest.Subject{Name: s.name(), SHA256: subject.Digest.Hex, Annotations: s.o.Annotations})
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, cosign.Job{Subject: subject, Name: s.name(), Statement: statement, PredicateType: attest.Signature,
				Annotations: s.o.Annotations, Image: true})
		}
	}
	for i := range list {
		more, err := s.attestation(&list[i], all)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, more...)
	}
	return jobs, nil
}

func (s *session) attestation(a *Attestation, all []v1.Descriptor) ([]cosign.Job, error) {
	uri, err := attest.TypeURI(a.Type)
	if err != nil {
		return nil, err
	}
	var jobs []cosign.Job
	for i, subject := range all {
		named := subject.Digest == a.Subject || a.Subject == v1.Hash{} && i == 0
		if !named && !a.Children {
			continue
		}
		statement, err := attest.New(attest.Input{
			Subjects:      []attest.Subject{{Name: s.name(), SHA256: subject.Digest.Hex}},
			PredicateType: uri, Predicate: a.Predicate,
		})
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, cosign.Job{Subject: subject, Name: s.name(), Statement: statement, PredicateType: uri})
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%w: attestation of %s: %s has no such image", ErrOptions, a.Subject, s.ref)
	}
	return jobs, nil
}

// signer loads the key, or gets the certificate.
func (s *session) signer(ctx context.Context) (*cosign.Signer, error) {
	c := cosign.Config{Services: s.services, Trust: s.trust, Again: s.o.Again}
	var err error
	if s.o.Keyless {
		c.Token, err = cosign.FindToken(ctx, s.o.Token)
	} else {
		c.Key, err = keys.Load(ctx, s.o.Key, s.o.Keys)
	}
	if err != nil {
		return nil, err
	}
	return cosign.New(ctx, c)
}
