package imagetest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestBadFiles(t *testing.T) {
	v2 := "schemaVersion: 2.0.0\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":       {"", `x.yaml:1:1: test file: empty: found no key, expected schemaVersion`},
		"not yaml":    {"a: [", `x.yaml:1:1: test file: not YAML: did not find expected node content`},
		"two":         {v2 + "---\na: b", `x.yaml:3:1: test file: second YAML document: found one more after "---", expected one`},
		"no version":  {"commandTests: []", "x.yaml:1:1: schemaVersion: missing: expected schemaVersion here"},
		"version":     {"schemaVersion: 3.0.0", "x.yaml:1:16: schemaVersion: unknown value: found \"3.0.0\", expected 2.0.0, 1.0.0\n  hint: did you mean 2.0.0?"},
		"list":        {"[]", "x.yaml:1:1: test file: wrong type: found a list, expected a mapping"},
		"unknown key": {v2 + "commandTest: []", "x.yaml:2:1: commandTest: unknown key: expected one of schemaVersion, globalEnvVars, commandTests, fileExistenceTests, fileContentTests, metadataTest, licenseTests, containerRunOptions, cairn\n  hint: did you mean commandTests?"},
		"inner key": {v2 + "cairn:\n  noShells: true", "x.yaml:3:3: cairn.noShells: unknown key: expected one of noShell, noSetuid, noWorldWritable, user, maxSize, maxLayers, packages, reproducible\n" +
			"  hint: did you mean noShell?"},
		"twice":        {v2 + "cairn: {user: a}\ncairn: {user: b}", "x.yaml:3:1: cairn: duplicate key: already set in line 2"},
		"old command":  {v2 + "commandTests: [{name: a, command: [b]}]", "x.yaml:2:35: commandTests[0].command: wrong type: found a list, expected text\n  hint: in schemaVersion 2.0.0 command is the program and args are its arguments"},
		"args":         {v2 + "commandTests: [{name: a, command: b, args: -c}]", "x.yaml:2:44: commandTests[0].args: wrong type: found \"-c\", expected a list\n  hint: a list with one element is written [-c]"},
		"regexp":       {v2 + "fileContentTests:\n- name: a\n  path: /b\n  expectedContents:\n  - 'c('", "x.yaml:6:5: fileContentTests[0].expectedContents[0]: not a regular expression: missing closing ): `c(`\n  hint: the syntax is that of Go: https://golang.org/s/re2syntax"},
		"no contents":  {v2 + "fileContentTests: [{name: a, path: b}]", "x.yaml:2:20: fileContentTests[0]: asks for nothing: expected expectedContents or excludedContents"},
		"no name":      {v2 + "fileExistenceTests: [{path: b}]", "x.yaml:2:22: fileExistenceTests[0].name: missing: expected name here"},
		"empty path":   {v2 + "fileExistenceTests: [{name: a, path: ''}]", "x.yaml:2:38: fileExistenceTests[0].path: empty: expected text"},
		"nothing":      {v2 + "fileExistenceTests: [{name: a, path: }]", "x.yaml:2:38: fileExistenceTests[0].path: wrong type: found nothing, expected text"},
		"permissions":  {v2 + "fileExistenceTests: [{name: a, path: b, permissions: 0755}]", "x.yaml:2:54: fileExistenceTests[0].permissions: not permissions: found \"0755\"\n  hint: write the type and nine letters, as ls -l does: -rw-r--r-- for a file, drwxr-xr-x for a directory, dtrwxrwxrwx with the sticky bit"},
		"who":          {v2 + "fileExistenceTests: [{name: a, path: b, isExecutableBy: others}]", "x.yaml:2:57: fileExistenceTests[0].isExecutableBy: unknown value: found \"others\", expected owner, group, other, any\n  hint: did you mean other?"},
		"none and uid": {v2 + "fileExistenceTests: [{name: a, path: b, shouldExist: false, uid: 0}]", "x.yaml:2:22: fileExistenceTests[0]: contradiction: expected no permissions, uid, gid or isExecutableBy of what should not exist"},
		"bool":         {v2 + "fileExistenceTests: [{name: a, path: b, shouldExist: maybe}]", "x.yaml:2:54: fileExistenceTests[0].shouldExist: wrong type: found \"maybe\", expected true or false"},
		"exit code":    {v2 + "commandTests: [{name: a, command: b, exitCode: 256}]", "x.yaml:2:48: commandTests[0].exitCode: out of range: found 256, expected 0 to 255"},
		"setup":        {v2 + "commandTests: [{name: a, command: b, setup: [[]]}]", "x.yaml:2:46: commandTests[0].setup[0]: empty: expected a command and its arguments"},
		"env name":     {v2 + "globalEnvVars: [{key: a=b}]", `x.yaml:2:23: globalEnvVars[0].key: not a name: found "a=b"`},
		"env regexp":   {v2 + "globalEnvVars: [{key: a, isRegex: true}]", "x.yaml:2:35: globalEnvVars[0].isRegex: not possible: a variable that is set has one value"},
		"label regexp": {v2 + "metadataTest: {labels: [{key: a, value: '[', isRegex: true}]}", "x.yaml:2:41: metadataTest.labels[0].value: not a regular expression: missing closing ]: `[`\n  hint: the syntax is that of Go: https://golang.org/s/re2syntax"},
		"licences":     {v2 + "licenseTests: [{debian: false}]", "x.yaml:2:16: licenseTests[0]: asks for nothing: expected debian: true or files"},
		"size":         {v2 + "cairn: {maxSize: 20 apples}", `x.yaml:2:18: cairn.maxSize: not a size: found "20 apples", expected a size such as 20MB or 64MiB`},
		"layers":       {v2 + "cairn: {maxLayers: 0}", "x.yaml:2:20: cairn.maxLayers: too small: found 0, expected 1 or more"},
		"package":      {v2 + "cairn: {packages: {present: ['!a']}}", "x.yaml:2:30: cairn.packages.present[0]: contradiction: found \"!a\" among those that should be there\n  hint: write it under absent, without the !"},
		"env file":     {v2 + "containerRunOptions: {envFile: none}", "x.yaml:2:32: containerRunOptions.envFile: cannot be read: open DIR/none: no such file or directory"},
		"mount":        {v2 + "containerRunOptions: {bindMounts: [/a]}", `x.yaml:2:36: containerRunOptions.bindMounts[0]: not a bind mount: found "/a", expected DIR:/PATH`},
		"old metadata": {"schemaVersion: 1.0.0\nmetadataTest: {}", "x.yaml:2:1: metadataTest: unknown key: expected one of schemaVersion, globalEnvVars, commandTests, fileExistenceTests, fileContentTests, licenseTests, cairn"},
		"old empty":    {"schemaVersion: 1.0.0\ncommandTests: [{name: a, command: []}]", "x.yaml:2:35: commandTests[0].command: empty: expected text"},
	} {
		dir := t.TempDir()
		_, err := Parse("x.yaml", []byte(c.text), dir)
		var bad *Errors
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != c.want {
			t.Errorf("%s:\nfound    %s\nexpected %s", name, got, c.want)
		}
	}
}

