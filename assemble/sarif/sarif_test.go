package sarif

import (
	"bytes"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, Driver{Name: "tool", Version: "1", Rules: []Rule{{ID: "r", Short: Text{"a <b>"}, Configuration: &Configuration{"note"}}}}, []Result{{
		RuleID: "r", Level: "error", Message: Text{"m"}, Locations: []Location{{Physical: &Physical{Artifact{URI("a b")}, &Region{StartLine: 3}}, Logical: []Logical{{"x", "resource"}}}},
		Suppressions: []Suppression{{Kind: "external"}}}}); err != nil {
		t.Fatal(err)
	}
	want := `{
  "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
  "version": "2.1.0",
  "runs": [
    {
      "tool": {
        "driver": {
          "name": "tool",
          "version": "1",
          "rules": [
            {
              "id": "r",
              "shortDescription": {
                "text": "a <b>"
              },
              "defaultConfiguration": {
                "level": "note"
              }
            }
          ]
        }
      },
      "results": [
        {
          "ruleId": "r",
          "level": "error",
          "message": {
            "text": "m"
          },
          "locations": [
            {
              "physicalLocation": {
                "artifactLocation": {
                  "uri": "a%20b"
                },
                "region": {
                  "startLine": 3
                }
              },
              "logicalLocations": [
                {
                  "fullyQualifiedName": "x",
                  "kind": "resource"
                }
              ]
            }
          ],
          "suppressions": [
            {
              "kind": "external"
            }
          ]
        }
      ]
    }
  ]
}
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	// Nothing found is said, too: an empty list.
	b.Reset()
	if err := Write(&b, Driver{Name: "tool"}, nil); err != nil || !bytes.Contains(b.Bytes(), []byte(`"results": []`)) || !bytes.Contains(b.Bytes(), []byte(`"rules": []`)) {
		t.Errorf("found %s, %v", b.String(), err)
	}
}

func FuzzURI(f *testing.F) {
	f.Add("usr/bin/s%C3u")
	f.Add("a b\x00ü:?#[")
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.PathUnescape(URI(path))
		if err != nil || u != path {
			t.Errorf("%q: found %q, %v", path, u, err)
		}
	})
}
