package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/net/html"

	"github.com/cairn-dev/cairn/assemble/report"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
	"github.com/cairn-dev/cairn/packages/apk"
)

func of(t *testing.T, images ...subjecttest.Image) *report.Report {
	t.Helper()
	s, err := subject.Open(t.Context(), subjecttest.Layout(t, images...)+"/", subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Name = "example"
	r, err := report.New(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func page(t *testing.T, r *report.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// example has a package of its own layer, two in one, and files of none.
func example() subjecttest.Image {
	app := subjecttest.Package("app", "1.2-r0", "usr/bin/app")
	app.Depends = []apk.Dependency{{Name: "so:libc.so"}, {Name: "missing"}, {Name: "never", Conflict: true}}
	app.Description, app.URL, app.InstalledSize = "An application", "https://example.test/", 5
	libc := subjecttest.Package("libc", "1-r0", "lib/libc.so")
	libc.Provides = []apk.Dependency{{Name: "so:libc.so", Op: apk.OpEqual, Version: "1"}}
	data := subjecttest.Package("data", "1-r0", "usr/share/data")
	data.License = ""
	return subjecttest.Image{Arch: "amd64", Config: v1.Config{Entrypoint: []string{"/usr/bin/app", "a b"}, Env: []string{"A=1"}},
		Annotations: map[string]string{"org.example": "yes"},
		Layers: []subjecttest.Layer{
			{Comment: "app-1.2-r0", Members: []string{"d usr", "d usr/bin", "f usr/bin/app 4755 hello"}},
			{Comment: "libc-1-r0 data-1-r0", Members: []string{"f lib/libc.so 0644 library", "f usr/share/data 0644 dat"}},
			{Comment: "everything else", Members: []string{"f etc/os-release 0644 PRETTY_NAME=\"Test 1\"\n", "l etc/link /usr/bin/app", "h etc/again etc/os-release"},
				Installed: []apk.InstalledPackage{app, libc, data}},
		}}
}

func TestNew(t *testing.T) {
	r := of(t, example())
	p := &r.Platforms[0]
	if p.Platform != "amd64" || p.Created != "2024-02-03T04:05:06Z" || p.System != "Test 1" || !p.Database {
		t.Errorf("%+v", p)
	}
	var layers []string
	for _, l := range p.Layers {
		var parts []string
		for _, x := range l.Parts {
			parts = append(parts, fmt.Sprintf("%s %d", x.Package, x.Bytes))
		}
		layers = append(layers, fmt.Sprintf("%d %s [%s]", l.Position, l.Comment, strings.Join(parts, ", ")))
	}
	if want := []string{"1 app-1.2-r0 [app 5]", "2 libc-1-r0 data-1-r0 [libc 7, data 3]"}; !slices.Equal(layers[:2], want) {
		t.Errorf("layers %q, expected %q", layers, want)
	}
	var packages []string
	for _, x := range p.Packages {
		packages = append(packages, fmt.Sprintf("%s needs %v by %v in %v with %d", x.Name, x.Needs, x.NeededBy, x.Layers, x.Files))
	}
	want := []string{"app needs [libc] by [] in [1] with 1", "data needs [] by [] in [2] with 1", "libc needs [] by [app] in [2] with 1"}
	if !slices.Equal(packages, want) {
		t.Errorf("packages %q, expected %q", packages, want)
	}
	if len(p.Licenses) != 2 || p.Licenses[0].License != "MIT" || len(p.Licenses[0].Packages) != 2 || p.Licenses[1].License != "" {
		t.Errorf("licences %+v", p.Licenses)
	}
	if !slices.Contains(p.Config, report.Setting{Key: "Entrypoint", Value: `/usr/bin/app "a b"`}) ||
		!slices.Contains(p.Config, report.Setting{Key: "Annotation org.example", Value: "yes"}) {
		t.Errorf("configuration %+v", p.Config)
	}
	for _, f := range p.Files {
		if f.Path == "etc/again" && (f.Link != "/etc/os-release" || f.Type != "f") || f.Path == "usr/bin/app" && (f.Mode != "4755" || f.Package != "app" || f.Layer != 1) {
			t.Errorf("%+v", f)
		}
	}
	if r.Signatures.Checked || r.Advisories.Looked || r.Advisories.Why == "" {
		t.Errorf("%+v %+v", r.Signatures, r.Advisories)
	}
}

func TestWithoutDatabase(t *testing.T) {
	r := of(t, subjecttest.Image{Arch: "arm64", Layers: []subjecttest.Layer{{Members: []string{"f x"}}}})
	if p := r.Platforms[0]; p.Database || len(p.Packages) != 0 || len(p.Files) != 1 {
		t.Errorf("%+v", p)
	}
	if got := page(t, r); !strings.Contains(got, "The image has no installed database") {
		t.Error("the page does not say so")
	}
}

// Nothing is good that was not looked at.
func TestNoGreenWithoutACheck(t *testing.T) {
	r := of(t, example())
	r.Attest(r.Image.Digest, "https://slsa.dev/provenance/v1", []byte(`{"runDetails":{"builder":{"id":"me"}}}`), report.Place{Format: "legacy", Where: "a"}, false)
	r.Signatures.Found = 2
	good := regexp.MustCompile(`class="[^"]*\bgood\b`)
	if got := page(t, r); good.MatchString(got) || !strings.Contains(got, "Signature not checked") || !strings.Contains(got, "2 signatures are attached; nobody looked whether they are good.") {
		t.Errorf("green: %q", good.FindAllString(got, -1))
	}
	r.Signatures = report.Signatures{Checked: true, Outcome: "failed", Rules: []report.Rule{{Rule: "signers", Why: "no"}}}
	if got := page(t, r); good.MatchString(got) || !strings.Contains(got, "Refused") {
		t.Error("green although refused")
	}
	r.Signatures.Outcome = "passed"
	if got := page(t, r); !good.MatchString(got) || !strings.Contains(got, "Verified") {
		t.Error("not green although verified")
	}
}

func TestAttestOnce(t *testing.T) {
	r := of(t, example())
	for i, format := range []string{"legacy", "bundle"} {
		r.Attest("sha256:1", "https://spdx.dev/Document", []byte(`{}`), report.Place{Format: format, Where: format}, i == 1)
	}
	r.Attest("sha256:1", "https://spdx.dev/Document", []byte(`{"a":1}`), report.Place{}, false)
	if len(r.Attestations) != 2 || len(r.Attestations[0].Places) != 2 || !r.Attestations[0].Verified || r.Attestations[1].Verified {
		t.Errorf("%+v", r.Attestations)
	}
	r.Attest("sha256:1", "https://slsa.dev/provenance/v1", []byte(`[]`), report.Place{Where: "there"}, false)
	if len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "there: not SLSA provenance v1: ") {
		t.Errorf("notes %q", r.Notes)
	}
}

// hostile is what somebody writes who wants to be more than text.
const hostile = `"><img src=x onerror=alert(1)></script><script>alert(2)</script>'` + "\u202e\x01{{.}}]]>"

// Everything that an image says is text on the page, in every place.
func TestHostileImage(t *testing.T) {
	p := subjecttest.Package("evil", "1", "etc/"+"x")
	p.Description, p.License, p.Origin, p.Maintainer = hostile[:60], hostile[:60], hostile[:60], hostile[:60]
	p.URL = "javascript:alert(1)"
	r := of(t, subjecttest.Image{Arch: "amd64", Config: v1.Config{User: hostile, Env: []string{hostile}, Labels: map[string]string{hostile: hostile}},
		Annotations: map[string]string{hostile: hostile},
		Layers: []subjecttest.Layer{{Comment: hostile, Members: []string{`f etc/"><script>alert(1)</script> 0644 x`, `l etc/l </script><script>`}},
			{Members: []string{"f etc/x"}}, {Members: []string{"f usr/lib/os-release 0644 PRETTY_NAME=" + hostile}, Installed: []apk.InstalledPackage{p}}}})
	// The database cannot hold such a name; the page does not rely on that.
	x := &r.Platforms[0]
	x.Packages[0].Name, x.Packages[0].Version, x.Packages[0].Depends = hostile, hostile, []string{hostile}
	x.Licenses[0].Packages = []string{hostile}
	for i := range x.Layers {
		for n := range x.Layers[i].Parts {
			x.Layers[i].Parts[n].Package = hostile
		}
	}
	r.Image.Name, r.Image.Digest, r.Kit = hostile, hostile, hostile
	r.Notes = []string{hostile}
	r.Signatures = report.Signatures{Checked: true, Outcome: "failed", Policy: hostile, Rules: []report.Rule{{Rule: hostile, Required: hostile, Found: hostile, Why: hostile}},
		Evidence: []report.Evidence{{Where: hostile, Kind: hostile, Signer: hostile, SignedAt: hostile, Why: hostile}}}
	raw, err := json.Marshal(map[string]any{"buildDefinition": map[string]any{"buildType": hostile, "externalParameters": map[string]any{"source": hostile},
		"resolvedDependencies": []any{map[string]any{"name": hostile, "digest": map[string]string{"sha256": hostile}, "annotations": map[string]any{"kind": hostile}}}},
		"runDetails": map[string]any{"builder": map[string]any{"id": hostile}}})
	if err != nil {
		t.Fatal(err)
	}
	r.Attest(hostile, "https://slsa.dev/provenance/v1"+hostile, raw, report.Place{Format: hostile, Where: hostile}, false)
	got := page(t, r)
	if strings.ContainsAny(got, "\u202e\x01") {
		t.Error("control characters reach the page")
	}
	checkMarkup(t, got)
	// Only the names that the template writes: as many scripts as without.
	if plain := page(t, of(t, example())); strings.Count(got, "<script") != strings.Count(plain, "<script") {
		t.Error("more scripts than the page has")
	}
}

// checkMarkup reads the page as browsers do: no element, attribute or address
// that the template does not have.
func checkMarkup(t *testing.T, text string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			if tok.Data == "img" || tok.Data == "iframe" || tok.Data == "object" || tok.Data == "link" {
				t.Errorf("element %s", tok)
			}
			for _, a := range tok.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "srcdoc" {
					t.Errorf("attribute %s of %s", a.Key, tok.Data)
				}
				if a.Key == "href" && !strings.HasPrefix(a.Val, "#") {
					t.Errorf("address %q", a.Val)
				}
			}
		}
	}
}

