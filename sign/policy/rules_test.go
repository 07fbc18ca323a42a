package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
	"github.com/cairn-dev/cairn/sign/verify"
)

// database is the same installed database for every image.
type database struct {
	list []apk.InstalledPackage
	err  error
}

func (d database) Installed(context.Context, v1.Hash) ([]apk.InstalledPackage, error) {
	return d.list, d.err
}

func installed(specs ...string) database {
	var d database
	for _, s := range specs {
		f := strings.SplitN(s, " ", 3)
		d.list = append(d.list, apk.InstalledPackage{Package: apk.Package{Name: f[0], Version: f[1], License: f[2]}})
	}
	return d
}

var twoPackages = installed("app 1.0-r0 MIT", "openssl 3.0.8-r0 Apache-2.0 AND BSD-3-Clause")

// prover gives the same proof for every image.
type prover struct {
	unproved   []string
	err        error
	predicates int // that must be passed on
}

func (p prover) Prove(_ context.Context, _ v1.Hash, keys []repository.Key, predicates []json.RawMessage) ([]string, error) {
	return p.unproved, p.err
}

func spdx(image v1.Hash, purls ...string) []byte {
	var packages []any
	for _, p := range purls {
		packages = append(packages, map[string]any{"externalRefs": []any{map[string]any{"referenceType": "purl", "referenceLocator": p}}})
	}
	return evidencetest.Statement(image, "", verify.PredicateSPDX, map[string]any{"packages": packages})
}

func build(image v1.Hash, change func(definition, external map[string]any)) []byte {
	external := map[string]any{"source": "https://git.example/images@v1"}
	definition := map[string]any{"buildType": "https://example.test/build/v1", "externalParameters": external,
		"resolvedDependencies": []any{
			map[string]any{"uri": "pkg:apk/wolfi/app@1.0-r0", "downloadLocation": "https://apk.example/os/x86_64/app-1.0-r0.apk",
				"digest": map[string]any{"sha256": "00"}, "annotations": map[string]any{"signingKeySha256": "sha256:AB"}},
			map[string]any{"uri": "https://apk.example/os/x86_64/APKINDEX.tar.gz", "digest": map[string]any{"sha256": "01"},
				"annotations": map[string]any{"signingKeySha256": "ab"}},
		}}
	change(definition, external)
	return evidencetest.Statement(image, "", verify.PredicateProvenance, map[string]any{
		"buildDefinition": definition, "runDetails": map[string]any{"builder": map[string]any{"id": "local"}}})
}

func scan(image v1.Hash, result any) []byte {
	return evidencetest.Statement(image, "", verify.PredicateVuln, map[string]any{"scanner": map[string]any{"result": result}})
}

func grype(pairs ...string) any {
	matches := []any{}
	for i := 0; i < len(pairs); i += 2 {
		matches = append(matches, map[string]any{"vulnerability": map[string]any{"id": pairs[i], "severity": pairs[i+1]}})
	}
	return map[string]any{"matches": matches}
}

const fullProvenance = `
    provenance:
      builders: [local]
      buildTypes: ["https://example.test/build/v1"]
      configSources: ["https://git.example/**"]
      repositories: ["https://apk.example/os"]
      signingKeys: ["sha256:ab"]
      digestPinned: true
`

func same(_, _ map[string]any) {}

