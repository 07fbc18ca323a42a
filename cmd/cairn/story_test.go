package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/admission"
)

// storyRegistry is the name of the registry in the documents.
const storyRegistry = "registry.example"

// storySpec is the repository that the stories build from.
const storySpec = `package app 1.0-r0
dir usr 755
file usr/app 755 hello

package tools 2.0-r0
dir etc 755
file etc/tools.conf 644 setting
dir usr 755
dir usr/bin 755
file usr/bin/tools 755 program
file usr/bin/tools-test 755 test
dir usr/lib 755
file usr/lib/libtools.so.2 755 library
dir usr/share 755
dir usr/share/doc 755
dir usr/share/doc/tools 755
file usr/share/doc/tools/README 644 read me

package busybox 1.37.0-r0
dir usr 755
file usr/busybox 755 shell
`

// newcomerSpec stands for Wolfi in the page for newcomers, and newcomerFeed for its feed.
// The page with real packages, and in an engine, is tested by make e2e-catalogue.
const (
	newcomerSpec = `package wolfi-baselayout 1-r0
dir etc 755
file etc/os-release 644 ID=wolfi

package ca-certificates-bundle 20260101-r0
dir etc 755
dir etc/ssl 755
dir etc/ssl/certs 755
file etc/ssl/certs/ca-certificates.crt 644 authorities

package python-3.13 3.13.1-r0
provides python3=3.13.1-r0
dir usr 755
dir usr/bin 755
file usr/bin/python3 755 interpreter

package py3.13-flask 3.1.0-r0
depends python-3.13
dir usr 755
dir usr/lib 755
dir usr/lib/python3.13 755
dir usr/lib/python3.13/site-packages 755
file usr/lib/python3.13/site-packages/flask.py 644 flask

package busybox 1.37.0-r0
dir usr 755
file usr/busybox 755 shell

package strace 6-r0
dir usr 755
file usr/strace 755 strace
`
	newcomerFeed = `{"apkurl": "{{urlprefix}}/{{reponame}}/{{arch}}/{{pkg.name}}-{{pkg.ver}}.apk", "urlprefix": "https://packages.wolfi.dev", "reponame": "os", "archs": ["x86_64"],
 "packages": [{"pkg": {"name": "python-3.13", "secfixes": {"3.13.0-r1": ["CVE-2026-1"]}}}]}
`
)

// storyBlock is a fenced block: its language, the file's name after it, its text.
var storyBlock = regexp.MustCompile("(?ms)^```(\\w+)(?: (\\S+))?\n(.*?)^```$")

// storyConfigs are the configurations of documents that show none.
const storyConfigs = `-- image.yaml --
contents:
  repositories: [repo]
  keyring: [repo/test.rsa.pub]
  packages: [app]
archs: [x86_64]
-- other.yaml --
contents:
  repositories: [repo]
  keyring: [repo/test.rsa.pub]
  packages: [app]
archs: [x86_64]
cmd: other
`

var plainComment = regexp.MustCompile(` {2,}# .*$`)

var exitComment = regexp.MustCompile(`\s*# exit code (\d+)$`)

// TestStories run the commands of documents in order, with the files that stand in
// them, and compare what they print with what is shown.
func TestStories(t *testing.T) {
	for _, name := range []string{"verify", "publish", "receipts", "rebuild", "mirror", "slices", "app", "twin", "from-scratch-to-signed"} {
		t.Run(name, func(t *testing.T) { tellStory(t, "../../docs/"+name+".md") })
	}
}

