package repository

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseHTTPAuth(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []Credential
	}{
		{"", nil},
		{"basic:h:u:p", []Credential{{Host: "h", User: "u", Password: "p"}}},
		{"basic:h:8443:u:p", []Credential{{Host: "h:8443", User: "u", Password: "p"}}},
		{"basic:h:1234:p", []Credential{{Host: "h", User: "1234", Password: "p"}}},
		{"basic:[::1]:8443:u:p", []Credential{{Host: "[::1]:8443", User: "u", Password: "p"}}},
		{"basic:[::1]:u:p", []Credential{{Host: "::1", User: "u", Password: "p"}}},
		{"basic:*:u:p", []Credential{{User: "u", Password: "p"}}},
		{"basic:h:u:", []Credential{{Host: "h", User: "u"}}},
		{"bearer:h:tok:en=", []Credential{{Host: "h", Token: "tok:en="}}},
		{"bearer:h:8443:token", []Credential{{Host: "h:8443", Token: "token"}}},
		{"basic:a:u:p,basic:b:v:q", []Credential{{Host: "a", User: "u", Password: "p"}, {Host: "b", User: "v", Password: "q"}}},
		{"basic:a:u:p, with comma\n\n bearer:b:t \r\n", []Credential{{Host: "a", User: "u", Password: "p, with comma"}, {Host: "b", Token: "t"}}},
		{"basic:a:u:p,", []Credential{{Host: "a", User: "u", Password: "p"}}},
	} {
		got, err := ParseHTTPAuth(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
		} else if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
	}
}

