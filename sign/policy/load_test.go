package policy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
)

// entry puts lines into a policy that is otherwise in order.
func entry(lines string) string {
	return "version: 1\nimages:\n  - match: [\"**\"]\n    signers: {keys: [{file: cosign.pub}]}\n    trust: {log: 0}\n" + lines
}

func policyDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"cosign.pub": evidencetest.NewKey().PEM(), "bad.pub": []byte("x"), "root.json": evidencetest.NewAuthority().RootJSON(true), "bad.json": []byte("{"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBadPolicies(t *testing.T) {
	dir := policyDir(t)
	const signers = "version: 1\nimages:\n  - match: [\"**\"]\n    "
	cases := []struct{ name, text, want string }{
		{"empty", "", "p.yaml:1:1: policy: empty: found no key, expected version and images"},
		{"not YAML", "version: [", "p.yaml:1:1: policy: not YAML: did not find expected node content"},
		{"a list", "- 1", "p.yaml:1:1: policy: wrong type: found a list, expected a mapping"},
		{"two documents", "version: 1\nimages: [{match: [a], allow: true}]\n---\na: 1\n", "p.yaml:4:1: policy: second YAML document: found one more after \"---\", expected one"},
		{"no images", "version: 1", "p.yaml:1:1: images: missing: expected images here"},
		{"version", "version: 2\nimages: [{match: [a], allow: true}]", "p.yaml:1:10: version: unknown version: found 2, expected 1"},
		{"version as text", "version: \"1\"\nimages: [{match: [a], allow: true}]", "p.yaml:1:10: version: wrong type: found \"1\", expected a whole number"},
		{"no entry", "version: 1\nimages: []", "p.yaml:2:9: images: empty: expected at least one entry\n  hint: an image that no entry matches is refused"},
		{"unknown key", entry("    sboms: {}\n"), "p.yaml:6:5: images[0].sboms: unknown key: expected one of match, allow, signers, attesters, trust, provenance, sbom, packages, licenses, vulnerabilities, maxAge, requireDigest, children, compositionProof, rules\n  hint: did you mean sbom?"},
		{"duplicate key", entry("    trust: {log: 0}\n"), "p.yaml:6:5: images[0].trust: duplicate key: already set in line 5"},
		{"wrong type", entry("    requireDigest: maybe\n"), "p.yaml:6:20: images[0].requireDigest: wrong type: found \"maybe\", expected true or false"},
		{"wrong enum", entry("    sbom: {format: spdy}\n"), "p.yaml:6:20: images[0].sbom.format: unknown value: found \"spdy\", expected spdx, cyclonedx, any\n  hint: did you mean spdx?"},
		{"empty pattern", "version: 1\nimages: [{match: [\"\"], allow: true}]", "p.yaml:2:19: images[0].match[0]: not a pattern: found an empty pattern"},
		{"no pattern", "version: 1\nimages: [{match: [], allow: true}]", "p.yaml:2:18: images[0].match: empty: expected at least one pattern\n  hint: \"**\" matches every image"},
		{"allow and more", "version: 1\nimages: [{match: [a], allow: true, requireDigest: true}]", "p.yaml:2:30: images[0].allow: conflict: found conditions beside allow: true, expected none\n  hint: remove allow to have the conditions checked"},
		{"no signers", signers + "requireDigest: true\n    trust: {log: 0}", "p.yaml:3:5: images[0]: no signers: expected signers, or allow: true\n  hint: a policy that asks for no signature proves nothing; statements count by who signed them"},
		{"empty signers", signers + "signers: {}\n    trust: {log: 0}", "p.yaml:4:14: images[0].signers: empty: expected keys or identities"},
		{"threshold", signers + "signers: {threshold: 2, keys: [{file: cosign.pub}]}\n    trust: {log: 0}", "p.yaml:4:26: images[0].signers.threshold: cannot be met: found 2, and 1 signers"},
		{"threshold 0", signers + "signers: {threshold: 0, keys: [{file: cosign.pub}]}\n    trust: {log: 0}", "p.yaml:4:26: images[0].signers.threshold: too small: found 0, expected 1 or more"},
		{"one key twice", signers + "signers: {threshold: 2, keys: [{file: cosign.pub}, {file: cosign.pub}]}\n    trust: {log: 0}", "p.yaml:4:56: images[0].signers.keys[1]: duplicate key: found {key} again"},
		{"missing key file", signers + "signers: {keys: [{file: none.pub}]}\n    trust: {log: 0}", "p.yaml:4:29: images[0].signers.keys[0].file: cannot be read: {dir}/none.pub: no such file or directory"},
		{"bad key file", signers + "signers: {keys: [{file: bad.pub}]}\n    trust: {log: 0}", "p.yaml:4:22: images[0].signers.keys[0]: bad key: not a public key: found no PEM block"},
		{"file and pem", signers + "signers: {keys: [{file: cosign.pub, pem: x}]}\n    trust: {log: 0}", "p.yaml:4:22: images[0].signers.keys[0]: bad key: expected one of file and pem"},
		{"no trusted root", signers + "signers: {keys: [{file: cosign.pub}]}", "p.yaml:3:5: images[0].trust: no trusted root: expected root, or log: 0 to accept signatures that are in no transparency log\n  hint: without a log a stolen key signs unseen"},
		{"log without root", signers + "signers: {keys: [{file: cosign.pub}]}\n    trust: {log: 1}", "p.yaml:5:18: images[0].trust.log: cannot be met: there is no trusted root to check it with\n  hint: set trust.root"},
		{"identity without root", signers + "signers: {identities: [{issuer: \"https://i\", subject: a}]}\n    trust: {log: 0}", "p.yaml:4:27: images[0].signers.identities: no trusted root: certificates cannot be checked without one\n  hint: set trust.root"},
		{"issuer missing", signers + "signers: {identities: [{subject: a}]}\n    trust: {root: root.json}", "p.yaml:4:28: images[0].signers.identities[0].issuer: missing: expected issuer here"},
		{"issuer a pattern", signers + "signers: {identities: [{issuer: \".*\", subject: a}]}\n    trust: {root: root.json}", "p.yaml:4:28: images[0].signers.identities[0]: bad identity: issuer \".*\" looks like a pattern, expected the exact issuer"},
		{"everybody", signers + "signers: {identities: [{issuer: \"https://i\", subjectPattern: \".*\"}]}\n    trust: {root: root.json}", "p.yaml:4:28: images[0].signers.identities[0]: bad identity: pattern \".*\" matches everybody"},
		{"bad root", signers + "signers: {keys: [{file: cosign.pub}]}\n    trust: {root: bad.json}", "p.yaml:5:19: images[0].trust.root: not a trusted root: {dir}/bad.json: not a trusted root: proto: unexpected EOF"},
		{"bad annotation", strings.Replace(entry(""), "signers: {", "signers: {annotations: [env], ", 1), "p.yaml:4:29: images[0].signers.annotations[0]: not an annotation: found \"env\", expected name=value"},
		{"annotation twice", strings.Replace(entry(""), "signers: {", "signers: {annotations: [env=a, env=b], ", 1), "p.yaml:4:36: images[0].signers.annotations[1]: duplicate annotation: found \"env\" again"},
		{"age without root", entry("    maxAge: 30d\n"), "p.yaml:6:13: images[0].maxAge: cannot be met: without a trusted root there is no signed time\n  hint: set trust.root"},
		{"bad age", entry("    vulnerabilities: {maxSeverity: low, maxAge: 3 weeks}\n"), "p.yaml:6:49: images[0].vulnerabilities.maxAge: not a duration: found \"3 weeks\", expected a positive one such as 30d or 12h"},
		{"no severity", entry("    vulnerabilities: {}\n"), "p.yaml:6:22: images[0].vulnerabilities.maxSeverity: missing: expected maxSeverity here"},
		{"bad package", entry("    packages: {forbidden: [\"a<\"]}\n"), "p.yaml:6:28: images[0].packages.forbidden[0]: not a package: dependency \"a<\": no version after \"<\""},
		{"package negated", entry("    packages: {required: [\"!a\"]}\n"), "p.yaml:6:27: images[0].packages.required[0]: not a package: found a \"!\", expected a package with or without a version"},
		{"proof without keys", entry("    compositionProof: {keys: []}\n"), "p.yaml:6:30: images[0].compositionProof.keys: empty: expected at least one key\n  hint: a proof by keys that came with the image proves nothing"},
		{"proof with a bad key", entry("    compositionProof: {keys: [bad.pub]}\n"), "p.yaml:6:31: images[0].compositionProof.keys[0]: bad key: "},
		{"bad CEL", entry("    rules: [{name: a, cel: \"image.\"}]\n"), "p.yaml:6:28: images[0].rules[0].cel: not an expression: 1:7: Syntax error: no viable alternative at input '.' | image. | ......^"},
		{"CEL of another type", entry("    rules: [{name: a, cel: \"1 + 1\"}]\n"), "p.yaml:6:28: images[0].rules[0].cel: not an expression: gives int, expected true or false"},
		{"CEL with an unknown name", entry("    rules: [{name: a, cel: \"imag.digest == ''\"}]\n"), "p.yaml:6:28: images[0].rules[0].cel: not an expression: 1:1: undeclared reference to 'imag' (in container '') | imag.digest == '' | ^"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(c.text), dir)
			if err == nil {
				t.Fatal("accepted")
			}
			var list *Errors
			if !errors.As(err, &list) {
				t.Fatalf("found a %T", err)
			}
			got := strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir, "{dir}"), "\u00a0", " ")
			if i := strings.Index(got, "found sha256:"); i >= 0 {
				got = got[:i] + "found {key}" + got[i+6+71:]
			}
			if want := c.want; !strings.HasPrefix(got, want) || strings.HasSuffix(want, "here") && got != want {
				t.Errorf("found\n%s\nexpected\n%s", got, want)
			}
			if n := len(list.Problems); n != 1 {
				t.Errorf("found %d problems, expected one:\n%v", n, err)
			}
		})
	}
}

