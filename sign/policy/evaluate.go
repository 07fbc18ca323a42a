package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/verify"
)

// Contents reads what is in an image. The error wraps fs.ErrNotExist for an
// image without an installed database.
type Contents interface {
	Installed(ctx context.Context, image v1.Hash) ([]apk.InstalledPackage, error)
}

// Prover makes the composition proof of an image. It may rest on the keys, and on
// what accepted provenance (predicates) says of the lock. It returns one line per thing
// that is not proved, none when everything is; the error says that the proof
// could not be made.
type Prover interface {
	Prove(ctx context.Context, subject v1.Hash, keys []repository.Key, provenance []json.RawMessage) (unproved []string, err error)
}

// Input is what is known about an image.
type Input struct {
	// Reference is the image as it was asked for, Repository its repository with
	// the registry ("ghcr.io/acme/app", empty for a layout).
	Reference  string
	Repository string
	// ByDigest says that the reference names a digest.
	ByDigest bool
	// Subjects is the image, and after it the manifests of an index.
	Subjects []Subject
	// Now is what ages are compared with.
	Now      time.Time
	Contents Contents
	Prover   Prover // nil when there is none
}

// Subject is a manifest with what is attached to it.
type Subject struct {
	Digest v1.Hash
	// Platform names a child for people, such as "linux/arm64".
	Platform string
	// Image says that it is an image manifest, not an index.
	Image    bool
	Evidence *evidence.Set
}

// Evaluate applies the entry. The error says that something could not be read;
// everything else is in the verdict.
func (e *Entry) Evaluate(ctx context.Context, in Input) (*verify.Verdict, error) {
	v := &verify.Verdict{Image: in.Reference, Digest: in.Subjects[0].Digest.String(), Policy: e.Name}
	if e.file.Allow {
		v.Add("allow", "", "nothing", "an entry that allows the image unseen", "")
		v.Close()
		return v, nil
	}
	ev := evaluation{Entry: e, in: in, verdict: v}
	for _, s := range in.Subjects {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ev.check(s)
	}
	for _, rule := range []func(context.Context) error{
		ev.reference, ev.signed, ev.ages, ev.children, ev.provenance, ev.sboms,
		ev.contents, ev.vulnerabilities, ev.proof, ev.expressions,
	} {
		if err := rule(ctx); err != nil {
			return nil, err
		}
	}
	v.Close()
	return v, nil
}

// evaluation is one run of an entry.
type evaluation struct {
	*Entry
	in       Input
	verdict  *verify.Verdict
	subjects []checkedSubject
	packages map[v1.Hash][]apk.InstalledPackage
}

// checkedSubject is a subject with its evidence checked.
type checkedSubject struct {
	Subject
	signatures   []verify.Checked // that count
	attestations []verify.Checked // that count
	refused      []verify.Checked
}

func (ev *evaluation) check(s Subject) {
	c := checkedSubject{Subject: s}
	accept := verify.Accept{Signatures: ev.signers, Attestations: ev.attesters}
	for _, item := range s.Evidence.Items {
		got := ev.engine.Check(item, s.Digest, accept)
		if got.Err == nil && got.Kind == verify.KindSignature {
			got.Err = cmp.Or(ev.wrongRepository(got.Repository), ev.wrongAnnotations(got.Annotations))
		}
		ev.verdict.Evidence = append(ev.verdict.Evidence, got.Row(s.Digest.String()))
		switch {
		case got.Err != nil:
			c.refused = append(c.refused, got)
		case got.Kind == verify.KindSignature:
			c.signatures = append(c.signatures, got)
		default:
			c.attestations = append(c.attestations, got)
		}
	}
	ev.verdict.Findings = append(ev.verdict.Findings, s.Evidence.Findings...)
	ev.subjects = append(ev.subjects, c)
}

// wrongRepository is the reason why a signature that names a repository does
// not count for this one.
func (ev *evaluation) wrongRepository(named string) error {
	want := ev.file.Signers.Repository
	if want == "" {
		return nil
	}
	if want == "same" {
		want = ev.in.Repository
	}
	switch {
	case named == "":
		return fmt.Errorf("signature names no repository, expected %s", Repository(want))
	case Repository(named) != Repository(want):
		return fmt.Errorf("signature is for %s, expected %s", Repository(named), Repository(want))
	}
	return nil
}

