package graph

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Text writes the plan for people.
func (g *Graph) Text(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s: %s in %s\n", g.Arch, count(len(g.Builds), "build"), count(len(g.Levels), "level"))
	for i, level := range g.Levels {
		fmt.Fprintf(out, "level %d: %s\n", i, wrap(level))
	}
	for _, c := range g.Cycles {
		fmt.Fprintf(out, "cycle of %s: %s\n", count(len(c.Builds), "build"), wrap(c.Builds))
		fmt.Fprintf(out, "  needs from elsewhere: %s\n", wrap(c.Seeds))
	}
	if len(g.CriticalPath) > 0 {
		fmt.Fprintf(out, "critical path (%s): %s\n", strconv.FormatFloat(g.CriticalWeight, 'g', -1, 64), wrap(g.CriticalPath))
	}
	for _, m := range g.Missing {
		fmt.Fprintf(out, "no definition makes %s, needed by %s\n", m.Need, m.by())
	}
	return out.Flush()
}

// by names who needs it, builds first, a few of each.
func (m Missing) by() string {
	const most = 5
	list := append(append([]string{}, m.Builds...), m.Packages...)
	rest := ""
	if len(list) > most {
		rest = fmt.Sprintf(" and %d more", len(list)-most)
		list = list[:most]
	}
	return strings.Join(list, ", ") + rest
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// wrap joins names over as many lines as they need.
func wrap(names []string) string {
	const width = 78
	var b strings.Builder
	column := 16
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
			if column++; column+len(name) > width {
				b.WriteString("\n ")
				column = 1
			}
			b.WriteByte(' ')
			column++
		}
		b.WriteString(name)
		column += len(name)
	}
	return b.String()
}

// DOT writes the builds and their needs in Graphviz's language: an edge goes
// from what is needed to what needs it. Builds of a cycle are in a box.
func (g *Graph) DOT(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "digraph builds {\n\trankdir=LR;\n\tnode [shape=box];\n")
	for i, c := range g.Cycles {
		fmt.Fprintf(out, "\tsubgraph cluster_%d {\n\t\tlabel=%s;\n", i, strconv.Quote("cycle; needs from elsewhere: "+strings.Join(c.Seeds, ", ")))
		for _, b := range c.Builds {
			fmt.Fprintf(out, "\t\t%s;\n", strconv.Quote(b))
		}
		fmt.Fprintf(out, "\t}\n")
	}
	for _, b := range g.Builds {
		fmt.Fprintf(out, "\t%s;\n", strconv.Quote(b.Name))
		for _, need := range b.Needs {
			fmt.Fprintf(out, "\t%s -> %s;\n", strconv.Quote(need), strconv.Quote(b.Name))
		}
	}
	fmt.Fprintf(out, "}\n")
	return out.Flush()
}
