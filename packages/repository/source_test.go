package repository

import (
	"strings"
	"testing"
)

func TestParseSource(t *testing.T) {
	for _, c := range []struct{ line, tag, index string }{
		{"https://dl-cdn.alpinelinux.org/alpine/v3.19/main", "", "https://dl-cdn.alpinelinux.org/alpine/v3.19/main/x86_64/APKINDEX.tar.gz"},
		{"https://h/os/", "", "https://h/os/x86_64/APKINDEX.tar.gz"},
		{"HTTP://h:8080/a//b", "", "http://h:8080/a/b/x86_64/APKINDEX.tar.gz"},
		{"https://h/os?token=1", "", "https://h/os/x86_64/APKINDEX.tar.gz?token=1"},
		{"@edge https://h/os", "edge", "https://h/os/x86_64/APKINDEX.tar.gz"},
		{"@local   ./packages", "local", "packages/x86_64/APKINDEX.tar.gz"},
		{"packages", "", "packages/x86_64/APKINDEX.tar.gz"},
		{"/srv/repo/", "", "/srv/repo/x86_64/APKINDEX.tar.gz"},
		{"/", "", "/x86_64/APKINDEX.tar.gz"},
		{"file:///srv/my%20repo", "", "/srv/my repo/x86_64/APKINDEX.tar.gz"},
		{"file://localhost/srv", "", "/srv/x86_64/APKINDEX.tar.gz"},
		{"builtin://demo", "", "builtin://demo/x86_64/APKINDEX.tar.gz"},
	} {
		s, err := ParseSource(c.line, "x86_64")
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if s.Tag != c.tag || s.IndexURL() != c.index {
			t.Errorf("%s: tag %q, index %q, want %q, %q", c.line, s.Tag, s.IndexURL(), c.tag, c.index)
		}
	}
}

func TestParseSourceErrors(t *testing.T) {
	for _, c := range []struct{ line, arch, want string }{
		{"", "x86_64", "repository: empty URL"},
		{"@edge", "x86_64", `repository "@edge": expected "@tag URL"`},
		{"@ https://h", "x86_64", `repository "@ https://h": expected "@tag URL"`},
		{"@edge   ", "x86_64", `repository "@edge   ": expected "@tag URL"`},
		{"https://h/a b", "x86_64", `repository "https://h/a b": contains white space`},
		{"https://u:p@h/a b", "x86_64", `repository "https://h/a b": contains white space`},
		{"ftp://h/a", "x86_64", "repository ftp://h/a: unknown scheme: expected https://, http://, file://, builtin:// or a directory"},
		{"https:///a", "x86_64", "repository https:///a: no host name"},
		{"https://h:port/a", "x86_64", `repository https://h:port/a: invalid port ":port" after host`},
		{"https://u:secret@h:port/a", "x86_64", "repository https://h:port/a: not a URL: user name and password must be percent-encoded"},
		{"https://u:sec/ret@h/a", "x86_64", "repository https://…@h/a: not a URL: user name and password must be percent-encoded"},
		{"https://u:sec%zzret@h/a", "x86_64", "repository https://h/a: not a URL: user name and password must be percent-encoded"},
		{"file://", "x86_64", "repository file://: expected file:///directory"},
		{"file://host/a", "x86_64", "repository file://host/a: expected file:///directory"},
		{"builtin://", "x86_64", "repository builtin://: expected builtin://NAME"},
		{"builtin://a/b", "x86_64", "repository builtin://a/b: expected builtin://NAME"},
		{"builtin://..", "x86_64", "repository builtin://..: expected builtin://NAME"},
		{"https://h/a", "", `repository https://h/a: architecture "": expected a name such as x86_64`},
		{"https://h/a", "../x", `repository https://h/a: architecture "../x": expected a name such as x86_64`},
		{"https://h/a", "..", `repository https://h/a: architecture "..": expected a name such as x86_64`},
	} {
		_, err := ParseSource(c.line, c.arch)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: error %v\nwant %s", c.line, err, c.want)
		}
	}
}

func TestPackageURL(t *testing.T) {
	for url, want := range map[string]string{
		"https://h/r":   "https://h/r/x86_64/gtk+3.0-3.24.38~git-r1.apk",
		"/srv/r":        "/srv/r/x86_64/gtk+3.0-3.24.38~git-r1.apk",
		"builtin://r":   "builtin://r/x86_64/gtk+3.0-3.24.38~git-r1.apk",
		"https://h/r?a": "https://h/r/x86_64/gtk+3.0-3.24.38~git-r1.apk?a",
	} {
		if got := (Source{URL: url, Arch: "x86_64"}).PackageURL("gtk+3.0-3.24.38~git-r1.apk"); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://h/a":                        "https://h/a",
		"https://user:secret@h/a":            "https://h/a",
		"https://secret@h:8080/a":            "https://h:8080/a",
		"https://u:sec@ret@h/a":              "https://h/a",
		"https://u:sec/ret@h/a":              "https://…@h/a",
		"https://h/a?X-Amz-Signature=secret": "https://h/a?…",
		"https://h/a#secret":                 "https://h/a?…",
		"https://h?x=secret":                 "https://h?…",
		"https://u:secret@[::1]:80/a":        "https://[::1]:80/a",
		"/srv/repo":                          "/srv/repo",
		"@edge https://u:secret@h/a":         "@edge https://h/a",
		"file:///srv":                        "file:///srv",
	} {
		got := Redact(in)
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
		if strings.Contains(got, "sec") {
			t.Errorf("%s: a secret is left: %s", in, got)
		}
	}
}