// The policy names exactly the inline parts that are there, and nothing else
// may be loaded.
func TestPolicy(t *testing.T) {
	got := page(t, of(t, example()))
	part := func(tag string) string {
		i := strings.Index(got, "<"+tag+">")
		j := strings.Index(got[i:], "</"+tag+">")
		sum := sha256.Sum256([]byte(got[i+len(tag)+2 : i+j]))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	want := "default-src 'none'; script-src " + part("script") + "; style-src " + part("style") + "; base-uri 'none'; form-action 'none'"
	z := html.NewTokenizer(strings.NewReader(got))
	for {
		if z.Next() == html.ErrorToken {
			t.Fatal("no policy")
		}
		tok := z.Token()
		if tok.Data == "meta" && tok.Attr[0].Val == "Content-Security-Policy" {
			if tok.Attr[1].Val != want {
				t.Errorf("found %s\nexpected %s", tok.Attr[1].Val, want)
			}
			return
		}
	}
}

// The same image gives the same page, and the data in it is JSON.
func TestDeterministic(t *testing.T) {
	a, b := page(t, of(t, example(), subjecttest.Image{Arch: "arm64"})), page(t, of(t, example(), subjecttest.Image{Arch: "arm64"}))
	if a != b {
		t.Error("not the same page")
	}
	_, rest, _ := strings.Cut(a, `<script type="application/json" id="data">`)
	text, _, _ := strings.Cut(rest, "</script>")
	var data []struct {
		Packages []map[string]any
		Files    [][]any
	}
	if err := json.Unmarshal([]byte(text), &data); err != nil || len(data) != 2 || len(data[0].Packages) != 3 || len(data[0].Files) < 9 {
		t.Errorf("%v: %.200s", err, text)
	}
}

func TestParseProvenance(t *testing.T) {
	p, err := report.ParseProvenance([]byte(`{"buildDefinition":{"buildType":"t","externalParameters":{"source":"s","lock":{"id":"sha256:2","digest":{"sha256":"1"}},"config":{"digest":{"sha256":"3"}}},
	 "resolvedDependencies":[{"uri":"u","digest":{"sha1":"4","sha256":"5"}},{"name":"k","annotations":{"kind":"key"}}]},"runDetails":{"builder":{"id":"b"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Builder != "b" || p.BuildType != "t" || p.Lock != "sha256:2" || p.Config != "sha256:3" || p.Source != "s" ||
		!slices.Equal(p.Materials, []report.Material{{Name: "u", Digest: "sha256:5"}, {Kind: "key", Name: "k"}}) {
		t.Errorf("%+v", p)
	}
	// Another builder's parameters are passed over.
	if p, err := report.ParseProvenance([]byte(`{"buildDefinition":{"externalParameters":["other"]}}`)); err != nil || p.Lock != "" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "[]", `{"buildDefinition":1}`, `{"runDetails":{"builder":{"id":1}}}`} {
		if _, err := report.ParseProvenance([]byte(bad)); !errors.Is(err, report.ErrProvenance) {
			t.Errorf("%s: found %v", bad, err)
		}
	}
}

func FuzzParseProvenance(f *testing.F) {
	f.Add([]byte(`{"buildDefinition":{"externalParameters":{"lock":{"digest":{"sha256":"1"}}},"resolvedDependencies":[{"uri":"u","digest":{"sha256":"5"}}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := report.ParseProvenance(b)
		if (p == nil) == (err == nil) {
			t.Errorf("%v, %v", p, err)
		}
	})
}
