package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

var revisionText = strings.Repeat("ab", 20)

// built is a build that uses everything that provenance has a field for.
func built(t testing.TB) Input {
	t.Helper()
	dir := t.TempDir()
	key := apktest.NewKey("key.rsa.pub")
	base := apktest.Spec{Package: apk.Package{Name: "base", Version: "1-r0", Origin: "base-origin"}, Parents: true, Sign: key, Algorithm: "RSA256",
		Files: []apktest.File{{Path: "etc/os-release", Content: "ID=test\nVERSION_ID=3\n"}}}
	app := apktest.Spec{Package: apk.Package{Name: "app", Version: "1-r0"}, Parents: true, Files: []apktest.File{{Path: "usr/bin/app", Content: "app"}}}
	for _, arch := range []string{"x86_64", "aarch64"} {
		apktest.Repository{Arch: arch, Key: key, Packages: []apktest.Spec{base, app}}.Write(t, filepath.Join(dir, "repo"))
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("key.rsa.pub", string(key.PublicPEM()))
	file("local.txt", "local\n")
	file("slices.yaml", sliceText)
	file("common.yaml", "contents: {repositories: ["+dir+"/repo], keyring: ["+dir+"/key.rsa.pub]}\n")
	cfg, err := config.Load(file("image.yaml", "include: common.yaml\nslices: slices.yaml\ncontents: {packages: [base]}\narchs: [x86_64]\nfiles:\n"+
		"  - {path: /etc/inline, content: inline}\n  - {path: /etc/local, source: local.txt, sha256: "+sum([]byte("local\n"))["sha256"]+"}\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Apply(config.Overrides{Packages: []string{"app"}, Archs: []string{"x86_64", "aarch64"}, Annotations: map[string]string{"a": "b"},
		VCSURL: "https://git.example/team/app@" + revisionText}); err != nil {
		t.Fatal(err)
	}
	ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	o := assemble.Options{Version: "1.2.3", Author: "someone", Created: time.Unix(1700000000, 0).UTC(), Unsafe: assemble.Unsafe{BrokenSBOM: true}}
	r, err := assemble.Build(t.Context(), ws, cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	return Input{Result: r, Config: cfg, Options: o, Builder: "https://ci.example/builds", Invocation: "https://ci.example/runs/7",
		Started: time.Unix(1700000100, 5).UTC(), Finished: time.Unix(1700000200, 0).UTC()}
}

// sliceText defines a slice that nobody asks for: the file is read all the same.
const sliceText = "app: {bin: {paths: [usr/bin/app]}}\n"

func predicateOf(t testing.TB, in Input) []byte {
	t.Helper()
	b, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPredicateIsSLSAs reads the predicate by the definition in
// github.com/in-toto/attestation, which refuses fields that it does not know, and
// finds every field again in what that writes.
func TestPredicateIsSLSAs(t *testing.T) {
	for _, name := range []string{"everything", "nothing that can be left out"} {
		t.Run(name, func(t *testing.T) {
			in := built(t)
			if name != "everything" {
				in.Builder, in.Invocation, in.Started, in.Finished = "", "", time.Time{}, time.Time{}
			}
			raw := predicateOf(t, in)
			again, err := protojson.Marshal(readPredicate(t, raw))
			if err != nil {
				t.Fatal(err)
			}
			if a, b := value(t, raw), value(t, again); !reflect.DeepEqual(a, b) {
				t.Errorf("dropped on the way:\nwritten %v\nread    %v", a, b)
			}
		})
	}
}

// readPredicate reads a predicate by in-toto's definition.
func readPredicate(t testing.TB, raw []byte) *slsa.Provenance {
	t.Helper()
	var p slsa.Provenance
	if err := protojson.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	return &p
}

// readStatement reads a statement by in-toto's definition.
func readStatement(t testing.TB, raw []byte) *intoto.Statement {
	t.Helper()
	var s intoto.Statement
	if err := protojson.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	return &s
}

func TestStatementIsInTotos(t *testing.T) {
	in := built(t)
	raw, err := Statement(in.Result, "registry.example/team/app", predicateOf(t, in))
	if err != nil {
		t.Fatal(err)
	}
	s := readStatement(t, raw)
	if len(s.Subject) != 3 || s.Subject[0].Digest["sha256"] != in.Result.Digest.Hex || s.PredicateType != PredicateType || s.Subject[0].Name != "registry.example/team/app" {
		t.Errorf("subjects %v, type %s", s.Subject, s.PredicateType)
	}
}

func value(t testing.TB, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// in follows keys and positions through a JSON value.
func in(t testing.TB, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: %v is no object", path, v)
			}
			v = m[s]
		case int:
			l, ok := v.([]any)
			if !ok || s >= len(l) {
				t.Fatalf("%v: %v has no element %d", path, v, s)
			}
			v = l[s]
		}
	}
	return v
}

func TestExternalParametersAreComplete(t *testing.T) {
	build := built(t)
	p := value(t, predicateOf(t, build))
	e := func(path ...any) any {
		return in(t, p, append([]any{"buildDefinition", "externalParameters"}, path...)...)
	}
	for _, c := range []struct {
		path []any
		want any
	}{
		{[]any{"config", "digest"}, map[string]any{"sha256": sum(build.Config.Sources[0].Text)["sha256"]}},
		{[]any{"includes", 0, "digest"}, map[string]any{"sha256": sum(build.Config.Sources[1].Text)["sha256"]}},
		{[]any{"files", 0}, map[string]any{"path": "/etc/inline", "digest": map[string]any{"sha256": sum([]byte("inline"))["sha256"]}}},
		{[]any{"files", 1, "digest"}, map[string]any{"sha256": sum([]byte("local\n"))["sha256"]}},
		{[]any{"slices", 0, "digest"}, map[string]any{"sha256": sum([]byte(sliceText))["sha256"]}},
		{[]any{"architectures"}, []any{"x86_64", "aarch64"}},
		{[]any{"lock", "given"}, false},
		{[]any{"source"}, "https://git.example/team/app@" + revisionText},
		{[]any{"flags"}, map[string]any{
			"packageAppend": []any{"app"}, "annotations": map[string]any{"a": "b"}, "arch": []any{"x86_64", "aarch64"},
			"vcsUrl": "https://git.example/team/app@" + revisionText, "buildDate": "2023-11-14T22:13:20Z", "author": "someone",
			"unsafe": []any{"broken-sbom"},
		}},
	} {
		if got := e(c.path...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: found %v, expected %v", c.path, got, c.want)
		}
	}
	if id, _ := e("lock", "id").(string); !strings.HasPrefix(id, "sha256:") {
		t.Errorf("lock %v", e("lock"))
	}
	// A field of the flags that nobody copies would be missed in silence.
	if n := reflect.TypeFor[config.Overrides]().NumField(); n != 7 {
		t.Errorf("config.Overrides has %d fields, provenance knows 7", n)
	}
}

func TestResolvedDependencies(t *testing.T) {
	build := built(t)
	p := value(t, predicateOf(t, build))
	list, _ := in(t, p, "buildDefinition", "resolvedDependencies").([]any)
	kinds := map[string]int{}
	pinned := regexp.MustCompile(`^[0-9a-f]{40,64}$`)
	for _, d := range list {
		kind, _ := in(t, d, "annotations", "kind").(string)
		kinds[kind]++
		digest, _ := in(t, d, "digest").(map[string]any)
		for algorithm, v := range digest {
			if s, _ := v.(string); !pinned.MatchString(s) {
				t.Errorf("%s: digest %s:%v", kind, algorithm, v)
			}
		}
		if len(digest) == 0 {
			t.Errorf("%v: not pinned by a digest", d)
		}
	}
	want := map[string]int{"package": 4, "index": 2, "key": 1, "configuration": 1, "include": 1, "inline file": 1, "file": 1, "slice definitions": 1, "source": 1}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("found %v, expected %v", kinds, want)
	}
	for i := range build.Result.Packages {
		d := list[i]
		r := build.Result.Packages[i].Receipt
		signed := r.Package.Name == "base"
		a, _ := in(t, d, "annotations").(map[string]any)
		if in(t, d, "digest", "sha256") != r.FileSHA256.Hex() || a["controlSha1"] != r.Package.Checksum.Hex() || a["dataSha256"] != r.DataHash.Hex() {
			t.Errorf("package %s: %v", r.ID(), d)
		}
		if a["signedBy"] != "key.rsa.pub" || len(a["signingKeySha256"].(string)) != 64 || (a["listedIn"] == nil) != signed {
			t.Errorf("package %s: signed by %v, listed in %v", r.ID(), a["signedBy"], a["listedIn"])
		}
		if u, _ := in(t, d, "uri").(string); !strings.HasPrefix(u, "pkg:apk/test/"+r.Package.Name+"@1-r0?") || !strings.Contains(u, "distro=test-3") {
			t.Errorf("package %s: %s", r.ID(), u)
		}
		if l, _ := in(t, d, "downloadLocation").(string); !strings.HasSuffix(l, "/"+r.ID()+".apk") {
			t.Errorf("package %s: from %s", r.ID(), l)
		}
	}
}

