package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"sort"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/sign/verify"
)

// sboms applies the sbom rule to every image.
func (ev *evaluation) sboms(ctx context.Context) error {
	rule := ev.file.SBOM
	if rule == nil {
		return nil
	}
	types := map[string][]string{
		"spdx": {verify.PredicateSPDX}, "cyclonedx": {verify.PredicateCycloneDX},
	}[rule.Format]
	required := strings.TrimSpace(map[string]string{"spdx": "an SPDX", "cyclonedx": "a CycloneDX"}[rule.Format] + " SBOM")
	if types == nil {
		types, required = []string{verify.PredicateSPDX, verify.PredicateCycloneDX}, "an SBOM"
	}
	if rule.Complete {
		required += " with the packages of the installed database"
	}
	for _, s := range ev.images() {
		have := s.statements(types...)
		if len(have) == 0 {
			ev.verdict.Add("sbom", s.Digest.String(), required, "none", s.without("SBOM"))
			continue
		}
		why := ""
		if rule.Complete {
			var err error
			if why, err = ev.incomplete(ctx, s, have); err != nil {
				return err
			}
		}
		ev.verdict.Add("sbom", s.Digest.String(), required, plural(different(have), "SBOM"), why)
	}
	return nil
}

// different counts the predicates: most are attached in both formats.
func different(list []verify.Checked) int {
	seen := map[string]bool{}
	for _, c := range list {
		seen[string(c.Statement.Predicate)] = true
	}
	return len(seen)
}

// incomplete compares SBOMs with the installed database; one that fits is
// enough.
func (ev *evaluation) incomplete(ctx context.Context, s checkedSubject, have []verify.Checked) (string, error) {
	installed, why, err := ev.installed(ctx, s.Digest)
	if err != nil || why != "" {
		return why, err
	}
	want := map[string]bool{}
	for _, p := range installed {
		want[p.Name+"-"+p.Version] = true
	}
	var reasons []string
	for _, c := range have {
		listed, err := sbomPackages(c.Statement.Predicate)
		if err != nil {
			reasons = append(reasons, c.Where+": "+err.Error())
			continue
		}
		if d := difference(want, listed); d != "" {
			reasons = append(reasons, c.Where+": "+d)
			continue
		}
		return "", nil
	}
	return some(reasons), nil
}

// difference says what one set lacks of the other.
func difference(installed, listed map[string]bool) string {
	var parts []string
	for _, d := range []struct {
		a, b map[string]bool
		text string
	}{{installed, listed, "does not list "}, {listed, installed, "lists what is not installed: "}} {
		var names []string
		for n := range d.a {
			if !d.b[n] {
				names = append(names, n)
			}
		}
		if len(names) > 0 {
			sort.Strings(names)
			parts = append(parts, d.text+some(names))
		}
	}
	return strings.Join(parts, "; ")
}

// sbomPackages returns "name-version" of the APK packages that an SPDX or
// CycloneDX document lists, by their package URLs.
func sbomPackages(predicate json.RawMessage) (map[string]bool, error) {
	var doc struct {
		Packages []struct {
			ExternalRefs []struct {
				ReferenceType    string `json:"referenceType"`
				ReferenceLocator string `json:"referenceLocator"`
			} `json:"externalRefs"`
		} `json:"packages"`
		Components []struct {
			PURL string `json:"purl"`
		} `json:"components"`
	}
	var text string // cosign's types spdx and cyclonedx may hold the document as a text
	if json.Unmarshal(predicate, &text) == nil {
		predicate = json.RawMessage(text)
	}
	if err := json.Unmarshal(predicate, &doc); err != nil {
		return nil, fmt.Errorf("predicate: %w", err)
	}
	out := map[string]bool{}
	for _, p := range doc.Packages {
		for _, r := range p.ExternalRefs {
			if r.ReferenceType == "purl" {
				addPURL(out, r.ReferenceLocator)
			}
		}
	}
	for _, c := range doc.Components {
		addPURL(out, c.PURL)
	}
	return out, nil
}

// addPURL takes "name-version" from pkg:apk/NAMESPACE/NAME@VERSION?….
func addPURL(to map[string]bool, purl string) {
	rest, ok := strings.CutPrefix(purl, "pkg:apk/")
	if !ok {
		return
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	rest = rest[strings.LastIndexByte(rest, '/')+1:]
	name, version, _ := strings.Cut(rest, "@")
	n, errN := url.PathUnescape(name)
	v, errV := url.PathUnescape(version)
	if errN == nil && errV == nil {
		to[n+"-"+v] = true
	}
}

// installed reads an image's installed database once. The text is the reason
// when there is none.
func (ev *evaluation) installed(ctx context.Context, image v1.Hash) ([]apk.InstalledPackage, string, error) {
	if list, ok := ev.packages[image]; ok {
		return list, "", nil
	}
	if ev.in.Contents == nil {
		return nil, "the image's content cannot be read here", nil
	}
	list, err := ev.in.Contents.Installed(ctx, image)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "the image has no installed database", nil
	case errors.Is(err, apk.ErrInstalled):
		return nil, err.Error(), nil
	case err != nil:
		return nil, "", err
	}
	if ev.packages == nil {
		ev.packages = map[v1.Hash][]apk.InstalledPackage{}
	}
	ev.packages[image] = list
	return list, "", nil
}