// apko's HTTP_AUTH knows one host, and a ":" in the password silently disables
// it (apko.md 1.5).
func TestApkoDefect_ColonInPassword(t *testing.T) {
	got, err := ParseHTTPAuth("basic:h:u:a:b:c,basic:other:v:d")
	want := []Credential{{Host: "h", User: "u", Password: "a:b:c"}, {Host: "other", User: "v", Password: "d"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestParseHTTPAuthErrors(t *testing.T) {
	for in, want := range map[string]string{
		"secret":                  `HTTP_AUTH: entry 1: expected "basic:HOST:USER:PASSWORD" or "bearer:HOST:TOKEN"`,
		"digest:h:u:secret":       `HTTP_AUTH: entry 1: expected "basic:HOST:USER:PASSWORD" or "bearer:HOST:TOKEN"`,
		"basic:":                  `HTTP_AUTH: entry 1: no host after "basic:"`,
		"basic:h":                 `HTTP_AUTH: entry 1: no host after "basic:"`,
		"basic::u:secret":         `HTTP_AUTH: entry 1: no host after "basic:"`,
		"basic:ho st:u:secret":    `HTTP_AUTH: entry 1: no host after "basic:"`,
		"basic:https://h:u:sec":   `HTTP_AUTH: entry 1: a URL where a host name is expected`,
		"basic:[::1:u:secret":     `HTTP_AUTH: entry 1: no host after "basic:"`,
		"basic:h:secret":          `HTTP_AUTH: entry 1: host h: expected "USER:PASSWORD" after it`,
		"basic:h::secret":         `HTTP_AUTH: entry 1: host h: expected "USER:PASSWORD" after it`,
		"bearer:h:":               `HTTP_AUTH: entry 1: host h: empty token, or one with white space`,
		"bearer:h:sec ret":        `HTTP_AUTH: entry 1: host h: empty token, or one with white space`,
		"basic:h:u:sec\x01ret":    `HTTP_AUTH: entry 1: host h: control character in the secret`,
		"basic:h:u:p\nbasic:j:se": `HTTP_AUTH: entry 2: host j: expected "USER:PASSWORD" after it`,
	} {
		_, err := ParseHTTPAuth(in)
		if err == nil {
			t.Errorf("%q: no error", in)
			continue
		}
		if err.Error() != want {
			t.Errorf("%q: error %q\nwant %q", in, err, want)
		}
		if told := strings.TrimSuffix(err.Error(), "in the secret"); strings.Contains(told, "sec") {
			t.Errorf("%q: the message tells: %s", in, err)
		}
	}
}

func TestParseNetrc(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []Credential
	}{
		{"", nil},
		{"# nothing\n", nil},
		{"machine h login u password p", []Credential{{Host: "h", User: "u", Password: "p"}}},
		{"machine h\n\tlogin u\n\tpassword #p\n", []Credential{{Host: "h", User: "u", Password: "#p"}}},
		{"machine h login u # a comment\npassword p", []Credential{{Host: "h", User: "u", Password: "p"}}},
		{`machine h login u password "a \"b\" \\c"`, []Credential{{Host: "h", User: "u", Password: `a "b" \c`}}},
		{"default login d password q\nmachine h login u password p account x", []Credential{{Host: "h", User: "u", Password: "p"}, {User: "d", Password: "q"}}},
		{"machine h login u password p\nmacdef init\nmachine evil login x password y\n\nmachine i user v passwd q",
			[]Credential{{Host: "h", User: "u", Password: "p"}, {Host: "i", User: "v", Password: "q"}}},
		{"machine h password p", nil},
		{"macdef all\nrest of the file", nil},
	} {
		got, err := ParseNetrc(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
		} else if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
	}
}

func TestParseNetrcErrors(t *testing.T) {
	for in, want := range map[string]string{
		"secret":                            "line 1: expected machine, default, login, password, account or macdef",
		"machine":                           "line 1: no value after machine",
		"machine h\nlogin":                  "line 2: no value after login",
		"machine h login u password":        "line 1: no value after password",
		"login u password secret":           "line 1: login before any machine",
		"\n\nmachine h login \"u\npassword": "line 3: login: quote not closed",
		"machine h login u password \"sec":  "line 1: password: quote not closed",
		"machine h login u password \"\"":   "line 1: no value after password",
		"machine h login u password a\x02b": "line 1: password: control character in the secret",
		"macdef":                            "line 1: no value after macdef",
		"machine h login u password p word": "line 1: expected machine, default, login, password, account or macdef",
	} {
		_, err := ParseNetrc(in)
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v\nwant %s", in, err, want)
		}
	}
}

func TestAuthFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, ".netrc"), []byte("machine h login home password 1"))
	writeFile(t, filepath.Join(dir, "other"), []byte("machine h login other password 2"))
	writeFile(t, filepath.Join(dir, "bad"), []byte("machine"))
	for _, c := range []struct {
		name string
		env  map[string]string
		want string
		err  string
	}{
		{name: "nothing"},
		{name: "home", env: map[string]string{"HOME": dir}, want: "home"},
		{name: "NETRC wins over home", env: map[string]string{"HOME": dir, "NETRC": filepath.Join(dir, "other")}, want: "other"},
		{name: "HTTP_AUTH comes first", env: map[string]string{"HOME": dir, "HTTP_AUTH": "basic:h:env:3"}, want: "env"},
		{name: "no .netrc", env: map[string]string{"HOME": filepath.Join(dir, "nobody")}},
		{name: "NETRC missing", env: map[string]string{"NETRC": filepath.Join(dir, "gone")}, err: "netrc " + dir + "/gone: no such file or directory"},
		{name: "NETRC bad", env: map[string]string{"NETRC": filepath.Join(dir, "bad")}, err: "netrc " + dir + "/bad: line 1: no value after machine"},
		{name: "HTTP_AUTH bad", env: map[string]string{"HTTP_AUTH": "basic:"}, err: `HTTP_AUTH: entry 1: no host after "basic:"`},
	} {
		a, err := AuthFromEnvironment(func(k string) string { return c.env[k] })
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, want %s", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, _ := a.lookup(&url.URL{Scheme: "https", Host: "h"})
		if got.User != c.want {
			t.Errorf("%s: user %q, want %q", c.name, got.User, c.want)
		}
	}
	if os.Getuid() == 0 {
		return
	}
	if err := os.Chmod(filepath.Join(dir, "other"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := AuthFromEnvironment(func(k string) string { return map[string]string{"NETRC": filepath.Join(dir, "other")}[k] })
	wantError(t, err, "netrc "+dir+"/other: permission denied")
}

func TestCredentialHosts(t *testing.T) {
	a := &Auth{Credentials: []Credential{
		{Host: "plain", Token: "plain"}, {Host: "ported:8443", Token: "ported"}, {Host: "std:443", Token: "std"},
		{Host: "::1", Token: "six"}, {Host: "UPPER", Token: "upper"}}}
	for u, want := range map[string]string{
		"https://plain/a":       "Bearer plain",
		"https://plain:99/a":    "Bearer plain",
		"https://sub.plain/a":   "",
		"https://plain.evil/a":  "",
		"https://ported:8443/a": "Bearer ported",
		"https://ported/a":      "",
		"https://std/a":         "Bearer std",
		"http://std/a":          "",
		"http://[::1]:80/":      "Bearer six",
		"https://upper/":        "Bearer upper",
		"https://user:pw@plain": "Basic dXNlcjpwdw==",
	} {
		configured, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		req := &http.Request{URL: configured, Header: http.Header{}}
		a.apply(req, configured)
		if got := req.Header.Get("Authorization"); got != want {
			t.Errorf("%s: %q, want %q", u, got, want)
		}
	}
	var none *Auth
	req := &http.Request{URL: &url.URL{Scheme: "https", Host: "h"}, Header: http.Header{"Authorization": {"left over"}}}
	none.apply(req, req.URL)
	if got := req.Header.Get("Authorization"); got != "" {
		t.Errorf("header %q is left", got)
	}
}
