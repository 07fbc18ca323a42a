package sbom

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// encoded is what encoding/json makes of a value, as the rest of the documents.
func encoded(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

var oddStrings = []string{"", "usr/lib/libc.so", `back\slash`, `quo"te`, "<&>", "tab\there", "line\nend", "nul\x00", "\x7f",
	"Grüße", "日本", "\u2028", "broken\xff\xfeutf8", "emoji 🗿", "~ tilde"}

func TestAppendString(t *testing.T) {
	for _, s := range oddStrings {
		if got, want := string(appendString([]byte("x"), s)), "x"+encoded(t, s); got != want {
			t.Errorf("%q: %s, encoding/json has %s", s, got, want)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range oddStrings {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := appendString(nil, s)
		if want := encoded(t, s); string(got) != want {
			t.Fatalf("%q: %s, encoding/json has %s", s, got, want)
		}
		var back string
		if err := json.Unmarshal(got, &back); err != nil || utf8.ValidString(s) && back != s {
			t.Fatalf("%q: read back as %q: %v", s, back, err)
		}
	})
}

// spdxFileJSON is a file as SPDX 2.3 §8 has it.
type spdxFileJSON struct {
	SPDXID           string         `json:"SPDXID"`
	Name             string         `json:"fileName"`
	Types            []string       `json:"fileTypes,omitempty"`
	Checksums        []spdxChecksum `json:"checksums"`
	LicenseConcluded string         `json:"licenseConcluded"`
	Copyright        string         `json:"copyrightText"`
	Comment          string         `json:"comment,omitempty"`
}

// TestAppendElements compares with the formats' own types, field by field.
func TestAppendElements(t *testing.T) {
	d := digestOf([]byte("content"))
	for _, s := range oddStrings {
		r := spdxRelationship{"SPDXRef-" + s, "CONTAINS", s}
		if got, want := string(r.appendJSON(nil)), encoded(t, r); got != want {
			t.Errorf("relationship: %s, expected %s", got, want)
		}
		f := spdxFile{id: "File-1", path: s, comment: s, elf: s != "", sums: &d}
		want := spdxFileJSON{"SPDXRef-File-1", "./" + s, nil, []spdxChecksum{{"SHA1", d.sha1.Hex()}, {"SHA256", d.sha256.Hex()}}, noAssertion, noAssertion, s}
		if f.elf {
			want.Types = []string{"BINARY"}
		}
		if got, want := string(f.appendJSON(nil)), encoded(t, want); got != want {
			t.Errorf("SPDX file: %s, expected %s", got, want)
		}
		c := cdxFile{id: "File-1", path: s, description: s, sums: &d}
		component := cdx.Component{BOMRef: "File-1", Type: cdx.ComponentTypeFile, Name: "/" + s, Description: s,
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA1, Value: d.sha1.Hex()}, {Algorithm: cdx.HashAlgoSHA256, Value: d.sha256.Hex()}}}
		if got, want := string(c.appendJSON(nil)), encoded(t, component); got != want {
			t.Errorf("CycloneDX file: %s, expected %s", got, want)
		}
	}
}
