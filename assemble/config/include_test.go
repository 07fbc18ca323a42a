package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairn-dev/cairn/packages/apk"
)

// write makes files below a new directory and goes there.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

const wholeBase = `
include: base/grand.yaml
contents:
  repositories: [https://base.example/os/, "@edge https://edge.example///"]
  build_repositories: [./base-packages/]
  runtime_repositories: [https://base.example/run/]
  keyring: [base.rsa.pub]
  packages: [base, "extra@edge"]
entrypoint: {command: /base, type: service-bundle, services: {web: /web}}
cmd: base args
stop-signal: SIGHUP
work-dir: /base
accounts:
  run-as: base
  users: [{username: base, uid: 10}]
  groups: [{groupname: base, gid: 10, members: [base]}]
archs: [amd64]
environment: {A: base, B: base}
annotations: {a: base, b: base}
paths: [{path: /base, type: directory, permissions: 0o755}]
volumes: [/base]
vcs-url: https://base.example/a@1
layering: {strategy: origin, budget: 3}
certificates: {providers: [base-certs]}
`

// TestIncludeAsApko merges every key and compares with what apko makes of it.
func TestIncludeAsApko(t *testing.T) {
	over := map[string]string{
		"nothing":   "",
		"lists":     "contents: {repositories: [https://top.example], packages: [top, base], keyring: [top.rsa.pub]}\nvolumes: [/top]\npaths: [{path: /top, type: directory, permissions: 0o700}]\n",
		"maps":      "environment: {B: top, C: top}\nannotations: {b: top, c: top}\n",
		"scalars":   "cmd: top\nstop-signal: SIGINT\nwork-dir: /top\nvcs-url: https://top.example/a@2\n",
		"empty":     "cmd: \"\"\nentrypoint: {}\nenvironment: {}\narchs: []\nlayering: {}\ncertificates: {}\naccounts: {}\n",
		"pointers":  "layering: {strategy: origin, budget: 9}\ncertificates: {providers: [top-certs]}\nentrypoint: {command: /top}\narchs: [arm64, armv7]\n",
		"accounts":  "accounts: {run-as: top, users: [{username: top, uid: 11, gid: 12, shell: /bin/false, homedir: /top}]}\n",
		"repeating": "accounts: {users: [{username: base, uid: 10}]}\ncontents: {packages: [base]}\n",
	}
	for name, text := range over {
		t.Run(name, func(t *testing.T) {
			write(t, map[string]string{
				"top.yaml":        "include: base.yaml\n" + text,
				"base.yaml":       wholeBase,
				"base/grand.yaml": "contents: {packages: [grand]}\nenvironment: {A: grand, Z: grand}\ncmd: grand\n",
			})
			want, sum, err := apkoLoad("top.yaml", nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Load("top.yaml", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, &got.ImageConfiguration); diff != "" {
				t.Errorf("-apko +cairn:\n%s", diff)
			}
			if got.ApkoChecksum != sum {
				t.Errorf("checksum %s, apko has %s", got.ApkoChecksum, sum)
			}
			roundTrip(t, name, got)
			var read []string
			for _, s := range got.Sources {
				read = append(read, s.Path)
			}
			if diff := cmp.Diff([]string{"top.yaml", "base.yaml", "base/grand.yaml"}, read); diff != "" {
				t.Errorf("sources:\n%s", diff)
			}
		})
	}
}

func TestIncludeOwnKeys(t *testing.T) {
	c, err := Load("a/top.yaml", in(map[string]string{
		"a/top.yaml":  "include: base.yaml\nfiles: [{path: /top, content: t}]\nkeyrings: {'https://a.example': [top.pub]}\n",
		"a/base.yaml": "files: [{path: /base, content: b}]\nformat: tar\nkeyrings: {'https://a.example': [base.pub], 'https://b.example': [base.pub]}\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{c.Files[0].Path, c.Files[1].Path}
	if diff := cmp.Diff([]string{"/base", "/top"}, paths); diff != "" {
		t.Error(diff)
	}
	want := map[string][]string{"https://a.example": {"top.pub"}, "https://b.example": {"base.pub"}}
	if diff := cmp.Diff(want, c.Keyrings); diff != "" {
		t.Error(diff)
	}
	if c.Format != "tar" {
		t.Errorf("format %q", c.Format)
	}
}

// TestIncludeLookup checks the order: as it is, include paths, beside.
func TestIncludeLookup(t *testing.T) {
	files := map[string]string{
		"conf/top.yaml":  "include: base.yaml\n",
		"base.yaml":      "cmd: here",
		"inc/base.yaml":  "cmd: include path",
		"conf/base.yaml": "cmd: beside",
	}
	for _, want := range []string{"here", "include path", "beside"} {
		o := in(files)
		o.IncludePaths = []string{"nowhere", "inc"}
		c, err := Load("conf/top.yaml", o)
		if err != nil {
			t.Fatal(err)
		}
		if c.Cmd != want {
			t.Errorf("found %q, expected %q", c.Cmd, want)
		}
		for name, text := range files {
			if text == "cmd: "+want {
				delete(files, name)
			}
		}
	}
	o := in(map[string]string{"inc/top.yaml": "cmd: found"})
	o.IncludePaths = []string{"inc"}
	if c, err := Load("top.yaml", o); err != nil || c.Cmd != "found" {
		t.Errorf("a configuration in an include path: %v", err)
	}
}

// TestLoadIn replaces the working directory, for the configuration and for what
// it includes; names in messages say where the file was.
func TestLoadIn(t *testing.T) {
	hex := apk.SHA256(sha256.Sum256([]byte("x"))).Hex()
	o := in(map[string]string{
		"work/conf/top.yaml": "include: base.yaml\nfiles: [{path: /x, source: x, sha256: " + hex + "}]\n",
		"work/base.yaml":     "cmd: here", "base.yaml": "cmd: elsewhere", "work/conf/x": "x", "work/inc/other.yaml": "cmd: [",
	})
	o.Dir, o.IncludePaths = "work", []string{"inc"}
	c, err := Load("conf/top.yaml", o)
	if err != nil || c.Cmd != "here" || string(c.Files[0].Bytes) != "x" || c.Sources[0].Path != "work/conf/top.yaml" || c.Sources[0].Name != "conf/top.yaml" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Load("other.yaml", o); err == nil || !strings.HasPrefix(err.Error(), "work/inc/other.yaml:1:") {
		t.Errorf("error %v", err)
	}
	if _, err := Load("none.yaml", o); err == nil || err.Error() != "none.yaml: file does not exist" {
		t.Errorf("error %v", err)
	}
}

func TestIncludeMistakes(t *testing.T) {
	deep := map[string]string{}
	for i := range maxIncludes + 2 {
		deep[fmt.Sprintf("%d.yaml", i)] = fmt.Sprintf("include: %d.yaml\n", i+1)
	}
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"itself", map[string]string{"0.yaml": "cmd: a\ninclude: 0.yaml\n"},
			`0.yaml:2:10: include: include cycle: found 0.yaml → 0.yaml`},
		{"each other", map[string]string{"0.yaml": "include: 1.yaml\n", "1.yaml": "include: ./2.yaml\n", "2.yaml": "include: 1.yaml"},
			`2.yaml:1:10: include: include cycle: found 1.yaml → 2.yaml → 1.yaml`},
		{"deep", deep, `32.yaml:1:10: include: include too deep: expected at most 32 levels`},
		{"missing", map[string]string{"0.yaml": "include: 1.yaml", "1.yaml": "\ninclude: 2.yaml"},
			"1.yaml:2:10: include: not readable: found \"2.yaml\": file does not exist\n  hint: looked from the working directory, in the include paths, and beside 1.yaml"},
		{"directory", map[string]string{"0.yaml": "include: d", "d/x": ""},
			`0.yaml:1:10: include: not readable: found "d": not a regular file`},
		{"empty", map[string]string{"0.yaml": "include: 1.yaml", "1.yaml": "# nothing"},
			`1.yaml:1:1: configuration: empty: found no key, expected at least contents`},
		{"problems of both", map[string]string{"0.yaml": "cmd: [a]\ninclude: 1.yaml", "1.yaml": "archs: [z80]\nwork-dir: x\n"},
			"0.yaml:1:6: cmd: wrong type: found a list, expected text\n" +
				`1.yaml:1:9: archs[0]: unknown architecture: found "z80", expected one of ` + strings.Join(archNames(), ", ") + "\n" +
				`1.yaml:2:11: work-dir: impossible value: found "x", expected an absolute path`},
		{"user in both", map[string]string{
			"0.yaml": "include: 1.yaml\naccounts: {users: [{username: a, uid: 5}]}",
			"1.yaml": "accounts: {users: [{username: b, uid: 4}, {username: a, uid: 6}]}"},
			`0.yaml:2:20: accounts.users[2]: duplicate user: found "a" again with other values, first at 1.yaml:1:43`},
		{"package in both", map[string]string{
			"0.yaml": "include: 1.yaml\ncontents: {packages: ['!a']}", "1.yaml": "contents: {packages: [a>1]}"},
			`0.yaml:2:23: contents.packages[1]: contradiction: found "!a", but also "a>1" at 1.yaml:1:23`},
		{"file in both", map[string]string{
			"0.yaml": "include: 1.yaml\nfiles: [{path: /a, content: x}]", "1.yaml": "files: [{path: /a, content: x}]"},
			`0.yaml:2:16: files[1].path: duplicate: found "/a" again, first at 1.yaml:1:16`},
		{"base image in the base", map[string]string{
			"0.yaml": "include: 1.yaml\nwork-dir: /a", "1.yaml": "contents: {baseimage: {image: a, apkindex: b}}\ncmd: b"},
			"0.yaml:2:11: work-dir: not possible on a base image: expected contents, archs, include, volumes and certificates only\n" +
				"1.yaml:2:6: cmd: not possible on a base image: expected contents, archs, include, volumes and certificates only"},
	} {
		_, err := Load("0.yaml", in(tc.files))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: found\n%v\nexpected\n%s", tc.name, err, tc.want)
		}
	}
	_, err := Load("0.yaml", in(map[string]string{"0.yaml": "include: nowhere"}))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not wrap ErrNotExist", err)
	}
}

