package solve

import (
	"slices"
	"strings"
)

// solution turns an arrangement into choices with their reasons.
func (u *universe) solution(a *arrangement) *Solution {
	s := &Solution{Arch: u.request.Arch, Choices: make([]Choice, len(a.order))}
	reasons := u.reasons(a)
	for i, c := range a.order {
		s.Choices[i] = Choice{Package: c.pkg, Repository: c.repo, Reason: reasons[c]}
	}
	return s
}

// reasons finds for each arranged package the first link of a shortest chain to
// the request. An install_if package is one step further than the furthest of
// the packages that complete its conditions.
func (u *universe) reasons(a *arrangement) map[*candidate]Reason {
	r := reasoner{in: newProvision(a.order), reasons: make(map[*candidate]Reason, len(a.order))}
	for _, c := range a.order {
		if u.held.has(c) {
			r.reasons[c] = Reason{Kind: InBase}
			r.next = append(r.next, c)
		}
	}
	for _, d := range u.world {
		r.reach(d, Reason{Kind: Requested, Dependency: d.atom.String()})
	}
	for len(r.next) > 0 {
		level := r.next
		r.next = nil
		for _, c := range level {
			for _, d := range c.depends {
				r.reach(d, Reason{Kind: Depended, By: []string{c.pkg.Name}, Dependency: d.atom.String()})
			}
		}
		r.reachTriggered(a.order)
	}
	return r.reasons
}

type reasoner struct {
	in      *provision
	reasons map[*candidate]Reason
	next    []*candidate // reached in the current step
}

func (r *reasoner) reach(d demand, why Reason) {
	for _, p := range r.in.of[d.name] {
		if d.atom.Conflict || !d.matches(p) {
			continue
		}
		if _, ok := r.reasons[p.pkg]; !ok {
			r.reasons[p.pkg] = why
			r.next = append(r.next, p.pkg)
		}
	}
}

// reachTriggered reaches the packages whose install_if conditions are completed
// by packages that were reached in earlier steps.
func (r *reasoner) reachTriggered(order []*candidate) {
	for _, c := range order {
		if _, ok := r.reasons[c]; ok || len(c.installIf) == 0 {
			continue
		}
		if why, ok := r.triggers(c); ok {
			r.reasons[c] = why
			r.next = append(r.next, c)
		}
	}
}

func (r *reasoner) triggers(c *candidate) (why Reason, ok bool) {
	why.Kind = InstallIf
	var atoms []string
	for _, d := range c.installIf {
		if d.atom.Conflict {
			continue
		}
		by := r.reached(d)
		if by == nil {
			return why, false
		}
		if !slices.Contains(why.By, by.pkg.Name) {
			why.By = append(why.By, by.pkg.Name)
		}
		atoms = append(atoms, d.atom.String())
	}
	why.Dependency = strings.Join(atoms, " ")
	return why, len(why.By) > 0
}

// reached returns a package that satisfies d and has a reason from an earlier
// step.
func (r *reasoner) reached(d demand) *candidate {
	for _, p := range r.in.of[d.name] {
		if _, ok := r.reasons[p.pkg]; ok && d.matches(p) && !slices.Contains(r.next, p.pkg) {
			return p.pkg
		}
	}
	return nil
}
