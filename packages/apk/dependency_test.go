package apk

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sum1 = "Q12jmj7l5rSw0yVb/vlWAYkK/YBwk="

func TestParseDependency(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Dependency
		text string // empty: in
	}{
		{"foo", Dependency{Name: "foo"}, ""},
		{"!foo", Dependency{Name: "foo", Conflict: true}, ""},
		{"foo=1.2-r3", Dependency{Name: "foo", Op: OpEqual, Version: "1.2-r3"}, ""},
		{"foo<1", Dependency{Name: "foo", Op: OpLess, Version: "1"}, ""},
		{"foo>1", Dependency{Name: "foo", Op: OpGreater, Version: "1"}, ""},
		{"foo<=1", Dependency{Name: "foo", Op: OpLessEqual, Version: "1"}, ""},
		{"foo=<1", Dependency{Name: "foo", Op: OpLessEqual, Version: "1"}, "foo<=1"},
		{"foo>=1", Dependency{Name: "foo", Op: OpGreaterEqual, Version: "1"}, ""},
		{"foo~1", Dependency{Name: "foo", Op: OpFuzzyEqual, Version: "1"}, ""},
		{"foo~=1", Dependency{Name: "foo", Op: OpFuzzyEqual, Version: "1"}, "foo~1"},
		{"foo=~1", Dependency{Name: "foo", Op: OpFuzzyEqual, Version: "1"}, "foo~1"},
		{"foo<~1", Dependency{Name: "foo", Op: OpLess | OpFuzzyEqual, Version: "1"}, ""},
		{"foo>~1", Dependency{Name: "foo", Op: OpGreater | OpFuzzyEqual, Version: "1"}, ""},
		{"foo><" + sum1, Dependency{Name: "foo", Op: OpChecksum, Version: sum1}, ""},
		{"foo==1", Dependency{Name: "foo", Op: OpEqual, Version: "1"}, "foo=1"},
		{"!foo>=1", Dependency{Name: "foo", Op: OpGreaterEqual, Version: "1", Conflict: true}, ""},
		{"foo@edge", Dependency{Name: "foo", Pin: "edge"}, ""},
		{"foo@edge>1.2", Dependency{Name: "foo", Op: OpGreater, Version: "1.2", Pin: "edge"}, ""},
		{"foo>1.2@edge", Dependency{Name: "foo", Op: OpGreater, Version: "1.2", Pin: "edge"}, "foo@edge>1.2"},
		{"so:libfoo++.so.1=1.2.3", Dependency{Name: "so:libfoo++.so.1", Op: OpEqual, Version: "1.2.3"}, ""},
		{"/bin/sh", Dependency{Name: "/bin/sh"}, ""},
		{"cmd:[", Dependency{Name: "cmd:["}, ""},
		{"cmd:kdevelop!=5.1", Dependency{Name: "cmd:kdevelop!", Op: OpEqual, Version: "5.1"}, ""},
		{"nautilus,", Dependency{Name: "nautilus,"}, ""},
		{".build-deps=20240101.123456", Dependency{Name: ".build-deps", Op: OpEqual, Version: "20240101.123456"}, ""},
		{"cmd:café", Dependency{Name: "cmd:café"}, ""},
		{"foo~1.0~ab12", Dependency{Name: "foo", Op: OpFuzzyEqual, Version: "1.0~ab12"}, ""},
	} {
		got, err := ParseDependency(c.in)
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v; want %+v", c.in, got, err, c.want)
			continue
		}
		text := c.text
		if text == "" {
			text = c.in
		}
		if got.String() != text {
			t.Errorf("%q: written as %q, want %q", c.in, got.String(), text)
		}
	}
}

