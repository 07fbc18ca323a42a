package solve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// explain turns facts that exclude each other into an error.
func (u *universe) explain(against []*fact) error {
	facts := u.inOrder(minimal(against))
	e := &UnsatisfiableError{Arch: u.request.Arch}
	for _, f := range facts {
		if f.by == nil && (f.kind == needs || f.kind == excludes) {
			if !slices.Contains(e.Request, *f.need.atom) && u.held.of(f.need) == nil {
				e.Request = append(e.Request, *f.need.atom)
			}
		}
	}
	t := teller{u: u, error: e}
	t.tell(facts)
	return e
}

// inOrder sorts facts as the request leads to them: its entries, then for each
// package that could come in what it depends on; last what excludes packages
// that came in.
func (u *universe) inOrder(facts []*fact) []*fact {
	of := map[*candidate][]*fact{}
	var out, exclusions []*fact
	var queue []*candidate
	came := map[*candidate]bool{}
	take := func(f *fact) {
		out = append(out, f)
		if f.kind == needs || f.kind == untaken || f.kind == unpinned {
			queue = append(queue, f.others...)
		}
	}
	for _, d := range u.world {
		for _, f := range facts {
			if f.by == nil && f.need.atom == d.atom {
				take(f)
			}
		}
	}
	for _, f := range facts {
		switch {
		case f.kind == rivals || f.kind == excludes && f.by != nil:
			exclusions = append(exclusions, f)
		case f.by != nil:
			of[f.by] = append(of[f.by], f)
		}
	}
	for len(queue) > 0 {
		c := queue[0]
		queue = queue[1:]
		if came[c] {
			continue
		}
		came[c] = true
		for _, f := range of[c] {
			take(f)
		}
	}
	return append(out, exclusions...)
}

// teller puts facts into words, similar ones into one line.
type teller struct {
	u       *universe
	error   *UnsatisfiableError
	asked   map[string]bool // the demands whose providers were listed
	missing map[string]*MissingError
}

func (t *teller) tell(facts []*fact) {
	t.asked, t.missing = map[string]bool{}, map[string]*MissingError{}
	told := make([]bool, len(facts))
	for i, f := range facts {
		if told[i] {
			continue
		}
		group := []*fact{f}
		for j := i + 1; j < len(facts); j++ {
			if !told[j] && f.similar(facts[j]) {
				told[j] = true
				group = append(group, facts[j])
			}
		}
		t.say(group)
	}
}

// similar reports whether the two facts say the same of two versions of one
// package, or of further rivals for a name.
func (f *fact) similar(g *fact) bool {
	if f.kind != g.kind {
		return false
	}
	if f.kind == rivals {
		return f.shared == g.shared
	}
	if f.by == nil || g.by == nil || f.by.name != g.by.name {
		return f.by == g.by && f.kind == excludes && f.need.atom == g.need.atom
	}
	switch f.kind {
	case needs, excludes:
		return f.need.atom.String() == g.need.atom.String()
	case barred:
		return f.by.bar == g.by.bar
	case unpinned:
		return f.by.tags == g.by.tags
	}
	return f.need.name == g.need.name
}

// say adds the line of a group of similar facts.
func (t *teller) say(group []*fact) {
	f := group[0]
	var by, others []*candidate
	for _, g := range group {
		by = append(by, g.by)
		others = append(others, g.others...)
	}
	atom := func() string { return f.need.atom.String() }
	switch f.kind {
	case needs:
		t.sayNeeds(by, f)
	case excludes:
		who := "the request forbids "
		bare := *f.need.atom
		bare.Conflict = false
		if f.by != nil {
			who = versionsOf(by) + verb(by, " conflicts with ", " conflict with ")
		}
		t.line(who + bare.String() + ": " + list(distinct(others), f.need.name))
	case rivals:
		t.sayRivals(f.shared, others)
	case barred:
		t.line(versionsOf(by) + verb(by, " is", " are") + " excluded: " + f.by.bar)
	case unpinned:
		t.line(fmt.Sprintf("%s%s only in a repository tagged %s, which nothing that asks for %s may use",
			versionsOf(by), verb(by, " is", " are"), t.u.tagsOf(f.by), verb(by, "it", "them")))
		t.hint(fmt.Sprintf("ask for %s@%s", f.by.name.text, strings.TrimPrefix(t.u.tagsOf(f.by), "@")))
	case untaken:
		t.line(fmt.Sprintf("%s%s%s without a version or priority: %s taken only when something asks for %s by name",
			versionsOf(by), verb(by, " provides ", " provide "), f.need.name.text, verb(by, "it is", "they are"), f.by.name.text))
		t.hint("ask for the package that is to provide " + atom() + " by its own name")
	}
}

func (t *teller) line(s string) { t.error.Facts = append(t.error.Facts, s) }

func (t *teller) hint(s string) {
	if !slices.Contains(t.error.Hints, s) {
		t.error.Hints = append(t.error.Hints, s)
	}
}

