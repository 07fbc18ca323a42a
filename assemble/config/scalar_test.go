package config

import (
	"fmt"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"gopkg.in/yaml.v3"
)

// scalars are spellings that YAML readers like to differ about.
var scalars = []string{
	"0", "7", "007", "08", "0755", "0o755", "0O755", "0x1ff", "0b11", "1_000", "-1", "+1", "-0", "1.0", "1.5", "1e3", ".5", "0.0",
	"4294967295", "4294967296", "18446744073709551615", "99999999999999999999", "-99999999999999999999", ".inf", ".nan", "12:30",
	"true", "True", "TRUE", "false", "tRue", "yes", "Yes", "no", "NO", "on", "off", "y", "n", "Y", "N",
	"null", "~", "Null", "''", `""`, "text", "a b", "2001-01-01", "2001-01-01T00:00:00Z", "=", "<<", "!!str 5", "!!int 5", "!!int x",
	"!!bool yes", "!!float 1", "!!binary YWI=", "!!binary '*'", "!!null ''", "!x y", "'5'", `"5"`, "'true'", "'yes'", `"\x41"`, "[]", "{}", "[a]", "{a: b}",
}

// TestScalarsAsApko puts every spelling into a text, a number and a truth value
// and compares with what apko makes of it. Fractions, which apko cuts in
// silence, and tags that mean nothing are refused.
func TestScalarsAsApko(t *testing.T) {
	for _, s := range scalars {
		for _, tc := range []struct {
			kind, text string
			stricter   bool
			get        func(*types.ImageConfiguration) any
		}{
			{"text", "cmd: " + s, false, func(c *types.ImageConfiguration) any { return c.Cmd }},
			{"environment", "environment: {A: " + s + "}", false, func(c *types.ImageConfiguration) any { return c.Environment["A"] }},
			{"number", "paths: [{path: /a, type: permissions, permissions: 0o755, uid: " + s + "}]", false,
				func(c *types.ImageConfiguration) any { return value(c.Paths[0].UID) }},
			{"permissions", "paths: [{path: /a, type: permissions, permissions: " + s + "}]", true,
				func(c *types.ImageConfiguration) any { return c.Paths[0].Permissions }},
			{"budget", "layering: {budget: " + s + "}", true, func(c *types.ImageConfiguration) any { return c.Layering.Budget }},
			{"truth", "paths: [{path: /a, type: directory, permissions: 0o755, recursive: " + s + "}]", false,
				func(c *types.ImageConfiguration) any { return c.Paths[0].Recursive }},
		} {
			want, apkoErr := apkoParse(tc.text)
			got, err := LoadBytes("image.yaml", []byte(tc.text), in(nil))
			refused := s == "!x y" || s == "08" || s == "1.0" || s == "1.5" || s == "1e3" || s == ".5" || s == "0.0" || s == "!!float 1" || s == ".nan"
			switch {
			case err != nil && apkoErr == nil && !tc.stricter && !refused:
				t.Errorf("%s %s: apko loads it: %v", tc.kind, s, err)
			case err == nil && apkoErr != nil:
				t.Errorf("%s %s: apko refuses it: %v", tc.kind, s, apkoErr)
			case err == nil && tc.get(want) != tc.get(&got.ImageConfiguration):
				t.Errorf("%s %s: %v, apko has %v", tc.kind, s, tc.get(&got.ImageConfiguration), tc.get(want))
			}
			if err != nil {
				checkProblems(t, err)
			}
		}
	}
}

func value(p *uint32) any {
	if p == nil {
		return nil
	}
	return *p
}

// apkoParse decodes as apko does, strictly.
func apkoParse(text string) (*types.ImageConfiguration, error) {
	var c types.ImageConfiguration
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return nil, err
	}
	return &c, nil
}

