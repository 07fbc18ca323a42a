package sbom

import (
	"archive/zip"
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// jar makes a Java archive of names and contents.
func jar(t testing.TB, pairs ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := 0; i < len(pairs); i += 2 {
		f, err := w.Create(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func found(p string, content string) (out []string) {
	for _, m := range FileModules(p, []byte(content)) {
		out = append(out, m.PURL+" "+m.Path)
	}
	return out
}

const pom = "#Generated\ngroupId=org.example\nartifactId=lib\nversion=1.2\n"

func TestFileModules(t *testing.T) {
	lib := jar(t, "META-INF/maven/org.example/lib/pom.properties", pom, "META-INF/MANIFEST.MF", "Implementation-Title: other\nImplementation-Version: 9\n")
	for _, test := range []struct {
		name, path, content string
		want                []string
	}{
		{"python", "/a/x.dist-info/METADATA", "Name: My_App\nVersion: 1\n\nName: no", []string{"pkg:pypi/my-app@1 /a/x.dist-info/METADATA"}},
		{"npm", "/a/node_modules/@s/x/package.json", `{"name": "@s/x", "version": "2.0.0"}`, []string{"pkg:npm/%40s/x@2.0.0 /a/node_modules/@s/x/package.json"}},
		{"npm, of the application itself", "/a/package.json", `{"name": "x", "version": "2.0.0"}`, nil},
		{"lock 3", "/package-lock.json", `{"packages": {"": {"version": "1"}, "node_modules/b": {"version": "1"}, "node_modules/b/node_modules/@s/a": {"version": "2"},
			"node_modules/alias": {"name": "real", "version": "3"}, "node_modules/d": {"version": "1", "dev": true}, "node_modules/l": {"link": true}}}`,
			[]string{"pkg:npm/real@3 /package-lock.json", "pkg:npm/b@1 /package-lock.json", "pkg:npm/%40s/a@2 /package-lock.json"}},
		{"lock 1", "/package-lock.json", `{"dependencies": {"b": {"version": "1", "dependencies": {"c": {"version": "2"}}}, "d": {"version": "1", "dev": true}}}`,
			[]string{"pkg:npm/b@1 /package-lock.json", "pkg:npm/c@2 /package-lock.json"}},
		{"jar", "/x.jar", lib, []string{"pkg:maven/org.example/lib@1.2 /x.jar!/META-INF/maven/org.example/lib/pom.properties"}},
		{"jar in a jar", "/app.jar", jar(t, "BOOT-INF/lib/lib.jar", lib),
			[]string{"pkg:maven/org.example/lib@1.2 /app.jar!/BOOT-INF/lib/lib.jar!/META-INF/maven/org.example/lib/pom.properties"}},
		{"manifest", "/x.jar", jar(t, "META-INF/MANIFEST.MF", "Implementation-Vendor-Id: org.ex\r\n ample\r\nImplementation-Title: lib\r\nImplementation-Version: 3\r\n\r\nName: a\r\nImplementation-Version: 4\r\n"),
			[]string{"pkg:maven/org.example/lib@3 /x.jar!/META-INF/MANIFEST.MF"}},
		{"manifest without a group", "/x.jar", jar(t, "META-INF/MANIFEST.MF", "Bundle-SymbolicName: org.example.lib;singleton:=true\nBundle-Version: 3\n"),
			[]string{"pkg:generic/org.example.lib@3 /x.jar!/META-INF/MANIFEST.MF"}},
		{"no zip", "/x.jar", "PK\x03\x04nothing", nil},
		{"no program", "/x", "\x7fELFnothing", nil},
		{"no JSON", "/package-lock.json", "{", nil},
	} {
		if got := found(test.path, test.content); !slices.Equal(got, test.want) {
			t.Errorf("%s: found %q, expected %q", test.name, got, test.want)
		}
	}
}

// The test itself is a Go program.
func TestFileModulesOfGo(t *testing.T) {
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(found("/bin/test", string(b)), "\n")
	for _, want := range []string{"pkg:golang/stdlib@", "pkg:golang/github.com/cairn-dev/cairn@", " /bin/test"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is not in\n%s", want, all)
		}
	}
}

// FuzzFileModules: no file of an application stops a build, and every module has a
// package URL and the file that says so.
func FuzzFileModules(f *testing.F) {
	f.Add("/x.jar", []byte(jar(f, "META-INF/maven/a/b/pom.properties", pom)))
	f.Add("/package-lock.json", []byte(`{"packages": {"node_modules/b": {"version": "1"}}}`))
	f.Add("/x", []byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, p string, b []byte) {
		for _, m := range FileModules(p, b) {
			if !strings.HasPrefix(m.PURL, "pkg:") || !strings.HasPrefix(m.Path, p) {
				t.Errorf("%+v", m)
			}
		}
	})
}
