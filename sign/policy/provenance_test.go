package policy

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestMaterials(t *testing.T) {
	for _, c := range []struct{ name, raw, kind, repository, text string }{
		{"package by annotation", `{"uri":"x","annotations":{"kind":"package","repository":"https://r/os"}}`, "package", "https://r/os", "x"},
		{"package by URI", `{"uri":"pkg:apk/wolfi/a@1","downloadLocation":"https://r/os/x86_64/a-1.apk"}`, "package", "https://r/os", "pkg:apk/wolfi/a@1"},
		{"index by URI", `{"uri":"https://r/os/x86_64/APKINDEX.tar.gz"}`, "index", "https://r/os", "https://r/os/x86_64/APKINDEX.tar.gz"},
		{"package from nowhere", `{"uri":"pkg:apk/wolfi/a@1"}`, "package", "", "pkg:apk/wolfi/a@1"},
		{"package with a short location", `{"uri":"pkg:apk/wolfi/a@1","downloadLocation":"a.apk"}`, "package", "", "pkg:apk/wolfi/a@1"},
		{"base image", `{"name":"base","annotations":{"kind":"base image"}}`, "", "", "base"},
		{"annotation of another type", `{"uri":"pkg:apk/wolfi/a@1","annotations":{"repository":1}}`, "package", "", "pkg:apk/wolfi/a@1"},
	} {
		var m material
		if err := json.Unmarshal([]byte(c.raw), &m); err != nil {
			t.Fatal(err)
		}
		if m.kind() != c.kind || m.text() != c.text || c.kind != "" && m.repository() != c.repository {
			t.Errorf("%s: found %q %q %q", c.name, m.kind(), m.repository(), m.text())
		}
	}
}

func TestPinned(t *testing.T) {
	for digest, want := range map[string]bool{"sha256": true, "sha512": true, "gitCommit": true, "md5": false, "sha1": false} {
		if got := (material{Digest: map[string]string{digest: "00"}}).pinned(); got != want {
			t.Errorf("%s: found %v", digest, got)
		}
	}
	if (material{Digest: map[string]string{"sha256": ""}}).pinned() {
		t.Error("an empty digest pins")
	}
}

func TestSigningKeysAreCompared(t *testing.T) {
	for _, c := range []struct {
		list []string
		key  string
		want bool
	}{
		{[]string{"sha256:AB"}, "ab", true}, {[]string{"ab"}, "sha256:ab", true}, {[]string{"ab", "cd"}, "CD", true},
		{[]string{"ab"}, "", false}, {[]string{""}, "", false}, {nil, "ab", false}, {[]string{"abc"}, "ab", false},
	} {
		if got := hasKey(c.list, c.key); got != c.want {
			t.Errorf("%v %q: found %v", c.list, c.key, got)
		}
	}
}

func TestConfigSource(t *testing.T) {
	for raw, want := range map[string]string{
		`{"source":"https://g/x@1"}`:                        "https://g/x@1",
		`{"source":{"uri":"https://g/x"}}`:                  "https://g/x",
		`{"config":{"uri":"https://g/y","path":"a"}}`:       "https://g/y",
		`{"config":{"path":"image.yaml"}}`:                  "",
		`{"source":"","config":"https://g/z"}`:              "https://g/z",
		`{}`:                                                "",
		`{"source":["https://g/x"]}`:                        "",
		`{"source":"https://g/x","config":{"uri":"other"}}`: "https://g/x",
	} {
		var p slsa
		if err := json.Unmarshal([]byte(raw), &p.BuildDefinition.ExternalParameters); err != nil {
			t.Fatal(err)
		}
		if got := configSource(&p); got != want {
			t.Errorf("%s: found %q", raw, got)
		}
	}
}

