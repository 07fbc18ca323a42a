package definition

import (
	"strconv"

	"gopkg.in/yaml.v3"
)

// at remembers the mapping that a value was read from, so that problems found
// later have a position.
type at struct {
	node *yaml.Node
	src  *source
	path string
}

// source is a file that values were read from.
type source struct {
	name string
	text []byte
}

func (a *at) setAt(n *yaml.Node, src *source, path string) { a.node, a.src, a.path = n, src, path }

// marked is a value that embeds at.
type marked interface {
	setAt(n *yaml.Node, src *source, path string)
}

// problem describes something about the key at the end of steps, below the
// mapping: names of keys and "[n]". The position is that of the value, or of
// the nearest thing above it that was written.
func (a at) problem(problem, detail, hint string, steps ...string) Problem {
	p := Problem{Key: a.path, Problem: problem, Detail: detail, Hint: hint}
	if a.src != nil {
		p.File = a.src.name
	}
	n := a.node
	for _, s := range steps {
		p.Key = joinPath(p.Key, s)
		if n != nil {
			if next := child(n, s); next != nil {
				n = next
			}
		}
	}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	return p
}

// value returns the node at the end of steps, nil when it is not there.
func (a at) value(steps ...string) *yaml.Node {
	n := a.node
	for _, s := range steps {
		if n == nil {
			return nil
		}
		n = child(n, s)
	}
	return n
}

// child finds a key of a mapping, also one that "<<" brings in, or an item of a
// list.
func child(n *yaml.Node, step string) *yaml.Node {
	n = follow(n)
	if n.Kind == yaml.SequenceNode && step[0] == '[' {
		i, err := strconv.Atoi(step[1 : len(step)-1])
		if err != nil || i < 0 || i >= len(n.Content) {
			return nil
		}
		return n.Content[i]
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	var merged *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == step {
			return n.Content[i+1]
		}
		if isMerge(n.Content[i]) && follow(n.Content[i+1]).Kind == yaml.MappingNode && merged == nil {
			merged = child(n.Content[i+1], step)
		}
	}
	return merged
}

// follow returns what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for range 100 {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
}

func isMerge(k *yaml.Node) bool { return k.Value == "<<" && k.Tag == "!!merge" }

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// joinPath appends a step to a path; keys that are not plain words are quoted.
func joinPath(path, step string) string {
	switch {
	case step == "":
		step = `""`
	case step[0] == '[':
		return path + step
	}
	for _, r := range step {
		if r <= ' ' || r == '"' || r == 0x7f {
			step = strconv.Quote(shorten(step))
			break
		}
	}
	if path == "" {
		return step
	}
	return path + "." + step
}