// TestOnlyTimesDiffer: two builds of the same say the same but for when.
func TestOnlyTimesDiffer(t *testing.T) {
	build := built(t)
	a := predicateOf(t, build)
	if b := predicateOf(t, build); !bytes.Equal(a, b) {
		t.Error("the same input gave different bytes")
	}
	later := build
	later.Started, later.Finished = build.Started.Add(time.Hour), build.Finished.Add(time.Hour)
	x, y := value(t, a), value(t, predicateOf(t, later))
	if reflect.DeepEqual(x, y) {
		t.Error("the times are not there")
	}
	for _, v := range []any{x, y} {
		delete(in(t, v, "runDetails").(map[string]any), "metadata")
	}
	if !reflect.DeepEqual(x, y) {
		t.Errorf("more than the times differs:\n%v\n%v", x, y)
	}
	if got := in(t, value(t, a), "runDetails", "metadata"); !reflect.DeepEqual(got, map[string]any{
		"invocationId": "https://ci.example/runs/7", "startedOn": "2023-11-14T22:15:00Z", "finishedOn": "2023-11-14T22:16:40Z"}) {
		t.Errorf("metadata %v", got)
	}
}

func TestTheDefaultBuilderPromisesNothing(t *testing.T) {
	build := built(t)
	build.Builder, build.Options.Version = "", ""
	got := in(t, value(t, predicateOf(t, build)), "runDetails", "builder")
	if !reflect.DeepEqual(got, map[string]any{"id": LocalBuilder}) {
		t.Errorf("builder %v", got)
	}
}

