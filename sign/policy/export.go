package policy

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/sign/verify"
)

// Exports lists the formats that Export knows.
var Exports = []string{"kyverno", "policy-controller", "containers-policy"}

// Export spells the signers of a policy for another verifier. Notes say what
// the other one cannot express; where leaving it out would let more images in,
// the exported policy refuses instead.
func (p *Policy) Export(format string) (out []byte, notes []string, err error) {
	x := &exporter{policy: p}
	for _, e := range p.Entries {
		x.unsupported(e)
	}
	switch format {
	case "kyverno":
		out, err = x.kyverno()
	case "policy-controller":
		out, err = x.policyController()
	case "containers-policy":
		out, err = x.containers()
	default:
		return nil, nil, fmt.Errorf("export: unknown format %q, expected %s", format, strings.Join(Exports, ", "))
	}
	return out, x.notes, err
}

type exporter struct {
	policy *Policy
	notes  []string
}

func (x *exporter) note(e *Entry, format string, args ...any) {
	x.notes = append(x.notes, e.Name+": "+fmt.Sprintf(format, args...))
}

// unsupported notes the rules that no other verifier has.
func (x *exporter) unsupported(e *Entry) {
	f := e.file
	for _, r := range []struct {
		set  bool
		name string
	}{
		{f.Provenance != nil, "provenance"}, {f.SBOM != nil, "sbom"}, {f.Packages != nil, "packages"},
		{f.Licenses != nil, "licenses"}, {f.Vulnerabilities != nil, "vulnerabilities"}, {f.MaxAge != "", "maxAge"},
		{f.CompositionProof != nil, "compositionProof"}, {len(f.Rules) > 0, "rules"}, {f.Children != "", "children"},
		{f.Signers != nil && f.Signers.Repository != "", "signers.repository"},
		{len(e.annotations) > 0, "signers.annotations"},
	} {
		if r.set {
			x.note(e, "%s is not exported", r.name)
		}
	}
}

func (k *exporter) pem(key *verify.Key) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public)
	if err != nil {
		panic(err) // it was made of one
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

type m = map[string]any

// documents joins YAML documents.
func documents(list []any) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for _, d := range list {
		if err := enc.Encode(d); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), enc.Close()
}

var unnamed = regexp.MustCompile(`[^a-z0-9]+`)

// objectName makes a Kubernetes name of an entry's.
func objectName(e *Entry, n int) string {
	s := strings.Trim(unnamed.ReplaceAllString(strings.ToLower(e.Name), "-"), "-")
	return strings.Trim(fmt.Sprintf("cairn-%d-%.40s", n, s), "-")
}

// kyverno writes a ClusterPolicy (kyverno.io/v1) with a verifyImages rule per
// entry.
func (x *exporter) kyverno() ([]byte, error) {
	var rules []any
	for i, e := range x.policy.Entries {
		if e.file.Allow {
			x.note(e, "left out: Kyverno lets in what no rule matches")
			continue
		}
		var images []string
		for _, p := range e.match {
			images = append(images, strings.ReplaceAll(p.text, "**", "*"))
		}
		rules = append(rules, m{
			"name":  objectName(e, i),
			"match": m{"any": []any{m{"resources": m{"kinds": []string{"Pod"}}}}},
			"verifyImages": []any{m{
				"imageReferences": images, "failureAction": "Enforce", "required": true,
				"mutateDigest": !e.file.RequireDigest, "verifyDigest": true,
				"attestors": []any{m{"count": e.threshold, "entries": x.kyvernoEntries(e)}},
			}},
		})
	}
	if len(rules) == 0 {
		return nil, errors.New("export: no entry asks for signatures")
	}
	return documents([]any{m{
		"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": m{"name": "cairn"},
		"spec": m{"webhookConfiguration": m{"failurePolicy": "Fail"}, "background": false, "rules": rules},
	}})
}

func (x *exporter) kyvernoEntries(e *Entry) []any {
	var out []any
	for _, s := range e.signers {
		log := m{"ignoreTlog": e.trust.Log == 0, "url": "https://rekor.sigstore.dev"}
		if s.Key != nil {
			out = append(out, m{"keys": m{"publicKeys": x.pem(s.Key), "rekor": log}})
			continue
		}
		id := m{"issuer": s.Identity.Issuer, "rekor": log}
		if s.Identity.Subject != "" {
			id["subject"] = s.Identity.Subject
		} else {
			id["subjectRegExp"] = s.Identity.Pattern()
		}
		out = append(out, m{"keyless": id})
	}
	return out
}

