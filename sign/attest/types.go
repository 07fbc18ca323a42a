package attest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// kind is a predicate type that has a short name.
type kind struct {
	name, uri string
	// fields must be in the predicate.
	fields []string
	// field must begin with prefix; empty for no such rule.
	field, prefix string
	hint          string
}

// kinds has the short names that cosign has, with the meaning they have there.
// spdxjson and cyclonedx embed the document itself.
var kinds = []kind{
	{name: "slsaprovenance1", uri: "https://slsa.dev/provenance/v1", fields: []string{"buildDefinition", "runDetails"},
		hint: "a predicate of SLSA 0.2 has the type slsaprovenance02"},
	{name: "slsaprovenance02", uri: "https://slsa.dev/provenance/v0.2", fields: []string{"builder", "buildType"},
		hint: "a predicate of SLSA 1 has the type slsaprovenance1"},
	{name: "spdxjson", uri: "https://spdx.dev/Document", fields: []string{"spdxVersion"}, field: "spdxVersion", prefix: "SPDX-",
		hint: "SPDX 3 has no such field: give its type as a URI"},
	{name: "cyclonedx", uri: "https://cyclonedx.org/bom", fields: []string{"bomFormat"}, field: "bomFormat", prefix: "CycloneDX"},
	{name: "openvex", uri: "https://openvex.dev/ns", fields: []string{"@context", "statements"}, field: "@context", prefix: "https://openvex.dev/ns"},
	{name: "vuln", uri: "https://cosign.sigstore.dev/attestation/vuln/v1", fields: []string{"scanner", "metadata"}},
}

// Types lists the short names.
func Types() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.name)
	}
	return out
}

// TypeURI gives the predicate type for a short name or a URI.
func TypeURI(s string) (string, error) {
	for _, k := range kinds {
		if k.name == s {
			return k.uri, nil
		}
	}
	if s == "slsaprovenance" {
		return "", fmt.Errorf("%w: predicate type slsaprovenance: which version?\nhint: slsaprovenance1 is SLSA 1, slsaprovenance02 is SLSA 0.2", ErrStatement)
	}
	if s == Signature {
		return "", fmt.Errorf("%w: predicate type %s: that of signatures, which cairn sign makes", ErrStatement, s)
	}
	return s, checkURI(s)
}

// checkShape holds a predicate of a known type to what every reader of that
// type needs. It catches the wrong file, not every mistake in the right one.
func checkShape(uri string, fields map[string]json.RawMessage) error {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.uri == uri })
	if i < 0 {
		return nil
	}
	k := kinds[i]
	hint := ""
	if k.hint != "" {
		hint = "\nhint: " + k.hint
	}
	for _, f := range k.fields {
		if _, ok := fields[f]; !ok {
			return fmt.Errorf("%w: predicate: no field %q: expected %s%s", ErrStatement, f, k.name, hint)
		}
	}
	if k.field == "" {
		return nil
	}
	var value string
	if err := json.Unmarshal(fields[k.field], &value); err != nil || !strings.HasPrefix(value, k.prefix) {
		return fmt.Errorf("%w: predicate: %s is %.80s: expected %q first%s", ErrStatement, k.field, fields[k.field], k.prefix, hint)
	}
	return nil
}
