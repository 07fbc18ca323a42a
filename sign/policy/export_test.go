package policy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const exported = `
version: 1
images:
  - match: ["registry.k8s.io/**"]
    allow: true
  - match: ["ghcr.io/acme/app"]
    signers: {threshold: 2, keys: [{file: cosign.pub}, {file: other.pub}]}
    trust: {log: 0}
    sbom: {complete: true}
  - match: ["ghcr.io/acme/**", "ghcr.io/*/x"]
    signers: {keys: [{file: cosign.pub}]}
    trust: {log: 0}
  - match: ["**"]
    signers: {identities: [{issuer: "https://i.example", subject: a@b.c}, {issuer: "https://i.example", subjectPattern: "x.*"}]}
    trust: {root: root.json}
`

func export(t *testing.T, format string) (out []byte, notes string) {
	t.Helper()
	w := newWorld(t)
	raw, list, err := w.policy(t, exported).Export(format)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := w.policy(t, exported).Export(format)
	if err != nil || !bytes.Equal(raw, again) {
		t.Error("two exports differ")
	}
	return bytes.ReplaceAll(raw, w.key.PEM(), []byte("KEY")), strings.Join(list, "\n")
}

func yamlDocuments(t *testing.T, raw []byte) (out []map[string]any) {
	t.Helper()
	for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var d map[string]any
		if err := dec.Decode(&d); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
}

// dig follows keys and indexes.
func dig(v any, path ...any) any {
	for _, p := range path {
		switch k := p.(type) {
		case string:
			v = v.(map[string]any)[k]
		case int:
			v = v.([]any)[k]
		}
	}
	return v
}

func TestExportKyverno(t *testing.T) {
	raw, notes := export(t, "kyverno")
	docs := yamlDocuments(t, raw)
	if len(docs) != 1 || docs[0]["kind"] != "ClusterPolicy" {
		t.Fatalf("found %s", raw)
	}
	rules := dig(docs[0], "spec", "rules").([]any)
	if len(rules) != 3 {
		t.Fatalf("found %d rules", len(rules))
	}
	if n := dig(rules[0], "verifyImages", 0, "attestors", 0, "count"); n != 2 {
		t.Errorf("found a count of %v", n)
	}
	if s := dig(rules[1], "verifyImages", 0, "imageReferences", 0); s != "ghcr.io/acme/*" {
		t.Errorf("found %v", s)
	}
	if s := dig(rules[2], "verifyImages", 0, "attestors", 0, "entries", 1, "keyless", "subjectRegExp"); s != "^(?:x.*)$" {
		t.Errorf("found %v", s)
	}
	if ignored := dig(rules[2], "verifyImages", 0, "attestors", 0, "entries", 0, "keyless", "rekor", "ignoreTlog"); ignored != false {
		t.Errorf("the log is ignored: %v", ignored)
	}
	want := "ghcr.io/acme/app: sbom is not exported\nregistry.k8s.io/**: left out: Kyverno lets in what no rule matches"
	if notes != want {
		t.Errorf("found notes\n%s", notes)
	}
}

func TestExportPolicyController(t *testing.T) {
	raw, _ := export(t, "policy-controller")
	docs := yamlDocuments(t, raw)
	var names []string
	for _, d := range docs {
		names = append(names, dig(d, "metadata", "name").(string))
	}
	// Both keys must sign, so there is a policy for each: all that match apply.
	want := "cairn-0-registry-k8s-io cairn-1-ghcr-io-acme-app-0 cairn-1-ghcr-io-acme-app-1 cairn-2-ghcr-io-acme cairn-3"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("found %s", got)
	}
	if s := dig(docs[0], "spec", "authorities", 0, "static", "action"); s != "pass" {
		t.Errorf("found %v", s)
	}
	if s := dig(docs[4], "spec", "authorities", 0, "keyless", "identities", 0, "subject"); s != "a@b.c" {
		t.Errorf("found %v", s)
	}
}

func TestExportContainersPolicy(t *testing.T) {
	raw, notes := export(t, "containers-policy")
	var p map[string]any
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	// Identities cannot be said, so what they stood for is refused.
	if s := dig(p, "default", 0, "type"); s != "reject" {
		t.Errorf("found default %v", s)
	}
	docker := dig(p, "transports", "docker").(map[string]any)
	if len(docker) != 3 {
		t.Errorf("found %v", docker)
	}
	if s := dig(docker, "registry.k8s.io", 0, "type"); s != "insecureAcceptAnything" {
		t.Errorf("found %v", s)
	}
	if n := len(docker["ghcr.io/acme/app"].([]any)); n != 2 {
		t.Errorf("found %d requirements, expected one per key", n)
	}
	key, err := base64.StdEncoding.DecodeString(dig(docker, "ghcr.io/acme", 0, "keyData").(string))
	if err != nil || !strings.HasPrefix(string(key), "-----BEGIN PUBLIC KEY-----") {
		t.Errorf("found %s", key)
	}
	for _, want := range []string{"pattern ghcr.io/*/x cannot be expressed", "identities are not exported; the exported policy refuses"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in\n%s", want, notes)
		}
	}
}

// Where a threshold cannot be said, the export refuses.
func TestExportRefusesWhatItCannotSay(t *testing.T) {
	w := newWorld(t)
	w.write(t, "third.pub", w.rogueKey())
	p := w.policy(t, `
version: 1
images:
  - match: ["ghcr.io/acme/**"]
    signers: {threshold: 2, keys: [{file: cosign.pub}, {file: other.pub}, {file: third.pub}]}
    trust: {log: 0}
`)
	raw, notes, err := p.Export("policy-controller")
	if err != nil || !strings.Contains(string(raw), "action: fail") || len(notes) != 1 {
		t.Errorf("found %v %v\n%s", err, notes, raw)
	}
	raw, notes, err = p.Export("containers-policy")
	if err != nil || strings.Contains(string(raw), "sigstoreSigned") || len(notes) != 1 {
		t.Errorf("found %v %v\n%s", err, notes, raw)
	}
	if _, _, err := p.Export("opa"); err == nil || err.Error() != `export: unknown format "opa", expected kyverno, policy-controller, containers-policy` {
		t.Errorf("found %v", err)
	}
}
