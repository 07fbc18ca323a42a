package apk

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrDependency is wrapped by every error of [ParseDependency] and
// [ParseDependencies].
var ErrDependency = errors.New("not a dependency")

// The classes of bytes in an atom.
const (
	className = iota
	classOperator
	classPin
	classSpace // ends an atom in a list
	classBad
)

// byteClass is filled by the compiler, not at start-up.
var byteClass = [256]uint8{
	0: classBad, 1: classBad, 2: classBad, 3: classBad, 4: classBad, 5: classBad, 6: classBad, 7: classBad,
	8: classBad, 9: classBad, '\n': classSpace, 11: classBad, 12: classBad, 13: classBad, 14: classBad, 15: classBad,
	16: classBad, 17: classBad, 18: classBad, 19: classBad, 20: classBad, 21: classBad, 22: classBad, 23: classBad,
	24: classBad, 25: classBad, 26: classBad, 27: classBad, 28: classBad, 29: classBad, 30: classBad, 31: classBad,
	' ': classSpace, 127: classBad,
	'<': classOperator, '=': classOperator, '>': classOperator, '~': classOperator,
	'@': classPin,
}

// ParseDependency reads one atom: "name", "name>=1.2", "!name", "name@tag",
// "name@tag=1.2" (apk-tools' spelling) or "name=1.2@tag" (apko's). The
// operators are = < > <= >= ~ <~ >~ and ><; their characters may come in any
// order and more than once, as apk-tools reads them ("==" is "=", "~=" is "~"),
// but a combination that means nothing ("<>=") is an error, and so is an
// operator without a version or with one that [ValidVersion] refuses. After ><
// the version is a control checksum, "Q1…".
//
// A name is made of printable characters without space, <, =, >, ~ and @, and
// does not begin with "!". The error wraps [ErrDependency].
func ParseDependency(s string) (Dependency, error) {
	var d Dependency
	if problem := d.parse(s, false); problem != "" {
		return Dependency{}, &dependencyError{s, problem}
	}
	return d, nil
}

// ParseDependencies reads atoms separated by spaces or newlines. An empty list
// is nil.
func ParseDependencies(list string) ([]Dependency, error) {
	return appendParsed(nil, list, false)
}

// appendParsed appends the atoms of list to out. In a loose list, the one of
// provides, versions need not be valid: real packages carry atoms such as
// "so:libaws-c-s3.so.0unstable=0unstable", which harm nobody who asks for
// something else.
func appendParsed(out []Dependency, list string, loose bool) ([]Dependency, error) {
	for list != "" {
		if byteClass[list[0]] == classSpace {
			list = list[1:]
			continue
		}
		n := atomLength(list)
		out = append(out, Dependency{})
		if problem := out[len(out)-1].parse(list[:n], loose); problem != "" {
			return nil, &dependencyError{list[:n], problem}
		}
		list = list[n:]
	}
	return out, nil
}

func atomLength(list string) int {
	for i := 0; i < len(list); i++ {
		if byteClass[list[i]] == classSpace {
			return i
		}
	}
	return len(list)
}

type dependencyError struct{ atom, problem string }

func (e *dependencyError) Error() string {
	return fmt.Sprintf("dependency %.100q: %s", e.atom, e.problem)
}

func (e *dependencyError) Is(target error) bool { return target == ErrDependency }

// parse fills d from one atom and returns what is wrong with it, or "".
func (d *Dependency) parse(s string, loose bool) string {
	if rest, ok := strings.CutPrefix(s, "!"); ok {
		d.Conflict, s = true, rest
	}
	n := spanClass(s, className)
	d.Name = s[:n]
	if problem := checkName(d.Name); problem != "" {
		return problem
	}
	s = s[n:]
	if s != "" && s[0] == '@' {
		n = 1 + spanClass(s[1:], className)
		d.Pin, s = s[1:n], s[n:]
		if d.Pin == "" {
			return `no tag after "@"`
		}
	}
	if s == "" {
		return ""
	}
	return d.parseConstraint(s, loose)
}

// spanClass returns how many leading bytes of s are of the class.
func spanClass(s string, class uint8) int {
	for i := 0; i < len(s); i++ {
		if byteClass[s[i]] != class {
			return i
		}
	}
	return len(s)
}

// parseConstraint reads the operator and the version at s, which is not empty.
func (d *Dependency) parseConstraint(s string, loose bool) string {
	n := spanClass(s, classOperator)
	if n == 0 {
		return fmt.Sprintf("unexpected %q", firstRune(s))
	}
	op, problem := parseOp(s[:n])
	if problem != "" {
		return problem
	}
	version := s[n:]
	if at := strings.IndexByte(version, '@'); at >= 0 {
		if d.Pin != "" || at == len(version)-1 {
			return fmt.Sprintf("unexpected %q after the version", version[at:])
		}
		d.Pin, version = version[at+1:], version[:at]
		if spanClass(d.Pin, className) != len(d.Pin) {
			return fmt.Sprintf("tag %q: unexpected character", d.Pin)
		}
	}
	if version == "" {
		return fmt.Sprintf("no version after %q", s[:n])
	}
	d.Op, d.Version = op, version
	if loose {
		return ""
	}
	return checkConstraint(op, version)
}

func checkConstraint(op Op, version string) string {
	if op == OpChecksum {
		if _, err := ParseSHA1(version); err != nil {
			return err.Error()
		}
		return ""
	}
	if !ValidVersion(version) {
		return fmt.Sprintf("version %q: expected digits{.digits}{letter}{_suffix{digits}}{-r#}", version)
	}
	return ""
}

// parseOp folds a run of operator characters into an Op.
func parseOp(s string) (Op, string) {
	var op Op
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '=':
			op |= OpEqual
		case '<':
			op |= OpLess
		case '>':
			op |= OpGreater
		case '~':
			op |= OpFuzzyEqual
		}
	}
	if op&OpChecksum == OpChecksum && op != OpChecksum {
		return 0, fmt.Sprintf("operator %q: expected one of = < > <= >= ~ <~ >~ ><", s)
	}
	return op, ""
}

func checkName(name string) string {
	switch {
	case name == "":
		return "no name"
	case name[0] == '!':
		return `name begins with "!"`
	}
	for i := 0; i < len(name); i++ {
		if name[i] >= utf8.RuneSelf {
			if !utf8.ValidString(name) {
				return "name is not UTF-8"
			}
			break
		}
	}
	return ""
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

// Matches reports whether a package or provided name of the given version
// satisfies the constraint of d; Name, Pin and Conflict play no part. An
// unversioned provide (the empty string) satisfies only a dependency without
// constraint. For ><, version is the checksum's text ("Q1…").
func (d Dependency) Matches(version string) bool {
	switch {
	case d.Op == OpAny:
		return true
	case version == "":
		return false
	case d.Op == OpChecksum:
		return version == d.Version
	}
	c := compare(version, d.Version, d.Op&OpFuzzy != 0)
	switch {
	case c < 0:
		return d.Op&OpLess != 0
	case c > 0:
		return d.Op&OpGreater != 0
	}
	return d.Op&(OpEqual|OpFuzzy) != 0
}

// MatchesPackage reports whether p itself (its name and version, not what it
// provides) satisfies d, Conflict apart.
func (d Dependency) MatchesPackage(p *Package) bool {
	if d.Name != p.Name {
		return false
	}
	if d.Op == OpChecksum {
		return d.Matches(p.Checksum.String())
	}
	return d.Matches(p.Version)
}