func TestNoCredentials(t *testing.T) {
	for line, want := range map[string]string{
		"https://me:hunter2@example.org/repo":        "https://",
		"@tag https://me:hunter2@example.org/repo":   "@tag https://",
		"-----BEGIN PUBLIC KEY-----\nhunter2\n-----": "inline sha256:",
		"/local/path": "/local/path",
	} {
		if got := redactLine(line); strings.Contains(got, "hunter2") || !strings.HasPrefix(got, want) {
			t.Errorf("%q became %q, expected %q", line, got, want)
		}
	}
}

func TestIncompleteInput(t *testing.T) {
	whole := built(t)
	for name, change := range map[string]func(*Input){
		"no result":        func(i *Input) { i.Result = nil },
		"no configuration": func(i *Input) { i.Config = nil },
		"no lock":          func(i *Input) { r := *i.Result; r.Lock = nil; i.Result = &r },
		"no file":          func(i *Input) { c := *i.Config; c.Sources = nil; i.Config = &c },
		"package not locked": func(i *Input) {
			r, l := *i.Result, *i.Result.Lock
			l.Contents.Packages = nil
			r.Lock, i.Result = &l, &r
		},
		"key that is none": func(i *Input) {
			r, l := *i.Result, *i.Result.Lock
			l.Contents.Keyring = append(l.Contents.Keyring[:0:0], l.Contents.Keyring...)
			l.Contents.Keyring[0].Content = "hello"
			r.Lock, i.Result = &l, &r
		},
	} {
		own := whole
		change(&own)
		if b, err := New(own); !errors.Is(err, ErrIncomplete) || b != nil {
			t.Errorf("%s: error %v, expected ErrIncomplete", name, err)
		}
	}
}
