package provenance

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/build"
	"github.com/cairn-dev/cairn/packages/build/source"
	"github.com/cairn-dev/cairn/packages/definition"
)

func record() *build.Record {
	return &build.Record{
		Build: &definition.Build{Definition: definition.Definition{File: "defs/hello.yaml", SHA256: strings.Repeat("d", 64),
			Package: definition.Package{Name: "hello", Version: "1.2", Epoch: 3}}, Arch: "x86_64"},
		Beside: strings.Repeat("b", 64), Epoch: time.Unix(1_700_000_000, 0), Runner: "bubblewrap",
		Environment: []apk.Package{{Name: "gcc", Version: "14-r0", Arch: "x86_64"}}, SHA256: []apk.SHA256{{1}},
		Materials: []source.Material{{URI: "https://example.org/hello-1.2.tar.gz", Digest: map[string]string{"sha256": strings.Repeat("e", 64)}}},
	}
}

// melange marshals a Go structure: "type" and "predicate_type" in place of in-toto's
// names, the digest of the data section as that of the file, and none of what the package
// was made from.
func TestMelangeDefect_AttestationIsNoStatement(t *testing.T) {
	made := build.Made{Name: "hello-1.2-r3.apk", SHA256: apk.SHA256{9}}
	raw, err := Package(PackageInput{Record: record(), Package: made, Namespace: "test", Version: "1.0"})
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(raw, &keys); err != nil || keys["_type"] != intoto.StatementTypeUri || keys["predicateType"] != "https://slsa.dev/provenance/v1" {
		t.Fatalf("%v: %s", err, raw)
	}
	statement := readStatement(t, raw)
	if s := statement.GetSubject(); len(s) != 1 || s[0].GetName() != made.Name || s[0].GetDigest()["sha256"] != made.SHA256.Hex() {
		t.Errorf("subject %v, expected the file", s)
	}
	predicate, err := protojson.Marshal(statement.GetPredicate())
	if err != nil {
		t.Fatal(err)
	}
	p := readPredicate(t, predicate)
	kinds := map[string]int{}
	for _, d := range p.GetBuildDefinition().GetResolvedDependencies() {
		kinds[d.GetAnnotations().GetFields()["kind"].GetStringValue()]++
		if len(d.GetDigest()["sha256"]) != 64 {
			t.Errorf("%s%s: digest %v", d.GetName(), d.GetUri(), d.GetDigest())
		}
	}
	if kinds["definition"] != 1 || kinds["source"] != 1 || kinds["package"] != 1 {
		t.Errorf("resolved dependencies: %v", kinds)
	}
	again, err := Package(PackageInput{Record: record(), Package: made, Namespace: "test", Version: "1.0"})
	if err != nil || string(again) != string(raw) {
		t.Errorf("the same input: %v: %s", err, again)
	}
}

func TestPackageIncomplete(t *testing.T) {
	made := build.Made{Name: "hello-1.2-r3.apk", SHA256: apk.SHA256{9}}
	for name, change := range map[string]func(*PackageInput){
		"no package":            func(in *PackageInput) { in.Package = build.Made{} },
		"no definition":         func(in *PackageInput) { in.Record.Build = nil },
		"source not identified": func(in *PackageInput) { in.Record.Materials[0].Digest = nil },
	} {
		in := PackageInput{Record: record(), Package: made}
		change(&in)
		if _, err := Package(in); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