func TestModes(t *testing.T) {
	for _, tc := range []struct {
		text       string
		want       uint32
		warns, bad bool
	}{
		{"0o755", 0o755, false, false}, {"0755", 0o755, false, false}, {"0o1777", 0o1777, false, false}, {"0o7777", 0o7777, false, false},
		{"0x1ed", 0o755, false, false}, {"493", 0o755, false, false}, {"420", 0o644, false, false}, {"511", 0o777, false, false},
		{"755", 755, true, false}, {"644", 644, true, false}, {"777", 777, true, false}, {"600", 600, true, false},
		{"1777", 1777, true, false}, {"0", 0, false, false}, {"64", 64, false, false}, {"448", 0o700, false, false},
		{"4095", 0o7777, false, false}, {"4096", 0, false, true}, {"4755", 0, false, true}, {"7777", 0, false, true}, {"0o10000", 0, false, true},
		{"-1", 0, false, true}, {`"0755"`, 0, false, true}, {"rwx", 0, false, true}, {"0o8", 0, false, true}, {"089", 0, false, true},
	} {
		c, err := LoadBytes("image.yaml", fmt.Appendf(nil, "files: [{path: /a, content: x, mode: %s}]", tc.text), in(nil))
		switch {
		case tc.bad != (err != nil):
			t.Errorf("%s: %v", tc.text, err)
		case err == nil && (*c.Files[0].Mode != tc.want || c.Files[0].FileMode() != tc.want):
			t.Errorf("%s: 0o%o, expected 0o%o", tc.text, *c.Files[0].Mode, tc.want)
		case err == nil && tc.warns != (len(c.Warnings) > 0):
			t.Errorf("%s: warnings %v", tc.text, c.Warnings)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"app": true, "www-data": true, "_apt": true, "a.b": true, "nri_kube": true, "65532": true, "Ünï": true, "sys$": false,
		"a b": false, "a:b": false, "a/b": false, "-a": false, "~a": false, "+a": false, "@a": false, ".": false, "..": false,
		"a,b": false, "a\nb": false, "a#b": false, "": false,
	} {
		if got := accountProblem(name) == ""; got != ok {
			t.Errorf("%q: %v, expected %v", name, got, ok)
		}
	}
}

func TestRunAs(t *testing.T) {
	for v, ok := range map[string]bool{
		"root": true, "0": true, "65532": true, "4294967295": true, "nonroot:nonroot": true, "65532:65532": true, "app:0": true,
		"4294967296": false, "-1": false, "a:": false, ":a": false, "a:b:c": false, "a b": false, "a/b": false,
	} {
		_, err := LoadBytes("image.yaml", fmt.Appendf(nil, "accounts: {run-as: %q}", v), in(nil))
		if (err == nil) != ok {
			t.Errorf("%q: %v", v, err)
		}
	}
}

func TestRepositoryForms(t *testing.T) {
	for v, ok := range map[string]bool{
		"https://a.example": true, "http://a.example:8080/x": true, "HTTPS://a.example": true, "https://u:p@a.example/x": true,
		"./packages": true, "packages": true, "/abs/dir": true, "../up": true, "apk.cgr.dev/x": true, "@local ./packages": true,
		"@edge https://a.example": true, "@a.b_c+d-1 x": true, "builtin://demo": true, "builtin://demo/": true, "file:///srv/x": true,
		"file://localhost/srv/x": true, "https://[::1]:80/x": true, "a:b": true,
		"": false, "@": false, "@x": false, "@x ": false, "@ x": false, " x": false, "x ": false, "x y": false, "@x y z": false, "@x  y": false,
		"ftp://a": false, "s3://a": false, "builtin://": false, "builtin://a/b": false, "file://x": false, "https://": false, "https:///x": false,
		"https://a.example?x": false, "https://a.example#x": false, "https://a.example/%zz": false, "https://a b": false, "://x": false, "x\ny": false,
	} {
		if detail, _ := repositoryProblem(v); (detail == "") != ok {
			t.Errorf("%q: %q", v, detail)
		}
	}
}

func TestKeyForms(t *testing.T) {
	for v, ok := range map[string]bool{
		"k.rsa.pub": true, "/etc/apk/keys/k.rsa.pub": true, "https://a.example/k.rsa.pub": true, "https://a.example/k?x=y": true,
		"file:///k.pub": true, "builtin://demo/k.rsa.pub": true,
		"": false, "s3://b/k": false, "builtin://demo": false, "builtin:///k": false, "builtin://demo/": false, "builtin://demo/../k": false,
		"https:///k": false, "a\nb": false, "-----BEGIN": false,
	} {
		if detail, _ := keyProblem(v); (detail == "") != ok {
			t.Errorf("%q: %q", v, detail)
		}
	}
}

func TestPackageForms(t *testing.T) {
	for v, ok := range map[string]bool{
		"a": true, "a=1": true, "a>=1.2-r3": true, "a~1": true, "a~=1": true, "a@t": true, "a@t=1": true, "a=1@t": true, "!a": true, "!a>1": true,
		"so:libc.so.6": true, "cmd:sh": true, "py3.12-x": true, "a==1": true, "a<1": true, "a><Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=": true,
		"": false, "!": false, "a=": false, "=1": false, "a@": false, "a b": false, "a =1": false, "a<>=1": false, " a": false, "a\n": false,
	} {
		if _, detail := parsePackage(v); (detail == "") != ok {
			t.Errorf("%q: %q", v, detail)
		}
	}
}