// sayNeeds tells a dependency, and at its first mention who can satisfy it.
func (t *teller) sayNeeds(by []*candidate, f *fact) {
	if p := t.u.held.of(f.need); p != nil && f.by == nil {
		t.line("the base image holds " + p.ID())
		return
	}
	who := "the request asks for "
	if f.by != nil {
		who = versionsOf(by) + verb(by, " depends on ", " depend on ")
	}
	text := who + f.need.atom.String()
	atom := f.need.atom.String()
	if len(f.need.name.everyProvider()) == 0 {
		t.line(text + ", which is in no repository")
		t.addMissing(f, by)
		return
	}
	if !t.asked[atom] {
		t.asked[atom] = true
		text += "; " + t.availability(f)
	}
	t.line(text)
}

func (t *teller) addMissing(f *fact, by []*candidate) {
	e := t.missing[f.need.name.text]
	if e == nil {
		e = &MissingError{Name: f.need.name.text, Dependency: *f.need.atom, Arch: t.u.request.Arch}
		t.missing[e.Name] = e
		t.error.Missing = append(t.error.Missing, e)
	}
	for _, c := range by {
		who := "the request"
		if c != nil {
			who = c.pkg.ID()
		}
		if !slices.Contains(e.By, who) {
			e.By = append(e.By, who)
		}
	}
	slices.Sort(e.By)
}

// availability says who satisfies a demand, or who does not.
func (t *teller) availability(f *fact) string {
	n := f.need.name
	var all []*candidate
	for _, p := range n.everyProvider() {
		all = append(all, p.pkg)
	}
	switch all = distinct(all); {
	case len(all) == 1:
		return as(all[0], n) + " is the only " + n.text + t.where(all[0])
	case len(f.others) == 0:
		return "there is only " + list(all, n)
	case len(f.others) == 1:
		return "only " + as(f.others[0], n) + " satisfies it" + t.where(f.others[0])
	}
	return list(f.others, n) + " satisfy it"
}

// where names the repository of c.
func (t *teller) where(c *candidate) string {
	if t.u.held.has(c) {
		return ", which the base image holds"
	}
	if url := t.u.request.Repositories[c.repo].URL; url != "" {
		return " (" + url + ")"
	}
	return ""
}

// as names c, and the version of n that it provides when that is not its own
// name.
func as(c *candidate, n *name) string {
	if c.name == n {
		return c.pkg.ID()
	}
	for _, v := range c.provides {
		if v.name == n && v.version != "" {
			return fmt.Sprintf("%s (as %s=%s)", c.pkg.ID(), n.text, v.version)
		}
	}
	return fmt.Sprintf("%s (as %s without a version)", c.pkg.ID(), n.text)
}

func (t *teller) sayRivals(shared *name, others []*candidate) {
	others = distinct(others)
	same := true
	for _, c := range others {
		same = same && c.name == shared
	}
	if same {
		t.line("only one version of " + shared.text + " can be installed: " + list(others, shared))
		return
	}
	t.line("only one package can provide " + shared.text + ": " + list(others, shared))
}

// tagsOf lists the tags of the repositories that have c.
func (u *universe) tagsOf(c *candidate) string {
	var out []string
	for i, tag := range u.tags {
		if c.tags&(1<<i) != 0 && tag != "" {
			out = append(out, "@"+tag)
		}
	}
	return strings.Join(out, " or ")
}

func distinct(l []*candidate) []*candidate {
	var out []*candidate
	for _, c := range l {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// listed is how many packages a line names before it counts.
const listed = 4

// versionsOf names packages of one name: "app-2, app-1 and 7 other versions".
func versionsOf(l []*candidate) string {
	l = newestFirst(distinct(l))
	var ids []string
	for _, c := range l[:min(len(l), listed)] {
		ids = append(ids, c.pkg.ID())
	}
	s := strings.Join(ids, ", ")
	if len(l) > listed {
		s += " and " + others(len(l)-listed, "other version")
	}
	return s
}

func others(n int, what string) string {
	if n > 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func newestFirst(l []*candidate) []*candidate {
	slices.SortStableFunc(l, func(a, b *candidate) int {
		if a.name != b.name {
			return strings.Compare(a.name.text, b.name.text)
		}
		return apk.Compare(b.pkg.Version, a.pkg.Version)
	})
	return l
}

// list names packages as what they are for n.
func list(l []*candidate, n *name) string {
	l = newestFirst(slices.Clone(l))
	var ids []string
	for _, c := range l[:min(len(l), listed)] {
		ids = append(ids, as(c, n))
	}
	s := strings.Join(ids, ", ")
	if len(l) > listed {
		s += " and " + others(len(l)-listed, "other")
	}
	return s
}

func verb(l []*candidate, one, many string) string {
	if len(distinct(l)) > 1 {
		return many
	}
	return one
}
