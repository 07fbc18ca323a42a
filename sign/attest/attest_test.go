package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

var digest = strings.Repeat("ab", 32)

func TestNew(t *testing.T) {
	// White space, order, escapes, large numbers and fields nobody knows stay.
	predicate := "{\n  \"z\": 1.0,\n  \"a\": \"<&>\\u00e9\", \"n\": 12345678901234567890, \"x_ext\": {\"b\": []}\n}"
	got, err := New(Input{
		Subjects:      []Subject{{Name: "r.example/app", SHA256: digest}, {SHA256: digest}},
		PredicateType: "https://example.test/p/v1",
		Predicate:     []byte("\n" + predicate + "\n\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"r.example/app","digest":{"sha256":"` + digest +
		`"}},{"digest":{"sha256":"` + digest + `"}}],"predicateType":"https://example.test/p/v1","predicate":` + predicate + `}`
	if string(got) != want {
		t.Errorf("found %s\nwant  %s", got, want)
	}
	var s intoto.Statement
	if err := protojson.Unmarshal(got, &s); err != nil {
		t.Error(err)
	}
}

// What is said beside the image stands with the subject, as cosign 3 has it.
func TestSignatureWithAnnotations(t *testing.T) {
	got, err := NewSignature(Subject{Name: "r.example/app", SHA256: digest, Annotations: map[string]string{"b": "2", "a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `"digest":{"sha256":"` + digest + `"},"annotations":{"a":"1","b":"2"}}]`; !strings.Contains(string(got), want) {
		t.Errorf("found %s, expected %s", got, want)
	}
}

func TestNewSignature(t *testing.T) {
	got, err := NewSignature(Subject{Name: "r.example/app", SHA256: digest})
	if err != nil {
		t.Fatal(err)
	}
	var s intoto.Statement
	if err := protojson.Unmarshal(got, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil || s.PredicateType != "https://sigstore.dev/cosign/sign/v1" || s.Subject[0].Digest["sha256"] != digest {
		t.Errorf("%s: %v", got, err)
	}
}

func TestNewErrors(t *testing.T) {
	good := []Subject{{SHA256: digest}}
	for name, c := range map[string]struct {
		in   Input
		want string
	}{
		"no subject":    {Input{PredicateType: "a:b"}, "attestation: no subject"},
		"bad digest":    {Input{Subjects: []Subject{{Name: "x", SHA256: "abc"}}, PredicateType: "a:b"}, `attestation: subject "x": digest "abc": expected 64 hexadecimal digits`},
		"upper case":    {Input{Subjects: []Subject{{Name: "x", SHA256: strings.ToUpper(digest)}}}, `attestation: subject "x": digest "` + strings.ToUpper(digest) + `": expected 64 hexadecimal digits`},
		"no type":       {Input{Subjects: good}, `attestation: predicate type "": expected a URI, or one of slsaprovenance1, slsaprovenance02, spdxjson, cyclonedx, openvex, vuln`},
		"no URI":        {Input{Subjects: good, PredicateType: "provenance"}, `attestation: predicate type "provenance": expected a URI, or one of slsaprovenance1, slsaprovenance02, spdxjson, cyclonedx, openvex, vuln`},
		"nothing":       {Input{good, "a:b", nil}, "attestation: predicate: line 1, column 1: unexpected end of JSON input"},
		"list":          {Input{good, "a:b", []byte(" [1]")}, "attestation: predicate: line 1, column 1: found a JSON array, expected an object"},
		"null":          {Input{good, "a:b", []byte("null")}, "attestation: predicate: found null, expected a JSON object"},
		"syntax":        {Input{good, "a:b", []byte("{\n \"a\": 1,\n \"b\" 2}")}, "attestation: predicate: line 3, column 6: invalid character '2' after object key"},
		"two documents": {Input{good, "a:b", []byte("{} {}")}, "attestation: predicate: line 1, column 4: invalid character '{' after top-level value"},
		"not UTF-8":     {Input{good, "a:b", []byte("{\"a\":\"\xff\"}")}, "attestation: predicate: not UTF-8"},
		"too large":     {Input{good, "a:b", make([]byte, MaxPredicate+1)}, "attestation: predicate: 33554433 bytes, expected at most 33554432"},
		"SLSA 0.2 as 1": {Input{good, "https://slsa.dev/provenance/v1", []byte(`{"builder":{},"buildType":"x"}`)}, "attestation: predicate: no field \"buildDefinition\": expected slsaprovenance1\nhint: a predicate of SLSA 0.2 has the type slsaprovenance02"},
		"SLSA 1 as 0.2": {Input{good, "https://slsa.dev/provenance/v0.2", []byte(`{"buildDefinition":{}}`)}, "attestation: predicate: no field \"builder\": expected slsaprovenance02\nhint: a predicate of SLSA 1 has the type slsaprovenance1"},
		"SPDX version":  {Input{good, "https://spdx.dev/Document", []byte(`{"spdxVersion":2.3}`)}, "attestation: predicate: spdxVersion is 2.3: expected \"SPDX-\" first\nhint: SPDX 3 has no such field: give its type as a URI"},
		"no BOM":        {Input{good, "https://cyclonedx.org/bom", []byte(`{"bomFormat":"x"}`)}, `attestation: predicate: bomFormat is "x": expected "CycloneDX" first`},
		"no VEX":        {Input{good, "https://openvex.dev/ns", []byte(`{"@context":"https://x","statements":[]}`)}, `attestation: predicate: @context is "https://x": expected "https://openvex.dev/ns" first`},
		"no vuln":       {Input{good, "https://cosign.sigstore.dev/attestation/vuln/v1", []byte(`{}`)}, `attestation: predicate: no field "scanner": expected vuln`},
	} {
		_, err := New(c.in)
		if !errors.Is(err, ErrStatement) || err.Error() != c.want {
			t.Errorf("%s: found %v\nwant %s", name, err, c.want)
		}
	}
}

func TestTypeURI(t *testing.T) {
	for in, want := range map[string]string{
		"slsaprovenance1": "https://slsa.dev/provenance/v1", "spdxjson": "https://spdx.dev/Document", "cyclonedx": "https://cyclonedx.org/bom",
		"openvex": "https://openvex.dev/ns", "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1", "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
		"https://example.test/x": "https://example.test/x", "urn:example:x": "urn:example:x",
	} {
		if got, err := TypeURI(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"slsaprovenance": "attestation: predicate type slsaprovenance: which version?\nhint: slsaprovenance1 is SLSA 1, slsaprovenance02 is SLSA 0.2",
		Signature:        "attestation: predicate type https://sigstore.dev/cosign/sign/v1: that of signatures, which cairn sign makes",
		"spdx":           `attestation: predicate type "spdx": expected a URI, or one of slsaprovenance1, slsaprovenance02, spdxjson, cyclonedx, openvex, vuln`,
		"a b:c":          `attestation: predicate type "a b:c": expected a URI, or one of slsaprovenance1, slsaprovenance02, spdxjson, cyclonedx, openvex, vuln`,
	} {
		if _, err := TypeURI(in); !errors.Is(err, ErrStatement) || err.Error() != want {
			t.Errorf("%s: found %v\nwant %s", in, err, want)
		}
	}
}

// Whatever is accepted is one JSON document that holds the predicate as it was.
func FuzzNew(f *testing.F) {
	f.Add("https://example.test/x", []byte(`{"a":1}`))
	f.Add("https://spdx.dev/Document", []byte(` {"spdxVersion":"SPDX-2.3"} `))
	f.Fuzz(func(t *testing.T, predicateType string, predicate []byte) {
		raw, err := New(Input{Subjects: []Subject{{Name: "n", SHA256: digest}}, PredicateType: predicateType, Predicate: predicate})
		if err != nil {
			return
		}
		var s struct {
			Predicate json.RawMessage
			Subject   []any
		}
		if err := json.Unmarshal(raw, &s); err != nil || len(s.Subject) != 1 || !bytes.Equal(s.Predicate, bytes.Trim(predicate, " \t\r\n")) {
			t.Errorf("%s: %v", raw, err)
		}
	})
}