// wrongAnnotations is the reason why a signature that says these does not count.
func (ev *evaluation) wrongAnnotations(have map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(ev.annotations)) {
		switch got, ok := have[name]; {
		case !ok:
			return fmt.Errorf("signature has no annotation %s, expected %s=%s", name, name, ev.annotations[name])
		case got != ev.annotations[name]:
			return fmt.Errorf("signature has the annotation %s=%s, expected %s=%s", name, got, name, ev.annotations[name])
		}
	}
	return nil
}

func (ev *evaluation) reference(context.Context) error {
	if !ev.file.RequireDigest {
		return nil
	}
	why := ""
	if !ev.in.ByDigest {
		why = "a tag can be moved; write " + ev.digested()
	}
	ev.verdict.Add("requireDigest", "", "a reference with a digest", ev.in.Reference, why)
	return nil
}

func (ev *evaluation) digested() string {
	if ev.in.Repository == "" {
		return "@" + ev.verdict.Digest
	}
	return ev.in.Repository + "@" + ev.verdict.Digest
}

func (ev *evaluation) signed(context.Context) error {
	ev.signedSubject(ev.subjects[0])
	ev.trustRule()
	return nil
}

func (ev *evaluation) signedSubject(s checkedSubject) {
	who := identities(s.signatures)
	why := ""
	if len(who) < ev.threshold {
		why = s.unsigned(len(who), ev.threshold)
	}
	ev.verdict.Add("signers", s.Digest.String(), plural(ev.threshold, "signer")+" of "+signerNames(ev.Entry), found(who), why)
}

