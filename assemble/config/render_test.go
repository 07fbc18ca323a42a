package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const withSecrets = `contents:
  repositories: [https://u:hunter2@a.example/os, "@t https://hunter2@b.example"]
  build_repositories: [https://u:hunter2@c.example]
  runtime_repositories: [https://u:hunter2@d.example]
  keyring: ['https://u:hunter2@a.example/k.pub?sig=hunter2', './odd:name.pub']
keyrings:
  https://u:hunter2@a.example/os: [https://hunter2@k.example/k.pub]
vcs-url: https://u:hunter2@h/r@c0ffee
`

// TestApkoDefect_ShowConfigMutates: showing hides passwords in apko by
// overwriting them, and forgets runtime_repositories.
func TestApkoDefect_ShowConfigMutates(t *testing.T) {
	c := load(t, withSecrets)
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	want := `contents:
  build_repositories:
    - https://u:xxxxx@c.example
  runtime_repositories:
    - https://u:xxxxx@d.example
  repositories:
    - https://u:xxxxx@a.example/os
    - '@t https://xxxxx@b.example'
  keyring:
    - https://u:xxxxx@a.example/k.pub?xxxxx
    - ./odd:name.pub
vcs-url: https://u:xxxxx@h/r@c0ffee
keyrings:
  https://u:xxxxx@a.example/os:
    - https://xxxxx@k.example/k.pub
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	js, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(js) || strings.Contains(string(js), "hunter2") {
		t.Errorf("found %s", js)
	}
	if diff := cmp.Diff(load(t, withSecrets).ImageConfiguration, c.ImageConfiguration); diff != "" {
		t.Errorf("the configuration changed:\n%s", diff)
	}
	if c.BuildSources()[0].URL != "https://u:hunter2@c.example" || c.Keyrings["https://u:hunter2@a.example/os"] == nil {
		t.Error("the live configuration lost its credentials")
	}
}

// TestRenderEverything renders every key and loads it again.
func TestRenderEverything(t *testing.T) {
	c := load(t, strings.Replace(wholeBase, "include: base/grand.yaml", "", 1)+`
files:
  - {path: /a, content: "", mode: 0o4755, uid: 1, gid: 2}
  - {path: /b, content: "multi\nline\n"}
  - {path: /c, content: "\xe9\x01"}
keyrings: {https://base.example/os: [k.pub]}
format: tar
`)
	roundTrip(t, "everything", c)
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"content: \"\"\n", "mode: 0o4755\n", "permissions: 0o755\n", "content: |\n      multi\n      line\n", "format: tar\n"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	var c2 Config
	if text, err := c2.YAML(); err != nil || string(text) != "{}\n" {
		t.Errorf("an empty configuration is %q, %v", text, err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.example/x":              "https://a.example/x",
		"https://a.example/x%20y/":         "https://a.example/x%20y/",
		"https://u:p@a.example":            "https://u:xxxxx@a.example",
		"https://token@a.example":          "https://xxxxx@a.example",
		"git+ssh://git@h/r":                "git+ssh://git@h/r",
		"https://a.example/k?token=1":      "https://a.example/k?xxxxx",
		"https://u:p@a.example/%zz":        "https://xxxxx@a.example/%zz",
		"https://u:p/q@a.example/":         "https://xxxxx@a.example/",
		"./packages":                       "./packages",
		"-----BEGIN PUBLIC KEY-----\nx://": "-----BEGIN PUBLIC KEY-----\nx://",
		"":                                 "",
	} {
		if got := redactURL(in); got != want {
			t.Errorf("redactURL(%q) = %q, expected %q", in, got, want)
		}
	}
}
