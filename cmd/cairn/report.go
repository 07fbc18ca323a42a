package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/report"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/verify"
)

// reportFlags are the flags of report.
type reportFlags struct {
	html    string
	archs   []string
	signers verifyFlags
	feeds   feedFlags
	storeFlags
	registryFlags
}

func newReport(a *app) *cobra.Command {
	var r reportFlags
	cmd := &cobra.Command{
		Use:   "report IMAGE",
		Short: "Write everything about an image on one page",
		Long: `Write what is in an image, and what is attached to it, as one HTML page that
needs nothing else: layers with sizes and owners, packages, files, licences,
configuration, provenance, signatures.

IMAGE is in a registry, in an OCI layout (DIR/), or in an OCI or docker archive.

Signatures are verified only where a policy or signers are given, by the flags
that cairn verify has; the page says "not checked" otherwise. The exit code does
not tell the verdict: cairn verify decides. docs/report.md describes the page
and the JSON form.`,
		Example: "  cairn report --html out.html registry.example/team/app:1\n  cairn report --html out.html --key cosign.pub out/\n" +
			"  cairn report --format json app.tar",
		Args: args(1, 1, "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), a, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.html, "html", "", "the `file` to write the page to; - is standard output")
	f.StringSliceVar(&r.archs, "arch", nil, "`architectures` to report, as in x86_64,arm64 (default: all)")
	r.signers.registerSigners(cmd)
	r.feeds.register(cmd)
	r.storeFlags.registerDir(cmd)
	r.registryFlags.register(cmd)
	return cmd
}

func (r *reportFlags) run(ctx context.Context, a *app, name string) error {
	s, err := subject.Open(ctx, name, r.subject(a))
	if err != nil {
		return err
	}
	defer s.Close()
	if s.Lock != nil {
		return usageError{fmt.Errorf("%s: a lock, expected an image", name)}
	}
	out, err := r.report(ctx, a, s)
	if err != nil {
		return err
	}
	if r.html != "-" {
		if err := render(a.std.out, format(a.format), out, nil, func(w io.Writer) error { return printReport(w, out) }); err != nil || r.html == "" {
			return err
		}
	}
	var page bytes.Buffer
	if err := out.WriteHTML(&page); err != nil {
		return err
	}
	if r.html == "-" {
		_, err := a.std.out.Write(page.Bytes())
		return err
	}
	if err := writeFileAtomic(a.at(r.html), page.Bytes(), 0o644); err != nil {
		return err
	}
	if !a.quiet {
		fmt.Fprintf(a.std.err, "wrote %s\n", r.html)
	}
	return nil
}

// report reads the image, what is attached to it, and the verdict.
func (r *reportFlags) report(ctx context.Context, a *app, s *subject.Subject) (*report.Report, error) {
	platforms, err := r.platforms(s)
	if err != nil {
		return nil, err
	}
	verdict, err := r.verdict(ctx, a, s)
	if err != nil {
		return nil, err
	}
	out, err := report.New(ctx, s, platforms...)
	if err != nil {
		return nil, err
	}
	if err := r.addAdvisories(ctx, a, s, out); err != nil {
		return nil, err
	}
	if s.Target() == nil {
		return out, nil
	}
	if err := attachments(ctx, s, out, verdict); err != nil {
		return nil, err
	}
	if verdict != nil {
		out.Signatures = signaturesOf(verdict, out.Signatures.Found)
	}
	return out, nil
}

func (r *reportFlags) platforms(s *subject.Subject) ([]string, error) {
	var out, there []string
	for i := range s.Images {
		there = append(there, s.Images[i].PlatformText())
	}
	for _, arch := range r.archs {
		name := subject.PlatformText(*config.ParseArchitecture(arch).ToOCIPlatform())
		if !slices.Contains(there, name) {
			return nil, usageError{fmt.Errorf("--arch: found %q, expected one of %v", arch, there)}
		}
		out = append(out, name)
	}
	return out, nil
}

// asked tells whether somebody said whose signatures count.
func (r *reportFlags) asked() bool {
	v := &r.signers
	return v.policy != "" || len(v.keys)+len(v.identities)+len(v.patterns) > 0
}

// verdict verifies the image that was opened, by its digest; nil where nobody
// asked.
func (r *reportFlags) verdict(ctx context.Context, a *app, s *subject.Subject) (*verify.Verdict, error) {
	v := &r.signers
	if !r.asked() {
		if v.trustedRoot != "" || v.noLog || v.children || len(v.says) > 0 || v.timestamps != 0 || v.maxAge != 0 || v.threshold != 1 || v.issuer != "" || v.as != "" {
			return nil, usageError{errors.New("a requirement without signers: expected --policy, --key or --identity with it")}
		}
		return nil, nil
	}
	if s.Target() == nil {
		return nil, usageError{fmt.Errorf("%s: an archive, in which signatures cannot be verified: expected a registry or an OCI layout", s.Name)}
	}
	v.plainHTTP = r.plainHTTP
	o, err := v.options(a)
	if err != nil {
		return nil, err
	}
	ref := s.Target().Ref()
	_, pinned := ref.Digest()
	o.Tagged = !pinned
	return sign.Verify(ctx, ref.WithDigest(s.Descriptor.Digest).String(), o)
}

// attachments adds what is attached to the image and the images in it.
func attachments(ctx context.Context, s *subject.Subject, out *report.Report, verdict *verify.Verdict) error {
	subjects := []v1.Hash{s.Descriptor.Digest}
	for i := range s.Images {
		if !slices.Contains(subjects, s.Images[i].Digest) {
			subjects = append(subjects, s.Images[i].Digest)
		}
	}
	for _, h := range subjects {
		digest := h.String()
		found, err := sign.Attached(ctx, s.Target(), h)
		if err != nil {
			return err
		}
		out.Signatures.Found += found.Signatures
		out.Notes = append(out.Notes, found.Problems...)
		for i := range found.Statements {
			x := &found.Statements[i]
			out.Attest(digest, x.PredicateType, x.Predicate, report.Place{Format: x.Format, Where: x.Where}, counts(verdict, digest, x.Where))
		}
	}
	return nil
}

// counts tells whether a verdict accepted a piece of evidence.
func counts(v *verify.Verdict, subject, where string) bool {
	if v == nil {
		return false
	}
	for _, e := range v.Evidence {
		if e.Counts && e.Subject == subject && e.Where == where {
			return true
		}
	}
	return false
}

// signaturesOf says a verdict in the report's terms.
func signaturesOf(v *verify.Verdict, found int) report.Signatures {
	out := report.Signatures{Found: found, Checked: true, Outcome: string(v.Outcome), Policy: v.Policy}
	for _, r := range v.Rules {
		out.Rules = append(out.Rules, report.Rule{Rule: r.Rule, Required: r.Required, Found: r.Found, Passed: r.Passed, Why: r.Why})
	}
	for _, e := range v.Evidence {
		kind := string(e.Kind)
		if e.PredicateType != "" {
			kind = e.PredicateType
		}
		out.Evidence = append(out.Evidence, report.Evidence{Where: e.Where, Kind: kind, Signer: e.Signer, SignedAt: e.SignedAt, Counts: e.Counts, Why: e.Why})
	}
	return out
}

func printReport(w io.Writer, r *report.Report) error {
	fmt.Fprintf(w, "%s %s\n", report.Clean(r.Image.Name), r.Image.Digest)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PLATFORM\tSYSTEM\tPULL\tUNPACKED\tLAYERS\tPACKAGES\tPATHS\tLICENCES")
	for i := range r.Platforms {
		p := &r.Platforms[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", p.Platform, report.Clean(p.System), bytesText(p.Size), bytesText(p.Inflated),
			len(p.Layers), len(p.Packages), len(p.Files), len(p.Licenses))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	verdict := "not checked"
	if r.Signatures.Checked {
		verdict = r.Signatures.Outcome
	}
	advisories := "not looked at"
	if r.Advisories.Looked {
		advisories = fmt.Sprintf("%d found", r.Advisories.Found())
		if r.Advisories.Found() == 0 && !r.Advisories.Clean() {
			advisories += ", not everything was looked at"
		}
	}
	_, err := fmt.Fprintf(w, "signatures: %s; attestations: %d found; advisories: %s\n", verdict, len(r.Attestations), advisories)
	return err
}
