package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/cairn-dev/cairn/sign/verify"
)

// slsa is as much of SLSA provenance v1 as the rules look at.
type slsa struct {
	BuildDefinition struct {
		BuildType            string                     `json:"buildType"`
		ExternalParameters   map[string]json.RawMessage `json:"externalParameters"`
		ResolvedDependencies []material                 `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// material is one resolved dependency.
type material struct {
	Name             string            `json:"name"`
	URI              string            `json:"uri"`
	DownloadLocation string            `json:"downloadLocation"`
	Digest           map[string]string `json:"digest"`
	Annotations      map[string]any    `json:"annotations"`
}

// provenance applies the rule to the image itself, or to each manifest of an
// index that has none of its own.
func (ev *evaluation) provenance(context.Context) error {
	if ev.file.Provenance == nil {
		return nil
	}
	subjects := ev.subjects[:1]
	has := func(s checkedSubject) bool { return len(s.statements(verify.PredicateProvenance)) > 0 }
	if !has(ev.subjects[0]) && slices.ContainsFunc(ev.subjects[1:], has) {
		subjects = ev.subjects[1:]
	}
	for _, s := range subjects {
		have := s.statements(verify.PredicateProvenance)
		found, why := "none", ""
		if len(have) == 0 {
			why = s.without("SLSA provenance v1")
		} else {
			found, why = ev.provenanceOf(have)
		}
		ev.verdict.Add("provenance", s.Digest.String(), ev.provenanceText(), found, why)
	}
	return nil
}

// provenanceOf looks for a statement that meets every condition.
func (ev *evaluation) provenanceOf(have []verify.Checked) (found, why string) {
	var reasons []string
	for _, c := range have {
		var p slsa
		if err := json.Unmarshal(c.Statement.Predicate, &p); err != nil {
			reasons = append(reasons, c.Where+": predicate: "+err.Error())
			continue
		}
		found = "builder " + p.RunDetails.Builder.ID
		problems := ev.provenanceProblems(&p)
		if len(problems) == 0 {
			return found, ""
		}
		reasons = append(reasons, c.Where+": "+some(problems))
	}
	return found, some(reasons)
}

func (ev *evaluation) provenanceText() string {
	f := ev.file.Provenance
	text := "SLSA provenance v1"
	for _, part := range []struct {
		what string
		list []string
	}{{"builder", f.Builders}, {"build type", f.BuildTypes}, {"configuration", f.ConfigSources},
		{"repositories", f.Repositories}, {"signing keys", f.SigningKeys}} {
		if len(part.list) > 0 {
			text += "; " + part.what + " " + strings.Join(part.list, ", ")
		}
	}
	if f.DigestPinned {
		text += "; digests of all materials"
	}
	if !f.AllowUnsafe {
		text += "; no unsafe flags"
	}
	return text
}

func (ev *evaluation) provenanceProblems(p *slsa) []string {
	f := ev.file.Provenance
	var out []string
	if id := p.RunDetails.Builder.ID; len(f.Builders) > 0 && !slices.Contains(f.Builders, id) {
		out = append(out, fmt.Sprintf("builder is %q", id))
	}
	if t := p.BuildDefinition.BuildType; len(f.BuildTypes) > 0 && !slices.Contains(f.BuildTypes, t) {
		out = append(out, fmt.Sprintf("build type is %q", t))
	}
	if len(ev.sources) > 0 {
		if s := configSource(p); !matchAny(ev.sources, s) {
			out = append(out, fmt.Sprintf("configuration is from %q", s))
		}
	}
	if !f.AllowUnsafe {
		if u := unsafeFlags(p); len(u) > 0 {
			out = append(out, "built with "+strings.Join(u, ", "))
		}
	}
	for _, m := range p.BuildDefinition.ResolvedDependencies {
		out = append(out, ev.materialProblems(m)...)
	}
	return out
}

func (ev *evaluation) materialProblems(m material) []string {
	f := ev.file.Provenance
	var out []string
	if f.DigestPinned && !m.pinned() {
		out = append(out, m.text()+" has no digest")
	}
	if m.kind() == "" {
		return out
	}
	if r := m.repository(); len(ev.repos) > 0 && !matchAny(ev.repos, strings.TrimSuffix(r, "/")) {
		out = append(out, fmt.Sprintf("%s is from %q", m.text(), r))
	}
	if k := m.annotation("signingKeySha256"); len(f.SigningKeys) > 0 && !hasKey(f.SigningKeys, k) {
		out = append(out, fmt.Sprintf("%s is signed by key %q", m.text(), k))
	}
	return out
}

func hasKey(list []string, key string) bool {
	bare := func(s string) string { return strings.ToLower(strings.TrimPrefix(s, "sha256:")) }
	return key != "" && slices.ContainsFunc(list, func(k string) bool { return bare(k) == bare(key) })
}

// pinned reports whether a strong digest is given.
func (m material) pinned() bool {
	for _, alg := range []string{"sha256", "sha512", "gitCommit", "sha384"} {
		if m.Digest[alg] != "" {
			return true
		}
	}
	return false
}

// kind is "package" or "index" for what repositories deliver, empty for other
// materials.
func (m material) kind() string {
	switch k := m.annotation("kind"); {
	case k == "package" || k == "index":
		return k
	case strings.HasPrefix(m.URI, "pkg:apk/"):
		return "package"
	case strings.HasSuffix(m.URI, "/APKINDEX.tar.gz"):
		return "index"
	}
	return ""
}

// repository is where a package or an index came from.
func (m material) repository() string {
	if r := m.annotation("repository"); r != "" {
		return r
	}
	location := m.DownloadLocation
	if m.kind() == "index" {
		location = m.URI
	}
	// REPOSITORY/ARCH/FILE
	for range 2 {
		location = location[:max(0, strings.LastIndexByte(location, '/'))]
	}
	return location
}

func (m material) annotation(names ...string) string {
	for _, n := range names {
		if s, ok := m.Annotations[n].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

func (m material) text() string {
	if m.URI != "" {
		return m.URI
	}
	return m.Name
}

// configSource is where the configuration came from: the external parameter
// source ("URL@REVISION"), or the "uri" of config or source where another
// builder has an object there.
func configSource(p *slsa) string {
	for _, name := range []string{"source", "config"} {
		raw := p.BuildDefinition.ExternalParameters[name]
		var s string
		if json.Unmarshal(raw, &s) == nil && s != "" {
			return s
		}
		var o struct {
			URI string `json:"uri"`
		}
		if json.Unmarshal(raw, &o) == nil && o.URI != "" {
			return o.URI
		}
	}
	return ""
}

// unsafeFlags are the unsafe choices that provenance records: flags.unsafe among
// the external parameters, a list of names, and what other builders may call so:
// parameters and flags whose names begin with "unsafe".
func unsafeFlags(p *slsa) []string {
	out := unsafeIn(p.BuildDefinition.ExternalParameters)
	var flags map[string]json.RawMessage
	if json.Unmarshal(p.BuildDefinition.ExternalParameters["flags"], &flags) == nil {
		out = append(out, unsafeIn(flags)...)
	}
	sort.Strings(out)
	return out
}

func unsafeIn(parameters map[string]json.RawMessage) []string {
	var out []string
	for name, raw := range parameters {
		if !strings.HasPrefix(name, "unsafe") {
			continue
		}
		var list []string
		var set map[string]any
		var value any
		switch {
		case json.Unmarshal(raw, &list) == nil:
			out = append(out, list...)
		case json.Unmarshal(raw, &set) == nil:
			for k, v := range set {
				if v != false && v != nil {
					out = append(out, k)
				}
			}
		case json.Unmarshal(raw, &value) == nil && value != false && value != nil && value != "":
			out = append(out, name)
		}
	}
	return out
}