func TestLoadReadsWithinLimits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json") // JSON is YAML
	for text, want := range map[string]string{
		`{"schemaVersion": "2.0.0", "containerRunOptions": {"envFile": "env", "bindMounts": ["/a:/b"]}}`: "",
		"schemaVersion: 2.0.0\n" + strings.Repeat("#", maxFile):                                          path + ":1:1: test file: too large: expected at most 1048576 bytes",
	} {
		for name, content := range map[string]string{"env": "A=1", "a.json": text} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f, err := Load(path)
		if want == "" && (err != nil || string(f.envFileContent) != "A=1") || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("found %v, %v, expected %q", f, err, want)
		}
	}
	// Beside the file, then elsewhere.
	if f, err := Parse("x", []byte("schemaVersion: 2.0.0\ncontainerRunOptions: {envFile: env}\nlicenseTests: [{debian: true, files: }]"), t.TempDir(), dir); err != nil || string(f.envFileContent) != "A=1" {
		t.Errorf("found %v, %v", f, err)
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("found %v", err)
	}
}

// The files that Google's distroless images are tested with are read as they are.
func TestFilesOfDistroless(t *testing.T) {
	n := 0
	err := filepath.WalkDir(apktest.Data(t, "distroless"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), "schemaVersion") {
			return err
		}
		n++
		f, err := Load(path)
		if err == nil && len(f.Commands)+len(f.FileExistence)+len(f.FileContent) == 0 && f.Metadata == nil {
			t.Errorf("%s: no test in it", path)
		}
		return err
	})
	if err != nil || n < 10 {
		t.Errorf("%d files: %v", n, err)
	}
}

func TestOldSchema(t *testing.T) {
	f := parse(t, "schemaVersion: \"1.0.0\"\ncommandTests: [{name: a, command: [b, -c, d], exitCode: 2}]\nfileExistenceTests: [{name: e, path: /f}]")
	if c := f.Commands[0]; c.Command != "b" || strings.Join(c.Args, " ") != "-c d" || c.ExitCode != 2 || len(f.FileExistence) != 1 {
		t.Errorf("found %+v", f)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "20MB": 20e6, "1.5 GiB": 3 << 29, "500kB": 500e3, "64MiB": 64 << 20} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s: found %d, %v, expected %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1MB", "0", "1TBs", "NaN", "1e30GB", "MB20"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: found %d, expected an error", text, got)
		}
	}
}

// FuzzParse: whatever a file says, it is a test file or a list of problems with
// positions.
func FuzzParse(f *testing.F) {
	f.Add([]byte("schemaVersion: 2.0.0\ncommandTests: [{name: a, command: b}]"))
	f.Add([]byte("schemaVersion: 1.0.0\ncairn: &a {packages: {present: [*a]}}"))
	f.Add([]byte("{\"schemaVersion\": \"2.0.0\", \"cairn\": {\"maxSize\": \"1MB\"}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse("x", text, t.TempDir())
		var bad *Errors
		switch {
		case err == nil && file.SchemaVersion != "2.0.0" && file.SchemaVersion != "1.0.0":
			t.Errorf("schema %q", file.SchemaVersion)
		case err != nil && (!errors.As(err, &bad) || len(bad.Problems) == 0 || bad.Problems[0].Line < 1):
			t.Errorf("found %v", err)
		}
	})
}