// ruleCases are what passes every rule, and the exact reason of what does not.
var ruleCases = []struct {
	name, policy string
	statements   func(image v1.Hash) [][]byte
	contents     Contents
	prover       Prover
	reason       string
}{
	{"sbom", "    sbom: {}\n", func(h v1.Hash) [][]byte { return [][]byte{spdx(h)} }, nil, nil, ""},
	{"no sbom", "    sbom: {}\n", nil, nil, nil, "sbom: no SBOM is attached"},
	{"sbom of the other format", "    sbom: {format: cyclonedx}\n", func(h v1.Hash) [][]byte { return [][]byte{spdx(h)} }, nil, nil, "sbom: no SBOM is attached"},
	{"cyclonedx", "    sbom: {format: cyclonedx, complete: true}\n", func(h v1.Hash) [][]byte {
		return [][]byte{evidencetest.Statement(h, "", verify.PredicateCycloneDX+"/v1.6", map[string]any{"components": []any{
			map[string]any{"purl": "pkg:apk/wolfi/app@1.0-r0?arch=x86_64"}, map[string]any{"purl": "pkg:apk/wolfi/openssl@3.0.8-r0"}}})}
	}, twoPackages, nil, ""},
	{"complete sbom", "    sbom: {complete: true}\n", func(h v1.Hash) [][]byte {
		return [][]byte{spdx(h, "pkg:apk/wolfi/app@1.0-r0?arch=x86_64", "pkg:apk/wolfi/openssl@3.0.8-r0", "pkg:golang/x@1")}
	}, twoPackages, nil, ""},
	{"incomplete sbom", "    sbom: {complete: true}\n", func(h v1.Hash) [][]byte {
		return [][]byte{spdx(h, "pkg:apk/wolfi/app@1.0-r0", "pkg:apk/wolfi/zlib@1")}
	}, twoPackages, nil, "sbom: {referrer}: does not list openssl-3.0.8-r0; lists what is not installed: zlib-1"},
	{"sbom of an image without database", "    sbom: {complete: true}\n", func(h v1.Hash) [][]byte { return [][]byte{spdx(h)} },
		database{err: fmt.Errorf("image: %w", fs.ErrNotExist)}, nil, "sbom: the image has no installed database"},
	{"database that cannot be parsed", "    packages: {required: [app]}\n", nil, database{err: fmt.Errorf("line 1: %w", apk.ErrInstalled)}, nil,
		"packages: line 1: malformed installed database"},

	{"packages", "    packages: {required: [app, \"openssl>3\"], forbidden: [\"openssl<3.0.8\", curl]}\n", nil, twoPackages, nil, ""},
	{"packages forbidden", "    packages: {forbidden: [\"openssl<3.1\", app]}\n", nil, twoPackages, nil,
		"packages: openssl-3.0.8-r0 is forbidden (openssl<3.1); app-1.0-r0 is forbidden (app)"},
	{"packages missing", "    packages: {required: [\"app>1.1\", curl]}\n", nil, twoPackages, nil, "packages: app>1.1 is missing; curl is missing"},

	{"licences", "    licenses: {allow: [MIT, apache-2.0, BSD-3-Clause], deny: [GPL-3.0-only]}\n", nil, twoPackages, nil, ""},
	{"licence not allowed", "    licenses: {allow: [MIT, Apache-2.0]}\n", nil, twoPackages, nil, "licenses: openssl-3.0.8-r0 is Apache-2.0 AND BSD-3-Clause"},
	{"licence denied", "    licenses: {deny: [MIT]}\n", nil, twoPackages, nil, "licenses: app-1.0-r0 is MIT"},
	{"licence missing", "    licenses: {allow: [MIT]}\n", nil, installed("app 1 "), nil, "licenses: app-1 declares no licence"},

	{"provenance", fullProvenance, func(h v1.Hash) [][]byte { return [][]byte{build(h, same)} }, nil, nil, ""},
	{"provenance of another builder", "    provenance: {builders: [ci]}\n", func(h v1.Hash) [][]byte { return [][]byte{build(h, same)} }, nil, nil,
		`provenance: {referrer}: builder is "local"`},
	{"provenance of another build type", fullProvenance, func(h v1.Hash) [][]byte {
		return [][]byte{build(h, func(d, _ map[string]any) { d["buildType"] = "x" })}
	}, nil, nil, `provenance: {referrer}: build type is "x"`},
	{"configuration from elsewhere", fullProvenance, func(h v1.Hash) [][]byte {
		return [][]byte{build(h, func(_, e map[string]any) { e["source"] = map[string]any{"uri": "https://git.evil/images"} })}
	}, nil, nil, `provenance: {referrer}: configuration is from "https://git.evil/images"`},
	{"unsafe flags", "    provenance: {}\n", func(h v1.Hash) [][]byte {
		return [][]byte{build(h, func(_, e map[string]any) { e["flags"] = map[string]any{"unsafe": []string{"unsigned-index"}} })}
	}, nil, nil, `provenance: {referrer}: built with unsigned-index`},
	{"unsafe flags as switches", "    provenance: {}\n", func(h v1.Hash) [][]byte {
		return [][]byte{build(h, func(_, e map[string]any) { e["unsafe"] = map[string]any{"a": true, "b": false}; e["unsafeX"] = true })}
	}, nil, nil, `provenance: {referrer}: built with a, unsafeX`},
	{"unsafe flags accepted", "    provenance: {allowUnsafe: true}\n", func(h v1.Hash) [][]byte {
		return [][]byte{build(h, func(_, e map[string]any) { e["flags"] = map[string]any{"unsafe": []string{"unsigned-index"}} })}
	}, nil, nil, ""},
	{"material without digest", fullProvenance, func(h v1.Hash) [][]byte {
		return [][]byte{build(h, func(d, _ map[string]any) {
			d["resolvedDependencies"] = []any{map[string]any{"name": "base", "digest": map[string]any{"md5": "1"}}}
		})}
	}, nil, nil, "provenance: {referrer}: base has no digest"},
	{"package from elsewhere", fullProvenance, func(h v1.Hash) [][]byte {
		return [][]byte{build(h, func(d, _ map[string]any) {
			d["resolvedDependencies"] = []any{map[string]any{"uri": "pkg:apk/x/y@1", "downloadLocation": "https://evil.example/os/x86_64/y-1.apk",
				"digest": map[string]any{"sha256": "1"}, "annotations": map[string]any{"signingKeySha256": "cd"}}}
		})}
	}, nil, nil, `provenance: {referrer}: pkg:apk/x/y@1 is from "https://evil.example/os"; pkg:apk/x/y@1 is signed by key "cd"`},
	{"one good statement is enough", "    provenance: {builders: [local]}\n", func(h v1.Hash) [][]byte { return [][]byte{provenance(h, "evil"), build(h, same)} }, nil, nil, ""},

	{"scan", "    vulnerabilities: {maxSeverity: medium}\n", func(h v1.Hash) [][]byte { return [][]byte{scan(h, grype("CVE-1", "Medium", "CVE-2", "Negligible"))} }, nil, nil, ""},
	{"no scan", "    vulnerabilities: {maxSeverity: critical}\n", nil, nil, nil, "vulnerabilities: no vulnerability scan is attached"},
	{"scan too bad", "    vulnerabilities: {maxSeverity: medium, ignore: [CVE-3]}\n", func(h v1.Hash) [][]byte {
		return [][]byte{scan(h, grype("CVE-1", "High", "CVE-2", "Unheard-of", "CVE-3", "Critical"))}
	}, nil, nil, "vulnerabilities: CVE-1 is high; CVE-2 is unheard-of"},
	{"trivy's scan", "    vulnerabilities: {maxSeverity: low}\n", func(h v1.Hash) [][]byte {
		return [][]byte{scan(h, map[string]any{"Results": []any{map[string]any{"Vulnerabilities": []any{map[string]any{"VulnerabilityID": "CVE-1", "Severity": "CRITICAL"}}}}})}
	}, nil, nil, "vulnerabilities: CVE-1 is critical"},
	{"in-toto's scan", "    vulnerabilities: {maxSeverity: none}\n", func(h v1.Hash) [][]byte {
		return [][]byte{scan(h, []any{map[string]any{"id": "CVE-1", "severity": []any{map[string]any{"score": "low"}}}})}
	}, nil, nil, "vulnerabilities: CVE-1 is low"},
	{"a scan of another kind", "    vulnerabilities: {maxSeverity: critical}\n", func(h v1.Hash) [][]byte { return [][]byte{scan(h, map[string]any{})} }, nil, nil,
		"vulnerabilities: {referrer}: scan result is neither grype's, trivy's nor a list"},
	{"scan explained by VEX", "    vulnerabilities: {maxSeverity: none}\n", func(h v1.Hash) [][]byte {
		return [][]byte{scan(h, grype("CVE-1", "high", "CVE-2", "low", "CVE-3", "low")), evidencetest.Statement(h, "", verify.PredicateOpenVEX+"/v0.2.0", map[string]any{
			"timestamp": "2026-01-01T00:00:00Z", "statements": []any{
				map[string]any{"vulnerability": map[string]any{"name": "CVE-1"}, "status": "not_affected"},
				map[string]any{"vulnerability": "CVE-2", "status": "fixed"},
				map[string]any{"vulnerability": "CVE-3", "status": "fixed"},
				map[string]any{"vulnerability": "CVE-3", "status": "affected", "timestamp": "2026-02-01T00:00:00Z"}}})}
	}, nil, nil, "vulnerabilities: CVE-3 is low"},
	{"scan without a time", "    vulnerabilities: {maxSeverity: none, maxAge: 1d}\n", func(h v1.Hash) [][]byte { return [][]byte{scan(h, grype())} }, nil, nil,
		"vulnerabilities: {referrer}: scan has no signed time"},

	{"proof", "    compositionProof: {keys: [apk.rsa.pub]}\n", nil, nil, prover{}, ""},
	{"proof with accepted provenance", "    compositionProof: {keys: [apk.rsa.pub]}\n", func(h v1.Hash) [][]byte { return [][]byte{build(h, same)} }, nil, prover{predicates: 1}, ""},
	{"no prover", "    compositionProof: {keys: [apk.rsa.pub]}\n", nil, nil, nil, "compositionProof: this program cannot make composition proofs here"},
	{"gaps", "    compositionProof: {keys: [apk.rsa.pub]}\n", nil, nil, prover{unproved: []string{"layer 3 is by nobody"}}, "compositionProof: layer 3 is by nobody"},
	{"proof fails", "    compositionProof: {keys: [apk.rsa.pub]}\n", nil, nil, prover{err: errors.New("no kit is attached")}, "compositionProof: no kit is attached"},

	{"CEL", "    rules: [{name: a, cel: \"packages.all(p, p.license != 'GPL') && image.digest.startsWith('sha256:')\"}]\n", nil, twoPackages, nil, ""},
	{"CEL false", "    rules: [{name: a, cel: \"packages.size() > 2\"}, {name: b, cel: \"signatures.size() == 2\", message: two people sign}]\n", nil, twoPackages, nil,
		"rules.a: expression is false\nrules.b: two people sign"},
	{"CEL over statements", "    rules: [{name: a, cel: \"statements.exists(s, s.predicateType == 'https://slsa.dev/provenance/v1' && s.predicate.runDetails.builder.id == 'local')\"}]\n",
		func(h v1.Hash) [][]byte { return [][]byte{build(h, same)} }, nil, nil, ""},
	{"CEL with a missing field", "    rules: [{name: a, cel: \"sbom.nothing == 1\"}]\n", nil, nil, nil, "rules.a: expression: no such key: nothing"},
	{"CEL that takes too long", "    rules: [{name: a, cel: \"statements.all(a, statements.all(b, statements.all(c, statements.all(d, a.predicate == d.predicate))))\"}]\n",
		func(h v1.Hash) [][]byte {
			var out [][]byte
			for range 60 {
				out = append(out, evidencetest.Statement(h, "", "x", strings.Repeat("y", 1000)))
			}
			return out
		}, nil, nil, "rules.a: expression: operation cancelled: actual cost limit exceeded"},
	{"tag", "    requireDigest: true\n", nil, nil, nil, "requireDigest: a tag can be moved; write registry.example/team/app@{image}"},
}

