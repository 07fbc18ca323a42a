// Package policy says what an image must have to be let in: who signed it, what
// was attested about it, what is in it. A policy is a YAML file that is
// validated whole, with the position of every mistake, before anything is read
// from a registry.
//
// Evaluating is a pure function of the policy and of what is known about the
// image ([Input]); it opens no connection. The one thing it asks for on the way
// is the content of the image and the composition proof, through [Contents] and
// [Prover], and only when a rule needs them.
//
//	p, err := policy.Load("policy.yaml")
//	if err != nil {
//		return err // lists every problem with its position
//	}
//	entry := p.For("ghcr.io/acme/app")
//	verdict, err := entry.Evaluate(ctx, input)
//
// The first entry whose pattern matches decides; an image that no entry matches
// is refused.
package policy

import (
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign/verify"
)

// File is the policy as it is written.
type File struct {
	Version int         `yaml:"version" required:"true" doc:"Version of the format: 1."`
	Images  []EntryFile `yaml:"images" required:"true" doc:"Entries; the first whose pattern matches decides. An image that none matches is refused."`
}

// EntryFile is what is required of the images that it matches.
type EntryFile struct {
	Match            []string           `yaml:"match" required:"true" doc:"Patterns for repositories with their registry, such as ghcr.io/acme/**. * stands for anything within one part of the name, ** for anything."`
	Allow            bool               `yaml:"allow" doc:"Let these images in without looking at them. Nothing else may be set then."`
	Signers          *SignersFile       `yaml:"signers" doc:"Who must have signed."`
	Attesters        *AttestersFile     `yaml:"attesters" doc:"Whose attestations count beside the signers'."`
	Trust            *TrustFile         `yaml:"trust" doc:"Where trust comes from."`
	Provenance       *ProvenanceFile    `yaml:"provenance" doc:"Requires SLSA provenance v1 and says what it must say."`
	SBOM             *SBOMFile          `yaml:"sbom" doc:"Requires an SBOM."`
	Packages         *PackagesFile      `yaml:"packages" doc:"Packages in the image's installed database."`
	Licenses         *LicensesFile      `yaml:"licenses" doc:"Licences of the packages in the installed database."`
	Vulnerabilities  *VulnerabilityFile `yaml:"vulnerabilities" doc:"Requires a signed scan (vuln attestation) and says what it may have found."`
	MaxAge           string             `yaml:"maxAge" format:"duration" doc:"The oldest signature that counts, by its signed time; such as 30d or 12h."`
	RequireDigest    bool               `yaml:"requireDigest" doc:"Refuse references without a digest."`
	Children         string             `yaml:"children" enum:"all" doc:"all: every manifest of an index must be signed as well."`
	CompositionProof *ProofFile         `yaml:"compositionProof" doc:"Require that the origin of every byte is proved, from the registry alone. The lock that accepted provenance names pins the proof."`
	Rules            []RuleFile         `yaml:"rules" doc:"Further conditions, as CEL expressions."`
}

// SignersFile lists whose signatures count.
type SignersFile struct {
	Threshold   int            `yaml:"threshold" min:"1" doc:"How many different keys or identities must have signed; 1 when not given."`
	Keys        []KeyFile      `yaml:"keys" doc:"Public keys."`
	Identities  []IdentityFile `yaml:"identities" doc:"Identities in certificates."`
	Repository  string         `yaml:"repository" doc:"The repository the signature itself must name: same (the one it is in) or a name. Refuses signatures that were copied to another repository, and signatures that name none."`
	Annotations []string       `yaml:"annotations" doc:"What signatures must say beside the image, each as name=value."`
}

// AttestersFile lists whose attestations count.
type AttestersFile struct {
	Keys       []KeyFile      `yaml:"keys" doc:"Public keys."`
	Identities []IdentityFile `yaml:"identities" doc:"Identities in certificates."`
}

// KeyFile is a public key: in a file beside the policy or in it.
type KeyFile struct {
	Name string `yaml:"name" doc:"Name for messages; the file's name when not given."`
	File string `yaml:"file" doc:"Path of a PEM file, from the policy's directory."`
	PEM  string `yaml:"pem" doc:"The key itself."`
}

// IdentityFile is an identity in a Fulcio certificate.
type IdentityFile struct {
	Name           string `yaml:"name" doc:"Name for messages; the subject when not given."`
	Issuer         string `yaml:"issuer" required:"true" doc:"The OpenID Connect issuer, exact."`
	Subject        string `yaml:"subject" doc:"The subject alternative name, exact."`
	SubjectPattern string `yaml:"subjectPattern" doc:"A regular expression (RE2) for the whole subject alternative name."`
}