func TestParseDependencyErrors(t *testing.T) {
	const version = `: expected digits{.digits}{letter}{_suffix{digits}}{-r#}`
	for in, want := range map[string]string{
		"":            `dependency "": no name`,
		"!":           `dependency "!": no name`,
		"!!foo":       `dependency "!!foo": name begins with "!"`,
		"=1":          `dependency "=1": no name`,
		"@edge":       `dependency "@edge": no name`,
		"foo=":        `dependency "foo=": no version after "="`,
		"foo>=":       `dependency "foo>=": no version after ">="`,
		"foo@":        `dependency "foo@": no tag after "@"`,
		"foo@=1":      `dependency "foo@=1": no tag after "@"`,
		"foo=1@":      `dependency "foo=1@": unexpected "@" after the version`,
		"foo@a=1@b":   `dependency "foo@a=1@b": unexpected "@b" after the version`,
		"foo=1@a@b":   `dependency "foo=1@a@b": tag "a@b": unexpected character`,
		"foo@a@b":     `dependency "foo@a@b": unexpected "@"`,
		"foo=1.0bc":   `dependency "foo=1.0bc": version "1.0bc"` + version,
		"foo=latest":  `dependency "foo=latest": version "latest"` + version,
		"foo<>=1":     `dependency "foo<>=1": operator "<>=": expected one of = < > <= >= ~ <~ >~ ><`,
		"foo><~1":     `dependency "foo><~1": operator "><~": expected one of = < > <= >= ~ <~ >~ ><`,
		"foo><1.2":    `dependency "foo><1.2": checksum "1.2": expected "Q1" and 28 base64 characters or 40 hexadecimal digits`,
		"foo bar":     `dependency "foo bar": unexpected " "`,
		"foo\tbar":    `dependency "foo\tbar": unexpected "\t"`,
		"foo\x00":     `dependency "foo\x00": unexpected "\x00"`,
		"foo=1 ":      `dependency "foo=1 ": version "1 "` + version,
		"foo\xffbar":  `dependency "foo\xffbar": name is not UTF-8`,
		" foo":        `dependency " foo": no name`,
		"foo>=1\n":    `dependency "foo>=1\n": version "1\n"` + version,
		"foo=1.2-rx1": `dependency "foo=1.2-rx1": version "1.2-rx1"` + version,
	} {
		d, err := ParseDependency(in)
		if err == nil || err.Error() != want || !errors.Is(err, ErrDependency) || d != (Dependency{}) {
			t.Errorf("%q: %+v\n got %v\nwant %s", in, d, err, want)
		}
	}
	_, err := ParseDependency(strings.Repeat("x", 5000) + "=")
	if len(err.Error()) > 200 {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
}

// Research §0.5: apko takes ~=, == and >< for "any version".
func TestApkoDefect_OperatorsIgnored(t *testing.T) {
	for atom, match := range map[string]bool{"conf~=9": false, "conf==9": false, "conf~=1": true, "conf==1.2": true, "conf>=<1": false} {
		d, err := ParseDependency(atom)
		if err != nil {
			if atom != "conf>=<1" {
				t.Error(err)
			}
			continue
		}
		if d.Matches("1.2") != match {
			t.Errorf("%s matches 1.2: %v", atom, !match)
		}
	}
}

func TestParseDependencies(t *testing.T) {
	got, err := ParseDependencies(" a  b=1\n!c ")
	want := []Dependency{{Name: "a"}, {Name: "b", Op: OpEqual, Version: "1"}, {Name: "c", Conflict: true}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	if got, err := ParseDependencies(" \n"); got != nil || err != nil {
		t.Errorf("empty list: %v, %v", got, err)
	}
	if _, err := ParseDependencies("a b=x+ c"); err == nil || err.Error() != `dependency "b=x+": version "x+": expected digits{.digits}{letter}{_suffix{digits}}{-r#}` {
		t.Errorf("bad list: %v", err)
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		atom, version string
		want          bool
	}{
		{"x", "1", true}, {"x", "", true}, {"x=1", "", false}, {"x>0", "", false},
		{"x=1", "1", true}, {"x=1", "01", true}, {"x=1", "1-r0", false}, {"x=1-r0", "1-r0", true},
		{"x<1", "0.9", true}, {"x<1", "1", false}, {"x<1", "1_rc1", true},
		{"x<=1", "1", true}, {"x<=1", "1-r0", false},
		{"x>1", "1", false}, {"x>1", "1-r0", true}, {"x>1", "1_p1", true}, {"x>1", "1_rc1", false},
		{"x>=1", "1", true}, {"x>=1", "1_rc1", false},
		{"x~1.2", "1.2", true}, {"x~1.2", "1.2.9-r4", true}, {"x~1.2", "1.20", false}, {"x~1.2", "1.3", false}, {"x~1.2", "1.1", false},
		{"x~=1.2", "1.2_rc1", true}, {"x~1.2.3", "1.2", true},
		{"x<~1.2", "1.1", true}, {"x<~1.2", "1.2.7", true}, {"x<~1.2", "1.3", false},
		{"x>~1.2", "1.3", true}, {"x>~1.2", "1.2_rc1", true}, {"x>~1.2", "1.1", false},
		{"x><" + sum1, sum1, true}, {"x><" + sum1, "1", false}, {"x><" + sum1, "", false},
		{"!x=1", "1", true}, {"x@edge=1", "1", true},
	} {
		d, err := ParseDependency(c.atom)
		if err != nil {
			t.Error(err)
		} else if d.Matches(c.version) != c.want {
			t.Errorf("%s matches %q: %v", c.atom, c.version, !c.want)
		}
	}
	if !(Dependency{Name: "x", Op: OpFuzzy, Version: "1"}).Matches("1.5") {
		t.Error("OpFuzzy alone does not match a longer version")
	}
}

func TestMatchesPackage(t *testing.T) {
	sum, _ := ParseSHA1(sum1)
	p := &Package{Name: "x", Version: "1.2-r0", Checksum: sum, Provides: []Dependency{{Name: "y"}}}
	for atom, want := range map[string]bool{"x": true, "x>1": true, "x>2": false, "y": false, "x><" + sum1: true,
		"x><Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=": false} {
		d, err := ParseDependency(atom)
		if err != nil || d.MatchesPackage(p) != want {
			t.Errorf("%s: %v, %v", atom, !want, err)
		}
	}
}

func TestOpString(t *testing.T) {
	for op, want := range map[Op]string{OpAny: "", OpEqual: "=", OpFuzzy: "~", OpFuzzyEqual: "~", OpLess | OpFuzzy: "<~", OpGreater | OpFuzzyEqual: ">~", OpChecksum: "><",
		OpChecksum | OpEqual: "?"} {
		if got := op.String(); got != want {
			t.Errorf("Op(%d) is written %q, want %q", op, got, want)
		}
	}
}

func FuzzParseDependency(f *testing.F) {
	for _, s := range []string{"foo", "!foo>=1.2", "a@b~1", "x><" + sum1, "a=1@t", "cmd:[=1", "so:x.so.1=0unstable", "a b", "<>="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDependency(s)
		if err != nil {
			if !errors.Is(err, ErrDependency) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if (d.Op == OpAny) != (d.Version == "") || d.Name == "" {
			t.Errorf("%q: %+v", s, d)
		}
		again, err := ParseDependency(d.String())
		if err != nil || again != d {
			t.Errorf("%q: written %q, read back %+v, %v", s, d.String(), again, err)
		}
		list, err := ParseDependencies(s)
		if err != nil || len(list) != 1 || list[0] != d {
			t.Errorf("%q: as a list %+v, %v", s, list, err)
		}
	})
}
