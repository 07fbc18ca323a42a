package sbom

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	spdxjson "github.com/spdx/tools-golang/json"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/tree"
)

func put(t testing.TB, files map[string]string) *tree.Tree {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := tree.Directory(dir, tree.DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	if err := tr.Hash(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	return tr
}

func sample(t testing.TB) Input {
	return Input{
		Package:   apk.Package{Name: "hello", Version: "1.0-r0", Arch: "x86_64", License: "LicenseRef-b AND LicenseRef-a", BuildTime: 1700000000},
		Namespace: "wolfi",
		Tree: put(t, map[string]string{"usr/bin/hello": "x", "usr/a b": "y", "usr/a-b": "z", "var/lib/db/sbom/old.spdx.json": "{}",
			"usr/lib/python3.13/site-packages/Foo_Bar-1.dist-info/METADATA": "Name: Foo_Bar\nVersion: 1\n\nName: no\n",
			"usr/lib/node_modules/@s/p/package.json":                        `{"name":"@s/p","version":"2.0.0"}`}),
		Licenses:    map[string]string{"LicenseRef-a": "text a", "LicenseRef-b": "text b", "LicenseRef-c": "text c"},
		Sources:     []Source{{Name: "hello", Version: "1.0", Location: "https://example.com/hello.tar.gz", SHA256: apk.SHA256{1}}},
		Environment: []apk.Package{{Name: "make", Version: "4-r0"}, {Name: "gcc", Version: "13-r0", Checksum: apk.SHA1{2}}},
	}
}

func generated(t testing.TB, in Input) []byte {
	t.Helper()
	b, err := Generate(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGenerateIsSPDX(t *testing.T) {
	b := generated(t, sample(t))
	doc, err := spdxjson.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var packages, files, licences []string
	for _, p := range doc.Packages {
		packages = append(packages, p.PackageName+" "+p.PackageVersion)
	}
	for _, f := range doc.Files {
		files = append(files, string(f.FileSPDXIdentifier)+" "+f.FileName)
	}
	for _, l := range doc.OtherLicenses {
		licences = append(licences, l.LicenseIdentifier)
	}
	want := [][]string{
		{"hello 1.0-r0", "hello 1.0", "gcc 13-r0", "make 4-r0", "@s/p 2.0.0", "foo-bar 1"},
		{"File-usr-a-b ./usr/a b", "File-usr-a-b-2 ./usr/a-b", "File-usr-bin-hello ./usr/bin/hello",
			"File-usr-lib-node-modules--s-p-package.json ./usr/lib/node_modules/@s/p/package.json",
			"File-usr-lib-python3.13-site-packages-Foo-Bar-1.dist-info-METADATA ./usr/lib/python3.13/site-packages/Foo_Bar-1.dist-info/METADATA"},
		{"LicenseRef-a", "LicenseRef-b", "LicenseRef-c"},
	}
	if diff := cmp.Diff(want, [][]string{packages, files, licences}); diff != "" {
		t.Error(diff)
	}
	if doc.CreationInfo.Created != "2023-11-14T22:13:20Z" || doc.Packages[0].PackageVerificationCode == nil {
		t.Errorf("%+v", doc.CreationInfo)
	}
	if !strings.Contains(string(b), `"pkg:apk/wolfi/hello@1.0-r0?arch=x86_64&distro=wolfi"`) {
		t.Error("no package URL")
	}
}

func TestMelangeDefect_OrderOfLicenceTexts(t *testing.T) {
	in := sample(t)
	want := generated(t, in)
	for range 20 {
		if !bytes.Equal(generated(t, in), want) {
			t.Fatal("the same input gave two documents")
		}
	}
}

func TestMelangeDefect_NamespacesAreShared(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a", "b"} {
		in := sample(t)
		in.Package.Name = name
		for _, content := range []string{"1", "2"} {
			in.Tree = put(t, map[string]string{"usr/x": content})
			var d struct{ DocumentNamespace string }
			if err := json.Unmarshal(generated(t, in), &d); err != nil {
				t.Fatal(err)
			}
			if other := seen[d.DocumentNamespace]; other != "" {
				t.Errorf("%s of %s%s and %s", d.DocumentNamespace, name, content, other)
			}
			seen[d.DocumentNamespace] = name + content
		}
	}
}

// The running test is a Go program with modules.
func TestGoModules(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skip(err)
	}
	list, err := Modules(context.Background(), put(t, map[string]string{"usr/bin/x": string(self)}))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range list {
		found[m.Name] = m.Type == "golang" && m.Path == "usr/bin/x" && strings.HasPrefix(m.PURL, "pkg:golang/")
	}
	if !found["stdlib"] || !found["github.com/cairn-dev/cairn"] {
		t.Errorf("%v", list)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "Name: x\n", "\nName: x\nVersion: 1\n", "Name: a b\nVersion: 1\n"} {
		if m, ok := ParsePython([]byte(s)); ok {
			t.Errorf("%q: %v", s, m)
		}
	}
	for _, s := range []string{"", "{}", `{"name":"a"}`, `{"name":"a b","version":"1"}`, `{"name":1,"version":"1"}`} {
		if m, ok := ParseNPM([]byte(s)); ok {
			t.Errorf("%q: %v", s, m)
		}
	}
}

func FuzzParsePython(f *testing.F) {
	f.Add([]byte("Name: a\nVersion: 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := ParsePython(b); ok && (m.Name == "" || m.Version == "") {
			t.Errorf("%+v", m)
		}
	})
}

func FuzzParseNPM(f *testing.F) {
	f.Add([]byte(`{"name":"a","version":"1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := ParseNPM(b); ok && (m.Name == "" || m.Version == "") {
			t.Errorf("%+v", m)
		}
	})
}