func signerNames(e *Entry) string {
	var names []string
	for _, s := range e.signers {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// trustRule says what was relied on, also where that is little.
func (ev *evaluation) trustRule() {
	t := ev.trust
	switch {
	case t.Root == nil:
		ev.verdict.Add("log", "", "nothing: only keys are trusted", "no log was looked at", "")
	case t.Log == 0:
		ev.verdict.Add("log", "", "nothing: signatures in no log are accepted", "no log was looked at", "")
	default:
		// A signature without it does not count, so this rule follows from "signers".
		why := ""
		if len(ev.subjects[0].signatures) == 0 {
			why = "no signature counts, see signers"
		}
		ev.verdict.Add("log", "", plural(t.Log, "transparency log"), "checked with every signature that counts", why)
	}
}

// identities are the distinct ones behind signatures.
func identities(list []verify.Checked) []verify.Checked {
	var out []verify.Checked
	for _, c := range list {
		if !slices.ContainsFunc(out, func(o verify.Checked) bool { return o.Identity == c.Identity }) {
			out = append(out, c)
		}
	}
	return out
}

func found(who []verify.Checked) string {
	if len(who) == 0 {
		return "none"
	}
	var names []string
	for _, c := range who {
		names = append(names, c.Signer)
	}
	return strings.Join(names, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// maxReasons bounds the reasons of one rule; all are in the verdict's evidence.
const maxReasons = 5

// unsigned explains missing signatures.
func (s checkedSubject) unsigned(have, want int) string {
	var reasons []string
	for _, c := range s.refused {
		if c.Kind != verify.KindAttestation {
			reasons = append(reasons, c.Where+": "+c.Err.Error())
		}
	}
	switch n := len(s.attestations); {
	case n > 0 && have == 0 && len(reasons) == 0:
		return fmt.Sprintf("no signature is attached; an attestation is none (%s found)", plural(n, "attestation"))
	case len(s.Evidence.Items) == 0 && len(s.Evidence.Findings) == 0:
		return "no signature is attached"
	case len(reasons) == 0 && len(s.Evidence.Findings) > 0:
		return fmt.Sprintf("found %d of %d; what is attached cannot be used: %s", have, want, s.Evidence.Findings[0])
	case len(reasons) == 0:
		return fmt.Sprintf("found %d of %d", have, want)
	}
	return fmt.Sprintf("found %d of %d; %s", have, want, some(reasons))
}

// some joins the first reasons.
func some(reasons []string) string {
	if n := len(reasons) - maxReasons; n > 0 {
		reasons = append(slices.Clone(reasons[:maxReasons]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(reasons, "; ")
}

func (ev *evaluation) ages(context.Context) error {
	if ev.maxAge == 0 {
		return nil
	}
	var fresh []verify.Checked
	newest, latest := time.Time{}, map[string]time.Time{} // the latter by signer
	for _, c := range ev.subjects[0].signatures {
		at := c.SignedAt()
		if at.After(newest) {
			newest = at
		}
		if !at.IsZero() && ev.in.Now.Sub(at) <= ev.maxAge {
			fresh = append(fresh, c)
			if at.After(latest[c.Identity]) {
				latest[c.Identity] = at
			}
		}
	}
	why, have := "", "no signed time"
	if !newest.IsZero() {
		have = "signed " + newest.Format(time.RFC3339)
	}
	if len(identities(fresh)) < ev.threshold {
		why = fmt.Sprintf("%d of %d signers signed within %s", len(identities(fresh)), ev.threshold, ev.file.MaxAge)
	} else {
		// It fails when too few of the signers are left.
		times := slices.SortedFunc(maps.Values(latest), func(a, b time.Time) int { return b.Compare(a) })
		ev.verdict.Ends(times[ev.threshold-1].Add(ev.maxAge))
	}
	ev.verdict.Add("maxAge", "", "signatures not older than "+ev.file.MaxAge, have, why)
	return nil
}

func (ev *evaluation) children(context.Context) error {
	if ev.file.Children == "" {
		return nil
	}
	for _, s := range ev.subjects[1:] {
		ev.signedSubject(s)
	}
	return nil
}

// statements returns the accepted statements of one of the types about a
// subject.
func (s checkedSubject) statements(types ...string) []verify.Checked {
	var out []verify.Checked
	for _, c := range s.attestations {
		if slices.ContainsFunc(types, func(t string) bool { return predicateIs(c.Statement.PredicateType, t) }) {
			out = append(out, c)
		}
	}
	return out
}

// predicateIs compares predicate types; some writers put a version at the end.
func predicateIs(have, want string) bool {
	return have == want || strings.HasPrefix(have, want+"/v")
}

// without explains a missing statement.
func (s checkedSubject) without(what string) string {
	var reasons []string
	for _, c := range s.refused {
		if c.Kind == verify.KindAttestation {
			reasons = append(reasons, c.Where+": "+c.Err.Error())
		}
	}
	if len(reasons) == 0 {
		return "no " + what + " is attached"
	}
	return "no " + what + " counts; " + some(reasons)
}

// images are the subjects that are images rather than indexes.
func (ev *evaluation) images() []checkedSubject {
	var out []checkedSubject
	for _, s := range ev.subjects {
		if s.Image {
			out = append(out, s)
		}
	}
	return out
}

func (ev *evaluation) proof(ctx context.Context) error {
	if ev.file.CompositionProof == nil {
		return nil
	}
	const required = "a proof of where every byte came from"
	if ev.in.Prover == nil {
		ev.verdict.Add("compositionProof", "", required, "none", "this program cannot make composition proofs here")
		return nil
	}
	var predicates []json.RawMessage
	for _, c := range ev.subjects[0].statements(verify.PredicateProvenance) {
		predicates = append(predicates, c.Statement.Predicate)
	}
	unproved, err := ev.in.Prover.Prove(ctx, ev.in.Subjects[0].Digest, ev.proofKeys, predicates)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, target.ErrUnreachable):
		return err
	case err != nil:
		ev.verdict.Add("compositionProof", "", required, "none", err.Error())
	case len(unproved) > 0:
		ev.verdict.Add("compositionProof", "", required, plural(len(unproved), "gap"), some(unproved))
	default:
		ev.verdict.Add("compositionProof", "", required, "everything is proved", "")
	}
	return nil
}
