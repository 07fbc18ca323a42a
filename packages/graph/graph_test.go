package graph

import (
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/definition"
)

// build makes a build from one line: "name: needs… | package: runtime… | …". A
// package "name" after "|" without another colon is a subpackage; "+x" in a
// package's list is something that it provides.
func build(t testing.TB, line string) *definition.Build {
	t.Helper()
	parts := strings.Split(line, "|")
	name, needs, _ := strings.Cut(parts[0], ":")
	var b strings.Builder
	name = strings.TrimSpace(name)
	fmt.Fprintf(&b, "package:\n  name: %s\n  version: 1.2\n", name)
	subs := ""
	for _, p := range parts[1:] {
		pkg, list, _ := strings.Cut(p, ":")
		if pkg = strings.TrimSpace(pkg); pkg == name {
			b.WriteString(dependencies("  ", list))
			continue
		}
		subs += "  - name: " + pkg + "\n" + dependencies("    ", list)
	}
	fmt.Fprintf(&b, "environment:\n  contents:\n    packages: [%s]\n", quoted(strings.Fields(needs)))
	if subs != "" {
		b.WriteString("subpackages:\n" + subs)
	}
	d, err := definition.Read(name+".yaml", []byte(b.String()), definition.Options{})
	if err != nil {
		t.Fatalf("%s\n%v", b.String(), err)
	}
	out, err := definition.Compile(d, definition.CompileOptions{Arch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func quoted(list []string) string {
	for i := range list {
		list[i] = fmt.Sprintf("%q", list[i])
	}
	return strings.Join(list, ", ")
}

func dependencies(indent, list string) string {
	var runtime, provides []string
	priority := ""
	for _, w := range strings.Fields(list) {
		switch {
		case strings.HasPrefix(w, "+"):
			provides = append(provides, w[1:])
		case strings.HasPrefix(w, "^"):
			priority = indent + "  provider-priority: " + w[1:] + "\n"
		default:
			runtime = append(runtime, w)
		}
	}
	return fmt.Sprintf("%sdependencies:\n%s  runtime: [%s]\n%s  provides: [%s]\n%s", indent, indent, quoted(runtime), indent, quoted(provides), priority)
}

func graphOf(t testing.TB, o Options, lines ...string) *Graph {
	t.Helper()
	var builds []*definition.Build
	for _, l := range lines {
		builds = append(builds, build(t, l))
	}
	g, err := New(builds, o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// summary is what a graph says, in short.
func summary(g *Graph) string {
	var b strings.Builder
	for i, l := range g.Levels {
		fmt.Fprintf(&b, "%d %s\n", i, strings.Join(l, " "))
	}
	for _, c := range g.Cycles {
		fmt.Fprintf(&b, "cycle %s seeds %s\n", strings.Join(c.Builds, " "), strings.Join(c.Seeds, " "))
	}
	fmt.Fprintf(&b, "order %s\npath %s %g\n", strings.Join(g.Order, " "), strings.Join(g.CriticalPath, " "), g.CriticalWeight)
	for _, m := range g.Missing {
		fmt.Fprintf(&b, "missing %s by %s\n", m.Need, strings.Join(append(slices.Clone(m.Builds), m.Packages...), " "))
	}
	return b.String()
}

func TestGraphs(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"nothing", nil, "order \npath  0\n"},
		{"one", []string{"a:"}, "0 a\norder a\npath a 1\n"},
		{"chain", []string{"c: b", "b: a", "a:"}, "0 a\n1 b\n2 c\norder a b c\npath a b c 3\n"},
		{"through a subpackage", []string{"a: | a-dev:", "b: a-dev"}, "0 a\n1 b\norder a b\npath a b 2\n"},
		{"through what a package needs", []string{"a:", "b: | b-dev: a", "c: b-dev"}, "0 a b\n1 c\norder a b c\npath b c 2\n"},
		// The other subpackages of an origin do not count.
		{"not through other subpackages", []string{"a: | a: c | a-lib:", "b: a-lib", "c: b"}, "0 a\n1 b\n2 c\norder a b c\npath a b c 3\n"},
		{"provided", []string{"a: | a: +virtual", "b: virtual"}, "0 a\n1 b\norder a b\npath a b 2\n"},
		{"provided with a version", []string{"a: | a: +lib=3.1", "b: lib~3 lib>2 so:x"}, "0 a\n1 b\norder a b\npath a b 2\nmissing so:x by b\n"},
		{"version too old", []string{"a:", "b: a>2"}, "0 a b\norder a b\npath a 1\nmissing a>2 by b\n"},
		{"provided without a version", []string{"a: | a: +lib", "b: lib=1"}, "0 a b\norder a b\npath a 1\nmissing lib=1 by b\n"},
		{"its own name before others", []string{"a: | a: +b", "b: | b:", "c: b"}, "0 a b\n1 c\norder a b c\npath b c 2\n"},
		{"priority", []string{"a: | a: +v ^5", "b: | b: +v ^10", "c: v"}, "0 a b\n1 c\norder a b c\npath b c 2\n"},
		{"newest version", []string{"a: | a: +v=1", "b: | b: +v=2", "c: v"}, "0 a b\n1 c\norder a b c\npath b c 2\n"},
		{"conflicts ask for nothing", []string{"a: !b !zzz", "b: a"}, "0 a\n1 b\norder a b\npath a b 2\n"},
		{"packages that need each other", []string{"a: | a: b", "b: | b: a", "c: a"}, "0 a b\n1 c\norder a b c\npath a c 2\n"},
		{"a build that needs itself", []string{"a: a"}, "0 a\ncycle a seeds a\norder a\npath a 1\n"},
		{"two builds", []string{"a: b", "b: a"}, "0 a b\ncycle a b seeds a\norder b a\npath a b 2\n"},
		{"a cycle in the middle", []string{"x:", "a: b x", "b: a", "z: b"}, "0 x\n1 a b\n2 z\ncycle a b seeds a\norder b x a z\npath x a b z 4\n"},
		{"through what a seed needs", []string{"a: b-lib", "b: c | b-lib: a", "c: a"}, "0 a b c\ncycle a b c seeds a\norder c b a\npath a b c 3\n"},
		// b is not enough: what it needs at run time must be there too.
		{"seeds need what they need", []string{"a: b", "b: b | b: a"}, "0 a b\ncycle a b seeds a b\norder a b\npath a b 2\n"},
		{"one seed for many", []string{"gcc: binutils make", "binutils: gcc make", "make: gcc"}, "0 binutils gcc make\ncycle binutils gcc make seeds gcc\norder make binutils gcc\npath binutils gcc make 3\n"},
		{"two cycles", []string{"a: b", "b: a", "x: y", "y: z", "z: x"}, "0 a b x y z\ncycle x y z seeds x\ncycle a b seeds a\norder b a z y x\npath x y z 3\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := graphOf(t, Options{}, tt.lines...)
			if diff := cmp.Diff(tt.want, summary(g)); diff != "" {
				t.Errorf("(-expected +found)\n%s", diff)
			}
			check(t, g)
		})
	}
}

// check holds a graph against what it promises: an order in which everything is
// there when it is needed, and no seed that can be left out.
func check(t *testing.T, g *Graph) {
	t.Helper()
	seeds := map[string]bool{}
	for _, c := range g.Cycles {
		for _, s := range c.Seeds {
			seeds[s] = true
		}
	}
	if !ordered(g, seeds) {
		t.Errorf("order %v is none with seeds %v", g.Order, seeds)
	}
	for s := range seeds {
		fewer := map[string]bool{}
		for o := range seeds {
			fewer[o] = o != s
		}
		if possible(g, fewer) {
			t.Errorf("seed %s is not needed", s)
		}
	}
}

// ordered reports whether every build comes after what it needs.
func ordered(g *Graph, seeds map[string]bool) bool {
	done := map[int]bool{}
	for _, name := range g.Order {
		b := g.index[name]
		if !ready(g, b, seeds, done, map[int]bool{}) {
			return false
		}
		done[b] = true
	}
	return len(g.Order) == len(g.Builds)
}

// ready reports whether all packages that a node needs are there.
func ready(g *Graph, n int, seeds map[string]bool, done, seen map[int]bool) bool {
	for _, to := range g.nodes[n].to {
		if !g.nodes[to].isPkg {
			if !done[to] && !seeds[g.nodes[n].name] {
				return false
			}
			continue
		}
		if seen[to] {
			continue
		}
		seen[to] = true
		if !ready(g, to, seeds, done, seen) {
			return false
		}
	}
	return true
}

// possible reports whether some order exists.
func possible(g *Graph, seeds map[string]bool) bool {
	done := map[int]bool{}
	for progress := true; progress; {
		progress = false
		for i := range g.Builds {
			if !done[i] && ready(g, i, seeds, done, map[int]bool{}) {
				done[i], progress = true, true
			}
		}
	}
	return len(done) == len(g.Builds)
}

// Random graphs keep the promises, and the order of the input does not matter.
func TestRandomGraphs(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 200 {
		n := 1 + r.Intn(12)
		var lines []string
		word := func() string {
			return fmt.Sprintf("p%d%s", r.Intn(n), []string{"", "-lib", "-dev"}[r.Intn(3)])
		}
		words := func(most int) string {
			var out []string
			for range r.Intn(most + 1) {
				out = append(out, word())
			}
			return strings.Join(out, " ")
		}
		for i := range n {
			lines = append(lines, fmt.Sprintf("p%d: %s | p%d: %s | p%d-lib: %s | p%d-dev: %s", i, words(2), i, words(1), i, words(1), i, words(2)))
		}
		g := graphOf(t, Options{}, lines...)
		check(t, g)
		r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		if diff := cmp.Diff(summary(g), summary(graphOf(t, Options{}, lines...))); diff != "" {
			t.Errorf("in another order of definitions\n%s", diff)
		}
	}
}

func TestWeights(t *testing.T) {
	g := graphOf(t, Options{Weights: map[string]float64{"a": 10, "b": 0.5}}, "a:", "b:", "c: b", "d: c", "e: a")
	if want := []string{"a", "e"}; !slices.Equal(g.CriticalPath, want) || g.CriticalWeight != 11 {
		t.Errorf("found %v %g, expected %v 11", g.CriticalPath, g.CriticalWeight, want)
	}
}

func TestPrerequisites(t *testing.T) {
	g := graphOf(t, Options{}, "a:", "b: a | b-dev: c", "c: d", "d:", "e: b-dev")
	for name, want := range map[string][]string{"a": {}, "b": {"a"}, "e": {"b", "c"}, "x": nil} {
		if have := g.Prerequisites(name); !cmp.Equal(have, want) {
			t.Errorf("%s: found %v, expected %v", name, have, want)
		}
	}
}

func TestTestsCount(t *testing.T) {
	d, err := definition.Read("b.yaml", []byte(`package: {name: b, version: 1}
test: {environment: {contents: {packages: [a]}}, pipeline: [{runs: b}]}
subpackages:
  - name: b-doc
    test: {environment: {contents: {packages: [b]}}, pipeline: [{runs: b}]}
`), definition.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := definition.Compile(d, definition.CompileOptions{Arch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	for tests, want := range map[bool]string{
		false: "0 a b\norder a b\npath a 1\n",
		true:  "0 a\n1 b\norder a b\npath a b 2\n",
	} {
		g, err := New([]*definition.Build{b, build(t, "a:")}, Options{Tests: tests})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, summary(g)); diff != "" {
			t.Errorf("tests %v\n%s", tests, diff)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{[]string{"a: | b:", "b:"}, "b.yaml: package made twice: b is made by a.yaml too"},
		{[]string{"a:", "b: | c:", "d: | c:"}, "d.yaml: package made twice: c is made by b.yaml too"},
		{[]string{"a: | a: +=1"}, `a.yaml: bad definition: a: provides: dependency "=1": no name`},
	} {
		var builds []*definition.Build
		for _, l := range tt.lines {
			builds = append(builds, build(t, l))
		}
		_, err := New(builds, Options{})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%v: found %v, expected %s", tt.lines, err, tt.want)
		}
		if strings.Contains(tt.want, "twice") && !errors.Is(err, ErrDuplicate) {
			t.Errorf("%v is no ErrDuplicate", err)
		}
	}
}

func TestOutput(t *testing.T) {
	g := graphOf(t, Options{}, "a: b", "b: a zlib", "c: b | c-lib: so:x", "d: d zlib")
	var text, dot strings.Builder
	if err := errors.Join(g.Text(&text), g.DOT(&dot)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`x86_64: 4 builds in 2 levels
level 0: a, b, d
level 1: c
cycle of 2 builds: a, b
  needs from elsewhere: a
cycle of 1 build: d
  needs from elsewhere: d
critical path (3): a, b, c
no definition makes so:x, needed by c-lib
no definition makes zlib, needed by b, d
`, text.String()); diff != "" {
		t.Errorf("text (-expected +found)\n%s", diff)
	}
	if diff := cmp.Diff(`digraph builds {
	rankdir=LR;
	node [shape=box];
	subgraph cluster_0 {
		label="cycle; needs from elsewhere: a";
		"a";
		"b";
	}
	subgraph cluster_1 {
		label="cycle; needs from elsewhere: d";
		"d";
	}
	"a";
	"b" -> "a";
	"b";
	"a" -> "b";
	"c";
	"b" -> "c";
	"d";
}
`, dot.String()); diff != "" {
		t.Errorf("dot (-expected +found)\n%s", diff)
	}
}

func TestWaits(t *testing.T) {
	lines := []string{"cc: libc shell", "libc: cc", "shell: cc libc", "app: cc", "top: app shell"}
	var builds []*definition.Build
	for _, l := range lines {
		builds = append(builds, build(t, l))
	}
	for _, test := range []struct {
		available []string
		seeds     string
		waits     map[string]string
	}{
		{nil, "cc", map[string]string{"cc": "libc shell", "libc": "", "shell": "libc", "app": "cc", "top": "app shell"}},
		// shell and libc are the others that break both cycles.
		{[]string{"libc", "shell"}, "libc shell", map[string]string{"cc": "", "libc": "cc", "shell": "cc", "app": "cc", "top": "app shell"}},
		// Nothing helps: what is missing is named all the same.
		{[]string{"app"}, "cc", nil},
	} {
		o := Options{}
		if test.available != nil {
			o.Available = func(name string) bool { return slices.Contains(test.available, name) }
		}
		g, err := New(builds, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(g.Cycles[0].Seeds, " "); got != test.seeds {
			t.Errorf("available %v: seeds %s, expected %s", test.available, got, test.seeds)
		}
		for name, want := range test.waits {
			if got := strings.Join(g.Waits(name), " "); got != want {
				t.Errorf("available %v: %s waits for %q, expected %q", test.available, name, got, want)
			}
		}
	}
}
