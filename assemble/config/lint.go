package config

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

// ignored is RULE or RULE:PATH. Which rules there are is for the one who knows
// them to check.
var ignored = regexp.MustCompile(`^([a-z]+(?:-[a-z]+)*)(?::(/.*))?$`)

func checkIgnore(c *checker, at place, v string) {
	m := ignored.FindStringSubmatch(v)
	if m == nil {
		c.problem(at, impossible, "found "+strconv.Quote(v)+", expected RULE or RULE:/PATH", "")
		return
	}
	if _, err := path.Match(m[2], ""); err != nil {
		c.problem(at, impossible, "found "+strconv.Quote(m[2])+", expected a path with * and ?", "")
	}
}

// Position says where a value stands, or what is nearest around it: steps are
// the keys on the way to it and, of lists, the positions from 0 in brackets, as
// in "files", "[0]". Lines and columns count from 1; file is empty for what came
// from a flag.
func (c *Config) Position(steps ...string) (file string, line, column int) {
	p, _ := c.marks.at(steps...)
	return p.file, p.line, p.col
}

// Steps splits a path of keys, as in "files[0].source", into the steps of
// [Config.Position].
func Steps(key string) []string {
	return strings.Split(strings.ReplaceAll(key, "[", ".["), ".")
}
