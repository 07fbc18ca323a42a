package sign

import (
	"path/filepath"
	"testing"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/keys"
)

// What is attached is read in both formats, and nothing of it is verified.
func TestAttached(t *testing.T) {
	image := inLayout(t, nested(t))
	pair, err := keys.Generate([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(t.TempDir(), "k")
	if err := pair.Write(base); err != nil {
		t.Fatal(err)
	}
	o := SignOptions{Image: image, Key: base + ".key", NoLog: true, Repository: "registry.example/app",
		Keys: keys.Options{LookupEnv: func(string) (string, bool) { return "secret", true }}}
	if _, err := Attest(t.Context(), AttestOptions{SignOptions: o, SignImage: true, Attestations: []Attestation{
		{Type: "spdxjson", Predicate: []byte(`{"spdxVersion":"SPDX-2.3"}`)},
	}}); err != nil {
		t.Fatal(err)
	}
	ref, err := target.Parse(image)
	if err != nil {
		t.Fatal(err)
	}
	at, err := target.Open(t.Context(), ref, target.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := at.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := Attached(t.Context(), at, d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if found.Signatures != 2 || len(found.Statements) != 2 || len(found.Problems) != 0 {
		t.Fatalf("%+v", found)
	}
	for _, s := range found.Statements {
		if !s.IsSBOM() || string(s.Predicate) != `{"spdxVersion":"SPDX-2.3"}` {
			t.Errorf("%s: %s %s", s.Where, s.PredicateType, s.Predicate)
		}
	}
	if found.Statements[0].Format != "legacy" || found.Statements[1].Format != "bundle" {
		t.Errorf("formats %s and %s", found.Statements[0].Format, found.Statements[1].Format)
	}
}
