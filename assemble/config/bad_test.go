package config

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// in returns options that read from memory only.
func in(files map[string]string) Options {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return Options{Open: func(name string) (fs.File, error) { return m.Open(name) }}
}

// load reads text that must be right.
func load(t testing.TB, text string) *Config {
	t.Helper()
	c, err := LoadBytes("image.yaml", []byte(text), in(nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBadInput holds every message against testdata/bad.txtar, word by word.
func TestBadInput(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/bad.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(archive.Files) / 2; n < 60 {
		t.Errorf("%d cases, expected at least 60", n)
	}
	for pair := range slices.Chunk(archive.Files, 2) {
		name := strings.TrimSuffix(pair[0].Name, ".yaml")
		if pair[1].Name != name+".error" {
			t.Fatalf("%s: followed by %s", pair[0].Name, pair[1].Name)
		}
		t.Run(name, func(t *testing.T) {
			c, err := LoadBytes("image.yaml", pair[0].Data, in(nil))
			if err == nil {
				t.Fatal("no error")
			}
			if c != nil {
				t.Error("a configuration beside an error")
			}
			checkProblems(t, err)
			if diff := cmp.Diff(strings.TrimSuffix(string(pair[1].Data), "\n"), err.Error()); diff != "" {
				t.Errorf("message (-expected +found):\n%s", diff)
			}
		})
	}
}

func TestBadText(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", "", `image.yaml:1:1: configuration: empty: found no key, expected at least contents`},
		{"mark only", "\xef\xbb\xbf", `image.yaml:1:1: configuration: empty: found no key, expected at least contents`},
		{"comments only", "# a\n# b\n", `image.yaml:1:1: configuration: empty: found no key, expected at least contents`},
		{"document marker only", "---\n", `image.yaml:1:1: configuration: empty: found no key, expected at least contents`},
		{"null", "~", `image.yaml:1:1: configuration: empty: found no key, expected at least contents`},
		{"UTF-16", "\xff\xfec\x00m\x00d\x00", `image.yaml:1:1: configuration: wrong encoding: found UTF-16, expected UTF-8`},
		{"UTF-16 big endian", "\xfe\xff\x00c", `image.yaml:1:1: configuration: wrong encoding: found UTF-16, expected UTF-8`},
		{"Latin-1", "a: b\ncmd: é\xe9", `image.yaml:2:7: configuration: wrong encoding: found byte 0xe9, expected UTF-8`},
		{"NUL", "cmd: a\x00", `image.yaml:1:7: configuration: control character: found byte 0x00, expected printable text`},
		{"binary", "\x7fELF", `image.yaml:1:1: configuration: control character: found byte 0x7f, expected printable text`},
		{"mark and CRLF", "\xef\xbb\xbfcmd: a\r\ncmds: b\r\n", "image.yaml:2:1: cmds: unknown key: expected one of contents, entrypoint, cmd, stop-signal, work-dir, accounts, archs, environment, paths, vcs-url, annotations, include, volumes, layering, certificates, files, app, keyrings, format, slices, lint, twin\n  hint: did you mean cmd?"},
		{"mistake after a good document", "cmd: a\n---\nb: [", "image.yaml:3:1: configuration: not YAML: did not find expected node content"},
	} {
		_, err := LoadBytes("image.yaml", []byte(tc.text), in(nil))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: found\n%v\nexpected\n%s", tc.name, err, tc.want)
		}
	}
}

func TestGoodText(t *testing.T) {
	for name, text := range map[string]string{
		"byte order mark":      "\xef\xbb\xbfcmd: a b\n",
		"CRLF":                 "cmd: a b\r\n",
		"no line end":          "cmd: a b",
		"markers":              "---\ncmd: a b\n...\n",
		"empty second":         "cmd: a b\n---\n",
		"JSON":                 `{"cmd": "a b"}`,
		"anchor":               "stop-signal: &s SIGTERM\nenvironment: {A: *s}\ncmd: a b\n",
		"merge":                "environment: &e {A: b}\nannotations: {<<: *e, C: d}\ncmd: a b",
		"merge of several":     "environment: &e {A: b}\nannotations: {<<: [*e, {X: y}], C: d}\ncmd: a b",
		"quoted key":           `"cmd": a b`,
		"explicit string":      "cmd: !!str a b",
		"binary":               "cmd: !!binary YSBi",
		"unset keys":           "cmd: a b\ncontents:\nenvironment: ~\npaths: null\n",
		"characters beyond 16": "cmd: a b # 😀\n",
	} {
		c, err := LoadBytes("image.yaml", []byte(text), in(nil))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff([]string{"a", "b"}, c.CmdArgs()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestTooLarge covers both ways a document is too large: bytes and aliases.
func TestTooLarge(t *testing.T) {
	big := "cmd: " + strings.Repeat("a", maxConfigSize)
	_, err := LoadBytes("image.yaml", []byte(big), Options{})
	if err == nil || err.Error() != "image.yaml: too large: expected at most 4194304 bytes" {
		t.Errorf("found %v", err)
	}
	_, err = Load("big.yaml", in(map[string]string{"big.yaml": big}))
	if err == nil || err.Error() != "big.yaml: too large: expected at most 4194304 bytes" {
		t.Errorf("found %v", err)
	}
	var bomb strings.Builder
	bomb.WriteString("accounts:\n  groups:\n  - &g\n    groupname: a\n    gid: 1\n    members: &m\n")
	bomb.WriteString(strings.Repeat("    - a\n", 2000))
	bomb.WriteString(strings.Repeat("  - *g\n", 2000))
	_, err = LoadBytes("image.yaml", []byte(bomb.String()), Options{})
	var e *Errors
	if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Detail != "expected at most 200000 values with aliases expanded" {
		t.Errorf("found %.300v", err)
	}
	laughs := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		laughs += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "]\n"
	}
	if _, err = LoadBytes("image.yaml", []byte(laughs+"cmd: *j\n"), Options{}); err == nil {
		t.Error("no error for nested aliases")
	}
}

func TestErrorsShown(t *testing.T) {
	text := strings.Repeat("a", 3)
	var doc strings.Builder
	for range 150 {
		text += "a"
		doc.WriteString(text + ": 1\n")
	}
	_, err := LoadBytes("image.yaml", []byte(doc.String()), Options{})
	var e *Errors
	if !errors.As(err, &e) || len(e.Problems) != 150 {
		t.Fatalf("found %.200v, expected 150 problems", err)
	}
	if !strings.HasSuffix(err.Error(), "\n… and 50 more problems") {
		t.Errorf("found …%s", err.Error()[len(err.Error())-100:])
	}
}

func TestNotReadable(t *testing.T) {
	_, err := Load("nowhere.yaml", Options{})
	if err == nil || err.Error() != "nowhere.yaml: no such file or directory" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %v", err)
	}
	dir := t.TempDir()
	if _, err = Load(dir, Options{}); err == nil || err.Error() != dir+": not a regular file" {
		t.Errorf("found %v", err)
	}
	if os.Getuid() != 0 {
		name := dir + "/secret.yaml"
		if err := os.WriteFile(name, []byte("cmd: a"), 0o000); err != nil {
			t.Fatal(err)
		}
		if _, err = Load(name, Options{}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("found %v", err)
		}
	}
}

func TestSignals(t *testing.T) {
	for v, want := range map[string]bool{
		"SIGTERM": true, "TERM": true, "sigquit": true, "15": true, "64": true, "SIGRTMIN+3": true,
		"SIGRTMAX-14": true, "RTMIN": true, "SIGPOLL": true,
		"0": false, "65": false, "-1": false, "SIG": false, "SIGEXIT": false, "SIGRTMIN+16": false,
		"SIGRTMAX-15": false, "SIGRTMIN+-1": false, "SIGRTMIN+": false, "TERM ": false,
	} {
		if got := validSignal(v); got != want {
			t.Errorf("validSignal(%q) = %v", v, got)
		}
	}
}

// TestSecretsStayHidden looks for passwords in messages of every kind.
func TestSecretsStayHidden(t *testing.T) {
	for _, text := range []string{
		"contents: {repositories: ['https://u:hunter2@a.example/x?y']}",
		"contents: {repositories: ['https://hunter2@a.example/x?y']}",
		"contents: {repositories: ['@t https://u:hunter2@a.example/x y']}",
		"contents: {repositories: ['https://u:hunter2@a.example/%zz']}",
		"contents: {repositories: ['ftp://u:hunter2@a.example/']}",
		"contents: {keyring: ['s3://u:hunter2@a.example/?sig=hunter2']}",
		"keyrings: {'ftp://u:hunter2@a.example/': [a]}",
		"keyrings: {'https://u:hunter2@a.example': []}",
		"contents: {repositories: 'https://u:hunter2@a.example'}",
		"contents: {repositories: '@t https://hunter2@a.example'}",
		"contents: 'https://u:hunter2@a.example'",
		"include: https://u:hunter2@a.example/base.yaml",
		"vcs-url: https://u:hunter2@a.example/ b",
	} {
		_, err := LoadBytes("image.yaml", []byte(text), in(nil))
		if err == nil {
			t.Errorf("%s: no error", text)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