// All mistakes are reported at once, in the order of the file.
func TestEveryMistakeIsReported(t *testing.T) {
	_, err := Parse("p.yaml", []byte(entry("    sbom: {format: x}\n    children: some\n    maxAg: 1d\n")), policyDir(t))
	var list *Errors
	if !errors.As(err, &list) || len(list.Problems) != 3 {
		t.Fatalf("found %v", err)
	}
	for i, line := range []int{6, 7, 8} {
		if list.Problems[i].Line != line {
			t.Errorf("problem %d is in line %d", i, list.Problems[i].Line)
		}
	}
}

func TestFirstMatchDecides(t *testing.T) {
	p, err := Parse("p.yaml", []byte(`
version: 1
images:
  - {match: ["registry.k8s.io/**"], allow: true}
  - {match: ["ghcr.io/acme/*"], allow: true}
  - {match: ["docker.io/library/alpine"], allow: true}
`), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{
		"registry.k8s.io/pause": "registry.k8s.io/**", "registry.k8s.io/a/b:1": "registry.k8s.io/**",
		"ghcr.io/acme/app@sha256:" + strings.Repeat("0", 64): "ghcr.io/acme/*",
		"ghcr.io/acme/team/app":                              "", "ghcr.io/acme-evil/app": "", "alpine": "docker.io/library/alpine",
		"evil.example/registry.k8s.io/pause": "",
	} {
		got := ""
		if e := p.For(Repository(image)); e != nil {
			got = e.Name
		}
		if got != want {
			t.Errorf("%s: found %q, expected %q", image, got, want)
		}
	}
}

// The hash covers the files that the policy names.
func TestHashCoversFiles(t *testing.T) {
	dir := policyDir(t)
	hash := func() string {
		p, err := Parse("p.yaml", []byte(entry("")), dir)
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash
	}
	before := hash()
	if before != hash() {
		t.Error("the hash changes by itself")
	}
	if err := os.WriteFile(filepath.Join(dir, "cosign.pub"), evidencetest.NewKey().PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	if before == hash() {
		t.Error("another key, and the same hash")
	}
}

// The schema is made from the declarations that validate, and says the same
// about every key: what it requires is required, what it does not know is not
// known.
func TestSchemaAgrees(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	shipped, err := os.ReadFile("../../docs/policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(shipped) != string(Schema()) {
		t.Error("docs/policy.schema.json is not current: cairn policy schema > docs/policy.schema.json")
	}
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		if items, ok := s["items"].(map[string]any); ok {
			walk(path+"[]", items)
		}
		properties, ok := s["properties"].(map[string]any)
		if !ok {
			return
		}
		if s["additionalProperties"] != false {
			t.Errorf("%s: other keys are allowed", path)
		}
		for name, p := range properties {
			p := p.(map[string]any)
			if p["description"] == "" {
				t.Errorf("%s.%s has no description", path, name)
			}
			walk(path+"."+name, p)
		}
	}
	walk("", s)
}

func TestStarterIsInOrder(t *testing.T) {
	dir := policyDir(t)
	for _, text := range []string{
		Starter("ghcr.io/acme/**", "cosign.pub", [2]string{}, ""),
		Starter("ghcr.io/acme/**", "", [2]string{"https://i", "a@b.c"}, "root.json"),
		strings.ReplaceAll(Starter("ghcr.io/acme/**", "cosign.pub", [2]string{}, "root.json"), "\n    # ", "\n    "),
	} {
		if _, err := Parse("p.yaml", []byte(text), dir); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	dir := policyDir(f)
	for _, s := range []string{entry(""), entry("    rules: [{name: a, cel: \"true\"}]\n"), "a: &a [*a]", "version: 1\nimages: 3",
		Starter("**", "cosign.pub", [2]string{}, "root.json")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("p.yaml", text, dir)
		var list *Errors
		if err != nil && !errors.As(err, &list) {
			t.Errorf("found a %T", err)
		}
		if err == nil {
			for _, e := range p.Entries {
				if !e.Allow() && (e.engine == nil || len(e.signers) == 0) {
					t.Error("an entry without signers or engine")
				}
			}
		}
	})
}

// docs/policy.md names every key of the schema.
func TestEveryKeyIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	var walk func(s map[string]any)
	walk = func(s map[string]any) {
		if items, ok := s["items"].(map[string]any); ok {
			walk(items)
		}
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			if !strings.Contains(string(text), name+"`") && !strings.Contains(string(text), name+":") {
				t.Errorf("%s is not in docs/policy.md", name)
			}
			walk(p.(map[string]any))
		}
	}
	walk(s)
}

// The policy in docs/policy.md is in order, with its files.
func TestDocumentedPolicyIsInOrder(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml policy.yaml\n")
	policy, _, _ := strings.Cut(rest, "```")
	w := newWorld(t)
	w.write(t, "release.pub", w.key.PEM())
	w.write(t, "scanner.pub", w.other.PEM())
	w.write(t, "trusted_root.json", w.authority.RootJSON(true))
	if err := os.Rename(filepath.Join(w.dir, "apk.rsa.pub"), filepath.Join(w.dir, "wolfi-signing.rsa.pub")); err != nil {
		t.Fatal(err)
	}
	w.policy(t, policy)
}