// contents applies the rules about packages and licences.
func (ev *evaluation) contents(ctx context.Context) error {
	if ev.file.Packages == nil && ev.file.Licenses == nil {
		return nil
	}
	for _, s := range ev.images() {
		list, why, err := ev.installed(ctx, s.Digest)
		if err != nil {
			return err
		}
		have := plural(len(list), "package")
		if f := ev.file.Packages; f != nil {
			reason := why
			if reason == "" {
				reason = ev.packageProblems(list)
			}
			ev.verdict.Add("packages", s.Digest.String(), packagesText(f), have, reason)
		}
		if f := ev.file.Licenses; f != nil {
			reason := why
			if reason == "" {
				reason = licenseProblems(f, list)
			}
			ev.verdict.Add("licenses", s.Digest.String(), licensesText(f), have, reason)
		}
	}
	return nil
}

func packagesText(f *PackagesFile) string {
	var parts []string
	if len(f.Required) > 0 {
		parts = append(parts, strings.Join(f.Required, ", "))
	}
	if len(f.Forbidden) > 0 {
		parts = append(parts, "none of "+strings.Join(f.Forbidden, ", "))
	}
	return strings.Join(parts, "; ")
}

func licensesText(f *LicensesFile) string {
	var parts []string
	if len(f.Allow) > 0 {
		parts = append(parts, "only "+strings.Join(f.Allow, ", "))
	}
	if len(f.Deny) > 0 {
		parts = append(parts, "none of "+strings.Join(f.Deny, ", "))
	}
	return strings.Join(parts, "; ")
}

func (ev *evaluation) packageProblems(list []apk.InstalledPackage) string {
	var reasons []string
	for _, d := range ev.forbidden {
		for i := range list {
			if d.MatchesPackage(&list[i].Package) {
				reasons = append(reasons, fmt.Sprintf("%s-%s is forbidden (%s)", list[i].Name, list[i].Version, d))
			}
		}
	}
	for _, d := range ev.required {
		if !slices.ContainsFunc(list, func(p apk.InstalledPackage) bool { return d.MatchesPackage(&p.Package) }) {
			reasons = append(reasons, d.String()+" is missing")
		}
	}
	return some(reasons)
}

func licenseProblems(f *LicensesFile, list []apk.InstalledPackage) string {
	in := func(set []string) func(string) bool {
		return func(id string) bool {
			return slices.ContainsFunc(set, func(s string) bool { return strings.EqualFold(s, id) })
		}
	}
	var reasons []string
	for _, p := range list {
		name := p.Name + "-" + p.Version
		switch {
		case p.License == "" && len(f.Allow) > 0:
			reasons = append(reasons, name+" declares no licence")
		case len(f.Allow) > 0 && !licenseMet(p.License, in(f.Allow)):
			reasons = append(reasons, name+" is "+p.License)
		case len(f.Deny) > 0 && !licenseMet(p.License, func(id string) bool { return !in(f.Deny)(id) }):
			reasons = append(reasons, name+" is "+p.License)
		}
	}
	return some(reasons)
}

// expressions applies the CEL rules.
func (ev *evaluation) expressions(ctx context.Context) error {
	if len(ev.rules) == 0 {
		return nil
	}
	vars, why, err := ev.variables(ctx)
	if err != nil {
		return err
	}
	for _, r := range ev.rules {
		reason := why
		if reason == "" {
			reason = r.evaluate(ctx, vars)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		outcome := "true"
		if reason != "" {
			outcome = "not true"
		}
		ev.verdict.Add("rules."+r.name, "", r.text, outcome, reason)
	}
	return nil
}

// sbomTypes in the order in which the variable sbom takes them: the first SPDX
// document, a CycloneDX one where there is none.
var sbomTypes = []string{verify.PredicateSPDX, verify.PredicateCycloneDX}

// variables are what expressions see. Statements and signatures are only those
// that count.
func (ev *evaluation) variables(ctx context.Context) (map[string]any, string, error) {
	vars := map[string]any{
		"image": map[string]any{
			"reference": ev.in.Reference, "repository": ev.in.Repository, "digest": ev.verdict.Digest,
		},
		"sbom": map[string]any{},
	}
	best := len(sbomTypes)
	statements, signatures, packages := []any{}, []map[string]string{}, []map[string]string{}
	for _, s := range ev.subjects {
		for _, c := range s.attestations {
			var predicate any
			if err := json.Unmarshal(c.Statement.Predicate, &predicate); err != nil {
				return nil, c.Where + ": predicate: " + err.Error(), nil
			}
			statements = append(statements, map[string]any{
				"subject": s.Digest.String(), "predicateType": c.Statement.PredicateType, "predicate": predicate,
				"signer": c.Signer, "identity": c.Identity, "signedAt": c.Row("").SignedAt,
			})
			if rank := slices.IndexFunc(sbomTypes, func(t string) bool { return predicateIs(c.Statement.PredicateType, t) }); rank >= 0 && rank < best {
				vars["sbom"], best = predicate, rank
			}
		}
		for _, c := range s.signatures {
			signatures = append(signatures, map[string]string{
				"subject": s.Digest.String(), "signer": c.Signer, "identity": c.Identity,
				"signedAt": c.Row("").SignedAt, "format": string(c.Format),
			})
		}
	}
	if slices.ContainsFunc(ev.rules, func(r celRule) bool { return strings.Contains(r.text, "packages") }) {
		for _, s := range ev.images() {
			list, why, err := ev.installed(ctx, s.Digest)
			if err != nil || why != "" {
				return nil, why, err
			}
			for _, p := range list {
				packages = append(packages, map[string]string{"image": s.Digest.String(), "name": p.Name,
					"version": p.Version, "arch": p.Arch, "origin": p.SourceName(), "license": p.License})
			}
		}
	}
	vars["statements"], vars["signatures"], vars["packages"] = statements, signatures, packages
	return vars, "", nil
}