// TrustFile says where trust comes from and how much is required.
type TrustFile struct {
	Root       string `yaml:"root" doc:"Path of a trusted_root.json, from the policy's directory. Without one only keys are trusted."`
	Log        *int   `yaml:"log" min:"0" doc:"Transparency logs that must hold a signature; 1 when the root lists logs. 0 accepts signatures in no log."`
	Timestamps int    `yaml:"timestamps" min:"0" doc:"RFC 3161 timestamps that a signature must have."`
	SCT        *int   `yaml:"sct" min:"0" doc:"Certificate logs that must hold a certificate; 1 when the root lists some."`
}

// ProvenanceFile says what provenance must say.
type ProvenanceFile struct {
	Builders      []string `yaml:"builders" doc:"Accepted builder ids, exact."`
	BuildTypes    []string `yaml:"buildTypes" doc:"Accepted build types, exact."`
	ConfigSources []string `yaml:"configSources" doc:"Patterns for where the configuration came from, as in match."`
	Repositories  []string `yaml:"repositories" doc:"Patterns for the package repositories that packages may come from, as in match."`
	SigningKeys   []string `yaml:"signingKeys" doc:"SHA-256 fingerprints of the keys that may have signed packages and indexes."`
	DigestPinned  bool     `yaml:"digestPinned" doc:"Every material must have a digest."`
	AllowUnsafe   bool     `yaml:"allowUnsafe" doc:"Accept builds with unsafe flags; they are refused when not given."`
}

// ProofFile says what a composition proof may rest on.
type ProofFile struct {
	Keys []string `yaml:"keys" required:"true" doc:"Paths of the public keys (PEM) that may have signed packages and indexes, from the policy's directory."`
}

// SBOMFile says what SBOM is required.
type SBOMFile struct {
	Format   string `yaml:"format" enum:"spdx,cyclonedx,any" doc:"Format; any when not given."`
	Complete bool   `yaml:"complete" doc:"The SBOM's packages must be exactly those of the installed database in the image."`
}

// PackagesFile says which packages may and must be there.
type PackagesFile struct {
	Forbidden []string `yaml:"forbidden" doc:"Packages that must not be there, such as openssl<3.1."`
	Required  []string `yaml:"required" doc:"Packages that must be there, such as ca-certificates."`
}

// LicensesFile says which licences are accepted.
type LicensesFile struct {
	Allow []string `yaml:"allow" doc:"SPDX identifiers; a package passes when its expression can be met with them."`
	Deny  []string `yaml:"deny" doc:"SPDX identifiers; a package fails when its expression cannot be met without them."`
}

// VulnerabilityFile says what a scan may have found.
type VulnerabilityFile struct {
	MaxSeverity string   `yaml:"maxSeverity" required:"true" enum:"none,low,medium,high,critical" doc:"The highest severity that is accepted."`
	MaxAge      string   `yaml:"maxAge" format:"duration" doc:"How old the scan may be, by its signed time."`
	Ignore      []string `yaml:"ignore" doc:"Identifiers that are accepted whatever their severity."`
}

// RuleFile is a condition in CEL.
type RuleFile struct {
	Name    string `yaml:"name" required:"true" doc:"Name in the verdict."`
	CEL     string `yaml:"cel" required:"true" doc:"Expression over image, statements, sbom, packages and signatures that must be true."`
	Message string `yaml:"message" doc:"What to say when it is not."`
}

// Policy is a policy that was checked and whose files were read.
type Policy struct {
	// Name is the file's name as it was given.
	Name string
	// Hash is the SHA-256 over the policy and every file it names, in hex.
	Hash    string
	Entries []*Entry
}

// Entry is one compiled entry.
type Entry struct {
	file EntryFile
	// Name is the policy's name and the entry's first pattern.
	Name        string
	match       []pattern
	signers     []verify.Signer
	attesters   []verify.Signer
	threshold   int
	annotations map[string]string
	trust       verify.Trust
	engine      *verify.Engine
	maxAge      time.Duration
	scanAge     time.Duration
	sources     []pattern
	repos       []pattern
	forbidden   []apk.Dependency
	required    []apk.Dependency
	rules       []celRule
	proofKeys   []repository.Key
}

// Allow reports whether the entry lets images in without looking at them.
func (e *Entry) Allow() bool { return e.file.Allow }

// For returns the entry for a repository, such as "ghcr.io/acme/app", or nil.
func (p *Policy) For(repository string) *Entry {
	for _, e := range p.Entries {
		for _, m := range e.match {
			if m.match(repository) {
				return e
			}
		}
	}
	return nil
}
