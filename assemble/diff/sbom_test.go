package diff_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/diff"
)

func TestParseDocument(t *testing.T) {
	d, err := diff.ParseDocument([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[
	 {"type":"library","name":"a","version":"1","purl":"pkg:apk/a@1","licenses":[{"license":{"id":"MIT"}},{"expression":"ISC OR MIT"}],
	  "components":[{"type":"file","name":"f"},{"type":"library","name":"b","licenses":[{"license":{"name":"own"}}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d.Format != "CycloneDX-1.6" || len(d.Components) != 2 || d.Components[0].License != "MIT AND ISC OR MIT" || d.Components[1].License != "own" {
		t.Errorf("%+v", d)
	}
	for _, c := range []struct{ raw, want string }{
		{"", "not an SBOM: unexpected end of JSON input"},
		{"{}", "not an SBOM: neither spdxVersion nor bomFormat: CycloneDX"},
		{`{"spdxVersion":"SPDX-2.3","packages":1}`, "not an SBOM: json"},
		{`{"bomFormat":"CycloneDX","components":{}}`, "not an SBOM: json"},
		{`{"bomFormat":"CycloneDX","components":[` + strings.Repeat(`{"components":[`, 40) + strings.Repeat(`]}`, 40) + `]}`, "nested more than 32 deep"},
	} {
		if _, err := diff.ParseDocument([]byte(c.raw)); !errors.Is(err, diff.ErrDocument) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: found %v, expected %s", c.raw, err, c.want)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"spdxVersion":"SPDX-2.3","packages":[{"name":"a","externalRefs":[{"referenceType":"purl","referenceLocator":"p"}]}]}`))
	f.Add([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"a","components":[{"name":"b"}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := diff.ParseDocument(b)
		if (d == nil) == (err == nil) || err != nil && !errors.Is(err, diff.ErrDocument) {
			t.Errorf("%v, %v", d, err)
		}
	})
}