func tellStory(t *testing.T, document string) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("apkrepo repo spec\nregistry\nenv CAIRN_PASSWORD=secret\n")
	files := []string{"-- spec --\n" + storySpec}
	if strings.Contains(string(text), "packages.wolfi.dev") {
		files = []string{"-- spec --\n" + newcomerSpec, "-- wolfi.json --\n" + newcomerFeed}
		text = []byte(strings.NewReplacer("[https://packages.wolfi.dev/os]", "[repo]", "[https://packages.wolfi.dev/os/wolfi-signing.rsa.pub]", "[repo/test.rsa.pub]",
			"cairn feed fetch https://packages.wolfi.dev/os/security.json --out", "cairn feed show").Replace(string(text)))
	}
	if !strings.Contains(string(text), "yaml image.yaml") {
		files = append(files, storyConfigs)
	}
	var shown []string
	for _, m := range storyBlock.FindAllStringSubmatch(string(text), -1) {
		language, name, body := m[1], m[2], m[3]
		switch {
		case name != "":
			files = append(files, "-- "+name+".in --\n"+body)
			fmt.Fprintf(&script, "fill %s.in %s\n", name, name)
		case language == "sh":
			for line := range strings.Lines(body) {
				script.WriteString(storyLine(strings.TrimSpace(line)) + "\n")
			}
		case language == "text":
			for line := range strings.Lines(body) {
				fmt.Fprintf(&script, "says %d\n", len(shown))
				shown = append(shown, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "story.txtar"), []byte(script.String()+strings.Join(files, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	p := scriptParams(dir)
	p.Cmds["fill"] = cmdFill
	p.Cmds["admit"] = cmdAdmit
	p.Cmds["says"] = func(ts *testscript.TestScript, _ bool, args []string) {
		var i int
		_, err := fmt.Sscan(args[0], &i)
		ts.Check(err)
		want := strings.ReplaceAll(shown[i], storyRegistry, ts.Getenv("REGISTRY"))
		pattern := regexp.MustCompile(`(?m)^` + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + `$`)
		if out := ts.ReadFile("stdout"); !pattern.MatchString(out) {
			ts.Fatalf("%q is not in\n%s", want, out)
		}
	}
	testscript.Run(t, p)
}

// storyLine turns a command of a document into one of a script.
func storyLine(line string) string {
	code := "0"
	if m := exitComment.FindStringSubmatch(line); m != nil {
		code, line = m[1], exitComment.ReplaceAllString(line, "")
	}
	line = plainComment.ReplaceAllString(line, "")
	line = strings.ReplaceAll(line, storyRegistry, "$REGISTRY")
	line = strings.ReplaceAll(line, "mirror.example", "$REGISTRY/mirror")
	if rest, ok := strings.CutPrefix(line, "crane push "); ok {
		return "push " + rest
	}
	if rest, ok := strings.CutPrefix(line, "kubectl apply -f "); ok {
		return "admit " + code + " " + rest
	}
	return "exitcode " + code + " " + line
}

// cmdFill copies a file and puts the registry's address into it: fill FROM TO.
func cmdFill(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), storyRegistry, ts.Getenv("REGISTRY"))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o644))
}

// cmdAdmit asks an admission server with policy.yaml about an object, as the API
// server would: admit CODE FILE, where CODE is 0 when it is let in. The message
// of a refusal is the standard output.
func cmdAdmit(ts *testscript.TestScript, _ bool, args []string) {
	var object map[string]any
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile(args[1])), &object))
	raw, err := json.Marshal(object)
	ts.Check(err)
	kind, _ := object["kind"].(string)
	body, err := json.Marshal(admission.Review{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview",
		Request: &admission.Request{UID: "1", Kind: admission.GroupVersionKind{Kind: kind}, Operation: "CREATE", Object: raw}})
	ts.Check(err)
	d, err := sign.NewDecider(ts.MkAbs("policy.yaml"), sign.VerifyOptions{}, slog.New(slog.DiscardHandler))
	ts.Check(err)
	w := httptest.NewRecorder()
	admission.New(d, admission.Options{}).ServeHTTP(w, httptest.NewRequest("POST", "/validate?timeout=10s", bytes.NewReader(body)))
	var r admission.Review
	ts.Check(json.Unmarshal(w.Body.Bytes(), &r))
	if r.Response.Allowed != (args[0] == "0") {
		ts.Fatalf("%s: found %s", args[1], w.Body)
	}
	if s := r.Response.Status; s != nil {
		_, _ = fmt.Fprintln(ts.Stdout(), s.Message)
	}
}
