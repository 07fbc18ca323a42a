package config

import (
	"fmt"
	"strings"
)

// maxMode is all permission bits with setuid, setgid and sticky.
const maxMode = 0o7777

// checkMode checks permission bits. In YAML 0o755 and 0755 are octal and 755
// is not; a decimal number that makes no sense as permissions but looks like
// octal digits is pointed out.
func checkMode(c *checker, at place, v int64) {
	octal := looksOctal(at.n.Value)
	switch {
	case v > maxMode && octal:
		c.problem(at, "out of range", "found decimal "+at.n.Value+", expected at most 0o7777", "write 0o"+at.n.Value)
	case v > maxMode:
		c.problem(at, "out of range", fmt.Sprintf("found 0o%o, expected at most 0o7777", v), "")
	case octal && !plausible(v):
		c.warning(at, "decimal permissions", fmt.Sprintf("found %s, which is 0o%o", at.n.Value, v), "write 0o"+at.n.Value+" if that is meant")
	}
}

// checkAppMode checks the mode of files of an application, which has no setuid,
// setgid and sticky bits: it would give them to all files alike.
func checkAppMode(c *checker, at place, v int64) {
	if v > 0o777 && v <= maxMode && !looksOctal(at.n.Value) {
		c.problem(at, "out of range", fmt.Sprintf("found 0o%o, expected at most 0o777", v), "keep-setuid keeps the special bits that the source has")
		return
	}
	checkMode(c, at, v)
}

// looksOctal reports whether a decimal number was written with octal digits
// only, three to five of them.
func looksOctal(s string) bool {
	return len(s) >= 3 && len(s) <= 5 && s[0] != '0' && strings.Trim(s, "01234567") == ""
}

// plausible reports whether the owner may all that the group may, and the group
// all that others may.
func plausible(mode int64) bool {
	owner, group, other := mode>>6&7, mode>>3&7, mode&7
	return group&^owner == 0 && other&^group == 0
}