// TestPipeDoesNotBlock includes a named pipe that nobody writes to.
func TestPipeDoesNotBlock(t *testing.T) {
	dir := write(t, map[string]string{"top.yaml": "include: pipe\nfiles: [{path: /a, source: pipe, sha256: " + strings.Repeat("0", 64) + "}]\n"})
	mkfifo(t, filepath.Join(dir, "pipe"))
	_, err := Load("top.yaml", Options{})
	if err == nil || strings.Count(err.Error(), "not a regular file") != 2 {
		t.Errorf("found %v", err)
	}
}

// TestPipe: the configuration itself may come from a pipe whose writer is late.
func TestPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	mkfifo(t, name)
	written := make(chan error, 1)
	go func() {
		time.Sleep(20 * time.Millisecond)
		written <- os.WriteFile(name, []byte("cmd: piped\n"), 0o644)
	}()
	c, err := Load(name, Options{})
	if err != nil || c.Cmd != "piped" {
		t.Errorf("found %v", err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestApkoDefect_LineEndsMakeLockStale: a checkout with CRLF has another
// checksum in apko, and the same digest here.
func TestApkoDefect_LineEndsMakeLockStale(t *testing.T) {
	lf := "include: base.yaml\ncmd: a\n"
	sources := func(text string) (*Config, []apk.SHA256) {
		c, err := Load("top.yaml", in(map[string]string{"top.yaml": text, "base.yaml": "work-dir: /\n"}))
		if err != nil {
			t.Fatal(err)
		}
		var out []apk.SHA256
		for _, s := range c.Sources {
			out = append(out, s.SHA256)
		}
		return c, out
	}
	unix, want := sources(lf)
	dos, got := sources("\xef\xbb\xbf" + strings.ReplaceAll(lf, "\n", "\r\n"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("digests depend on line ends:\n%s", diff)
	}
	if want[0] != sha256.Sum256([]byte(lf)) {
		t.Errorf("%s is not the digest of the text", want[0])
	}
	if unix.ApkoChecksum == dos.ApkoChecksum {
		t.Error("apko's checksum is over the bytes as they are")
	}
	if diff := cmp.Diff(unix.ImageConfiguration, dos.ImageConfiguration, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("values depend on line ends:\n%s", diff)
	}
}

func TestFind(t *testing.T) {
	write(t, map[string]string{"a": "", "inc/b": ""})
	for path, want := range map[string]string{"a": "a", "b": "inc/b", "nowhere": ""} {
		got, err := Find(path, []string{"other", "inc"})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Find(%s) = %q, %v", path, got, err)
		}
	}
}
