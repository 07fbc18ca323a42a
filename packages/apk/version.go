package apk

import "strings"

// A version is read as a row of tokens: a number, further numbers after dots, a
// letter, suffixes with or without a number, a commit hash, revisions. Tokens
// have a kind and a value; the order of kinds below decides between versions
// that are equal up to the point where their kinds differ: the smaller kind is
// the newer version, a pre-release suffix apart.
type tokenKind int8

const (
	tokInvalid tokenKind = iota - 1
	tokDotted            // number after a dot; a leading zero makes it a row of zeros
	tokNumber            // number at the start, after a letter, or after a row of zeros
	tokLetter
	tokSuffix
	tokSuffixNumber
	tokHash
	tokRevision
	tokEnd
)

// versionScanner hands out the tokens of text; kind is that of the token that
// next will return.
type versionScanner struct {
	text string
	kind tokenKind
}

// token is a value as next returns it: two tokens of one kind compare by number,
// then by hash.
type token struct {
	number int64
	hash   string
}

func (t token) compare(u token) int {
	switch {
	case t.number < u.number:
		return -1
	case t.number > u.number:
		return 1
	}
	return strings.Compare(t.hash, u.hash)
}

// The suffixes in ascending order. Those before a release count down from -1,
// those after it up from 0. An earlier entry wins where one is the beginning of
// another ("pre" and "p").
var (
	preSuffixes  = [...]string{"alpha", "beta", "pre", "rc"}
	postSuffixes = [...]string{"cvs", "svn", "git", "hg", "p"}
)

// next consumes the value of the current token and determines the kind of the
// one after it.
func (s *versionScanner) next() token {
	if s.text == "" && s.kind != tokHash {
		s.kind = tokEnd
		return token{}
	}
	var t token
	var n int
	after := tokInvalid
	ok := true
	switch s.kind {
	case tokDotted:
		if s.text[0] == '0' {
			n = zeros(s.text) - 1
			t.number, after = int64(-n), tokNumber
			break
		}
		t.number, n, ok = digits(s.text)
	case tokNumber, tokSuffixNumber, tokRevision:
		t.number, n, ok = digits(s.text)
	case tokLetter:
		t.number, n = int64(s.text[0]), 1
	case tokSuffix:
		t.number, n, ok = suffix(s.text)
	case tokHash:
		n = hexDigits(s.text)
		t.hash, ok = s.text[:n], n > 0
	default:
		ok = false
	}
	if !ok {
		s.kind = tokInvalid
		return token{number: -1}
	}
	s.text = s.text[n:]
	switch {
	case s.text == "":
		s.kind = tokEnd
	case after != tokInvalid:
		s.kind = after
	default:
		s.advance()
	}
	return t
}

// advance consumes the separator in front of the next token and sets its kind.
func (s *versionScanner) advance() {
	was, c := s.kind, s.text[0]
	kind := tokInvalid
	switch {
	case (was == tokDotted || was == tokNumber) && isLower(c):
		kind = tokLetter
	case was == tokLetter && isDigit(c):
		kind = tokNumber
	case was == tokSuffix && isDigit(c):
		kind = tokSuffixNumber
	default:
		kind = s.separator(c)
	}
	if kind < was && !mayFollow(was, kind) {
		kind = tokInvalid
	}
	s.kind = kind
}

func (s *versionScanner) separator(c byte) tokenKind {
	kind, n := tokInvalid, 1
	switch c {
	case '.':
		kind = tokDotted
	case '_':
		kind = tokSuffix
	case '~':
		if s.kind < tokHash {
			kind = tokHash
		}
	case '-':
		if len(s.text) > 1 && s.text[1] == 'r' {
			kind, n = tokRevision, 2
		}
	}
	s.text = s.text[n:]
	return kind
}

// mayFollow lists the steps back to a smaller kind: 1.2.3, 1_a1_b, 1a2.
func mayFollow(was, kind tokenKind) bool {
	return was == tokNumber && kind == tokDotted ||
		was == tokSuffixNumber && kind == tokSuffix ||
		was == tokLetter && kind == tokNumber
}

func isDigit(c byte) bool { return c-'0' < 10 }
func isLower(c byte) bool { return c-'a' < 26 }

func zeros(s string) (n int) {
	for n < len(s) && s[n] == '0' {
		n++
	}
	return n
}

// digits reads a number; none at all is 0, 18 digits and more are refused as
// apk-tools does.
func digits(s string) (v int64, n int, ok bool) {
	for n < len(s) && isDigit(s[n]) {
		if n < 18 {
			v = v*10 + int64(s[n]-'0')
		}
		n++
	}
	return v, n, n < 18
}

func hexDigits(s string) (n int) {
	for n < len(s) && (isDigit(s[n]) || s[n]-'a' < 6) {
		n++
	}
	return n
}

func suffix(s string) (v int64, n int, ok bool) {
	for i, name := range preSuffixes {
		if strings.HasPrefix(s, name) {
			return int64(i - len(preSuffixes)), len(name), true
		}
	}
	for i, name := range postSuffixes {
		if strings.HasPrefix(s, name) {
			return int64(i), len(name), true
		}
	}
	return 0, 0, false
}

// ValidVersion reports whether apk-tools 2.14 accepts s as a version:
// digits{.digits}{letter}{_suffix{digits}}{-r#}, where the suffixes are alpha,
// beta, pre, rc, cvs, svn, git, hg and p and may be repeated. Its leniency is
// followed (missing numbers count as 0, so that "1..2", "a" and "" are valid);
// "~" and a commit hash before the revision, new in apk-tools 3, are accepted
// too.
func ValidVersion(s string) bool {
	scan := versionScanner{s, tokNumber}
	for scan.kind != tokEnd && scan.kind != tokInvalid {
		scan.next()
	}
	return scan.kind == tokEnd
}

// Compare returns -1, 0 or 1 as version a is older than, as new as, or newer
// than version b, in the order of apk-tools 2.14. Valid versions are totally
// ordered, though two spellings can be equal ("1-r" and "1-r0"). Versions that
// are not valid compare by what precedes the fault.
func Compare(a, b string) int {
	if a == b {
		return 0
	}
	return compare(a, b, false)
}

// compare is Compare; with fuzzy, versions that are equal up to where one ends
// or their kinds of tokens differ are equal.
func compare(a, b string, fuzzy bool) int {
	sa, sb := versionScanner{a, tokNumber}, versionScanner{b, tokNumber}
	for sa.kind == sb.kind && sa.kind != tokEnd && sa.kind != tokInvalid {
		if c := sa.next().compare(sb.next()); c != 0 {
			return c
		}
	}
	if sa.kind == sb.kind || fuzzy {
		return 0
	}
	if sa.preRelease() {
		return -1
	}
	if sb.preRelease() {
		return 1
	}
	if sa.kind > sb.kind {
		return -1
	}
	return 1
}

// preRelease reports whether the current token is a suffix that stands before
// the release (or an unknown one).
func (s versionScanner) preRelease() bool {
	return s.kind == tokSuffix && s.next().number < 0
}