// policyController writes a ClusterImagePolicy (policy.sigstore.dev/v1beta1)
// per entry, or per signer where all must sign.
func (x *exporter) policyController() ([]byte, error) {
	var out []any
	for i, e := range x.policy.Entries {
		var images []any
		for _, p := range e.match {
			images = append(images, m{"glob": p.text})
		}
		authorities := x.authorities(e)
		groups := [][]any{authorities}
		switch {
		case e.file.Allow:
			groups = [][]any{{m{"name": "allow", "static": m{"action": "pass"}}}}
		case e.threshold == len(authorities):
			groups = nil
			for _, a := range authorities {
				groups = append(groups, []any{a})
			}
		case e.threshold > 1:
			x.note(e, "%d of %d signers cannot be expressed; the exported policy refuses", e.threshold, len(authorities))
			groups = [][]any{{m{"name": "deny", "static": m{"action": "fail"}}}}
		}
		for j, g := range groups {
			name := objectName(e, i)
			if len(groups) > 1 {
				name = fmt.Sprintf("%s-%d", name, j)
			}
			out = append(out, m{"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy",
				"metadata": m{"name": name}, "spec": m{"mode": "enforce", "images": images, "authorities": g}})
		}
	}
	return documents(out)
}

func (x *exporter) authorities(e *Entry) []any {
	var out []any
	for i, s := range e.signers {
		a := m{"name": fmt.Sprintf("signer-%d", i)}
		if e.trust.Log > 0 {
			a["ctlog"] = m{"url": "https://rekor.sigstore.dev"}
		}
		if s.Key != nil {
			a["key"] = m{"data": x.pem(s.Key), "hashAlgorithm": "sha256"}
		} else {
			id := m{"issuer": s.Identity.Issuer}
			if s.Identity.Subject != "" {
				id["subject"] = s.Identity.Subject
			} else {
				id["subjectRegExp"] = s.Identity.Pattern()
			}
			a["keyless"] = m{"url": "https://fulcio.sigstore.dev", "identities": []any{id}}
		}
		out = append(out, a)
	}
	return out
}

// containers writes a policy.json (containers-policy.json(5)).
func (x *exporter) containers() ([]byte, error) {
	reject := []any{m{"type": "reject"}}
	file := m{"default": reject}
	scopes := m{}
	for _, e := range x.policy.Entries {
		requirements := reject
		switch {
		case e.file.Allow:
			requirements = []any{m{"type": "insecureAcceptAnything"}}
		default:
			if r := x.sigstoreSigned(e); r != nil {
				requirements = r
			}
		}
		for _, p := range e.match {
			scope, ok := containersScope(p.text)
			switch {
			case !ok:
				x.note(e, "pattern %s cannot be expressed and is left out, so its images are refused", p.text)
			case scope == "":
				file["default"] = requirements
			case scopes[scope] == nil:
				scopes[scope] = requirements
			}
		}
	}
	file["transports"] = m{"docker": scopes}
	b, err := json.MarshalIndent(file, "", "  ")
	return append(b, '\n'), err
}

// sigstoreSigned returns the requirements for an entry: one with all keys where
// one is enough, one per key where all must sign, nil where it cannot be said.
func (x *exporter) sigstoreSigned(e *Entry) []any {
	var keys []string
	for _, s := range e.signers {
		if s.Key == nil {
			x.note(e, "identities are not exported; the exported policy refuses")
			return nil
		}
		keys = append(keys, base64.StdEncoding.EncodeToString([]byte(x.pem(s.Key))))
	}
	one := func(keys ...string) any {
		r := m{"type": "sigstoreSigned", "signedIdentity": m{"type": "matchRepository"}}
		if len(keys) == 1 {
			r["keyData"] = keys[0]
		} else {
			r["keyDatas"] = keys
		}
		return r
	}
	if e.trust.Log > 0 {
		x.note(e, "the transparency log is not exported")
	}
	switch e.threshold {
	case 1:
		return []any{one(keys...)}
	case len(keys):
		var out []any
		for _, k := range keys {
			out = append(out, one(k))
		}
		return out
	}
	x.note(e, "%d of %d signers cannot be expressed; the exported policy refuses", e.threshold, len(keys))
	return nil
}

// containersScope turns a pattern into a scope: a prefix or a repository; empty
// for everything.
func containersScope(p string) (string, bool) {
	if p == "**" {
		return "", true
	}
	scope := strings.TrimSuffix(p, "/**")
	if strings.HasPrefix(scope, "index.docker.io/") {
		scope = strings.TrimPrefix(scope, "index.")
	}
	return scope, !strings.Contains(scope, "*")
}