// TestRules runs the table.
func TestRules(t *testing.T) {
	for _, c := range ruleCases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.store.Sign(w.image, w.key.Legacy(w.payload))
			if c.statements != nil {
				for _, s := range c.statements(w.image) {
					w.bundle(w.key.Bundle(s))
				}
			}
			in := w.input(t, w.image)
			in.Contents, in.Prover = c.contents, c.prover
			v, err := w.policy(t, entry(c.policy)).For(repo).Evaluate(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := v.Reason(), w.expand(c.reason); got != want {
				t.Errorf("found\n%s\nexpected\n%s", got, want)
			}
		})
	}
}

// What cannot be read is an error, not a verdict.
func TestUnreadableContentsAreAnError(t *testing.T) {
	w := newWorld(t)
	w.store.Sign(w.image, w.key.Legacy(w.payload))
	in := w.input(t, w.image)
	in.Contents = database{err: errors.New("connection reset")}
	for _, rule := range []string{"    packages: {required: [a]}\n", "    rules: [{name: a, cel: \"packages.size() == 0\"}]\n"} {
		if _, err := w.policy(t, entry(rule)).For(repo).Evaluate(context.Background(), in); err == nil || err.Error() != "connection reset" {
			t.Errorf("%s: found %v", rule, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.policy(t, entry("")).For(repo).Evaluate(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
}

func TestChildrenMustBeSigned(t *testing.T) {
	w := newWorld(t)
	child := w.store.Image("child")
	w.store.Sign(w.image, w.key.Legacy(w.payload))
	in := w.input(t, w.image, child)
	in.Subjects[0].Image = false
	p := w.policy(t, entry("    children: all\n")).For(repo)
	v, err := p.Evaluate(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if want := "signers of " + child.String() + ": no signature is attached"; v.Reason() != want {
		t.Errorf("found %q", v.Reason())
	}
	w.store.Sign(child, w.key.Legacy(evidencetest.Payload(child, repo)))
	if v, err = p.Evaluate(context.Background(), w.input(t, w.image, child)); err != nil || v.Outcome != verify.Passed {
		t.Errorf("found %v %v", v, err)
	}
}

// Freshness goes by the signed time, never by the clock of who wrote it.
func TestMaxAge(t *testing.T) {
	for _, c := range []struct {
		age    time.Duration
		reason string
	}{{5 * time.Minute, ""}, {50 * time.Minute, "maxAge: 0 of 1 signers signed within 30m"}} {
		w := newWorld(t)
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Log: true, Age: c.age}))
		v := w.verdict(t, strings.TrimRight(identityPolicy, "\n")+"\n    maxAge: 30m\n")
		if v.Reason() != c.reason {
			t.Errorf("%v: found %q", c.age, v.Reason())
		}
		// What passed holds until the signature is too old, and no longer.
		if left := time.Until(v.Until); (c.reason == "") != (left > 24*time.Minute && left < 26*time.Minute) {
			t.Errorf("%v: holds for %v", c.age, left)
		}
	}
}

// A verdict that rests on several ages ends with the first of them.
func TestVerdictEnds(t *testing.T) {
	w := newWorld(t)
	w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Log: true, Age: 10 * time.Minute}))
	w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Log: true, Age: 2 * time.Minute})) // by the same signer
	w.bundle(w.authority.Bundle(alice, issuer, scan(w.image, grype()), evidencetest.Options{Log: true, Age: 5 * time.Minute}))
	base := strings.TrimRight(identityPolicy, "\n")
	for policy, want := range map[string]time.Duration{
		"": 0, "\n    maxAge: 30m\n": 28 * time.Minute,
		"\n    maxAge: 30m\n    vulnerabilities: {maxSeverity: low, maxAge: 10m}\n": 5 * time.Minute,
	} {
		v := w.verdict(t, base+policy)
		if v.Outcome != verify.Passed {
			t.Fatal(v.Reason())
		}
		left := time.Until(v.Until)
		if want == 0 && !v.Until.IsZero() || want > 0 && (left < want-time.Minute || left > want+time.Minute) {
			t.Errorf("%q: holds until %v, expected %v from now", policy, v.Until, want)
		}
	}
}