func TestUnsafeFlags(t *testing.T) {
	for raw, want := range map[string][]string{
		`{}`:                                  nil,
		`{"flags":{"unsafe":["a","b"]}}`:      {"a", "b"},
		`{"flags":{"unsafe":[]},"unsafe":{}}`: nil,
		`{"unsafe":{"x":true,"y":false,"z":null,"w":"yes"}}`:                                  {"w", "x"},
		`{"unsafeUnsignedIndex":true,"unsafeOther":false,"unsafeThird":null,"unsafeText":""}`: {"unsafeUnsignedIndex"},
		`{"flags":{"unsafe-package-signature":true}}`:                                         {"unsafe-package-signature"},
		`{"flags":[1]}`:    nil,
		`{"safe":["a"]}`:   nil,
		`{"unsafe":"all"}`: {"unsafe"},
	} {
		var p slsa
		if err := json.Unmarshal([]byte(raw), &p.BuildDefinition.ExternalParameters); err != nil {
			t.Fatal(err)
		}
		if got := unsafeFlags(&p); !slices.Equal(got, want) {
			t.Errorf("%s: found %v", raw, got)
		}
	}
}

func TestPackageURLs(t *testing.T) {
	for purl, want := range map[string]string{
		"pkg:apk/wolfi/app@1.0-r0?arch=x86_64":   "app-1.0-r0",
		"pkg:apk/app@1.0-r0":                     "app-1.0-r0",
		"pkg:apk/wolfi/libstdc%2B%2B@13.2_git#x": "libstdc++-13.2_git",
		"pkg:apk/wolfi/a@1%2B2":                  "a-1+2",
	} {
		got := map[string]bool{}
		addPURL(got, purl)
		if !got[want] {
			t.Errorf("%s: found %v", purl, got)
		}
	}
	for _, purl := range []string{"pkg:golang/x@1", "", "pkg:apk/wolfi/a%zz@1"} {
		got := map[string]bool{}
		addPURL(got, purl)
		if len(got) != 0 {
			t.Errorf("%q: found %v", purl, got)
		}
	}
}

func TestSBOMsThatCannotBeRead(t *testing.T) {
	if _, err := sbomPackages(json.RawMessage(`"text"`)); err == nil {
		t.Error("a text is an SBOM")
	}
	inText, err := json.Marshal(`{"components":[{"purl":"pkg:apk/wolfi/a@1"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sbomPackages(inText); err != nil || !got["a-1"] {
		t.Errorf("a document in a text: found %v %v", got, err)
	}
	got, err := sbomPackages(json.RawMessage(`{"packages":[{"externalRefs":[{"referenceType":"cpe23Type","referenceLocator":"pkg:apk/a@1"}]}],"components":[{}]}`))
	if err != nil || len(got) != 0 {
		t.Errorf("found %v %v", got, err)
	}
}

func TestScans(t *testing.T) {
	for raw, want := range map[string]string{
		`{"scanner":{"result":{"matches":[]}}}`:   "",
		`{"scanner":{"result":[]}}`:               "",
		`{"scanner":{"result":{"Results":[{}]}}}`: "",
		`{"scanner":{"result":null}}`:             "scan has no result",
		`{"scanner":{}}`:                          "scan has no result",
		`{"scanner":{"result":3}}`:                "scan result: json: cannot unmarshal number into Go value of type struct { Matches",
		`{"scanner":{"result":{"runs":[]}}}`:      "scan result is neither grype's, trivy's nor a list",
		`[]`:                                      "predicate: json: cannot unmarshal array",
	} {
		_, err := scanFindings(json.RawMessage(raw))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if len(got) > len(want) {
			got = got[:len(want)]
		}
		if got != want || (err == nil) != (want == "") {
			t.Errorf("%s: found %v", raw, err)
		}
	}
}

func TestSeverities(t *testing.T) {
	for word, want := range map[string]string{"None": "none", "negligible": "low", "LOW": "low", "Moderate": "medium", "important": "high",
		"CRITICAL": "critical", "": "critical", "unknown": "critical", "9.8": "critical"} {
		if got := severities[severity(word)]; got != want {
			t.Errorf("%q: found %s", word, got)
		}
	}
}