// Of several scans the one that was signed last decides, not the last listed.
func TestNewestScanDecides(t *testing.T) {
	w := newWorld(t)
	w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Log: true}))
	w.bundle(w.authority.Bundle(alice, issuer, scan(w.image, grype("CVE-1", "critical")), evidencetest.Options{Log: true, Age: 10 * time.Minute}))
	w.bundle(w.authority.Bundle(alice, issuer, scan(w.image, grype()), evidencetest.Options{Log: true, Age: 40 * time.Minute}))
	v := w.verdict(t, strings.TrimRight(identityPolicy, "\n")+"\n    vulnerabilities: {maxSeverity: low}\n")
	if v.Reason() != "vulnerabilities: CVE-1 is critical" {
		t.Errorf("found %q", v.Reason())
	}
	v = w.verdict(t, strings.TrimRight(identityPolicy, "\n")+"\n    vulnerabilities: {maxSeverity: critical, maxAge: 5m}\n")
	if !strings.HasPrefix(v.Reason(), "vulnerabilities: referrer ") || !strings.Contains(v.Reason(), ": scan was signed ") {
		t.Errorf("found %q", v.Reason())
	}
}

func TestLicenseExpressions(t *testing.T) {
	ok := func(id string) bool {
		return id == "MIT" || id == "GPL-2.0-only WITH Classpath-exception-2.0" || id == "Public Domain"
	}
	for expression, want := range map[string]bool{
		"MIT": true, "GPL-3.0": false, "MIT OR GPL-3.0": true, "GPL-3.0 OR MIT": true, "MIT AND GPL-3.0": false,
		"MIT AND (GPL-3.0 OR MIT)": true, "(MIT": false, "MIT MIT": false, "": false, "AND": false, "Public Domain": true,
		"GPL-2.0-only WITH Classpath-exception-2.0": true, "GPL-3.0 AND MIT OR MIT": true, "GPL-3.0 AND (MIT OR MIT)": false,
		strings.Repeat("(", 100) + "MIT" + strings.Repeat(")", 100): false,
	} {
		if got := licenseMet(expression, ok); got != want {
			t.Errorf("%q: found %v", expression, got)
		}
	}
}
