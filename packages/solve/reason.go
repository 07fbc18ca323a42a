package solve

import "slices"

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
	reasons := make(map[*candidate]Reason, len(a.order))
	var level []*candidate
	reach := func(to *[]*candidate, d demand, r Reason) {
		c := a.choice.pick(d).pkg
		if d.atom.Conflict || c == nil {
			return
		}
		if _, ok := reasons[c]; !ok {
			reasons[c] = r
			*to = append(*to, c)
		}
	}
	for _, d := range u.world {
		reach(&level, d, Reason{Kind: Requested, Dependency: d.atom.String()})
	}
	for len(level) > 0 {
		var next []*candidate
		for _, c := range level {
			for _, d := range c.depends {
				reach(&next, d, Reason{Kind: Depended, By: []string{c.pkg.Name}, Dependency: d.atom.String()})
			}
		}
		a.reachTriggered(reasons, &next)
		level = next
	}
	return reasons
}

// reachTriggered adds the packages whose install_if conditions all have a
// reason by now.
func (a *arrangement) reachTriggered(reasons map[*candidate]Reason, next *[]*candidate) {
	for _, c := range a.order {
		if _, ok := reasons[c]; ok || len(c.installIf) == 0 {
			continue
		}
		r := Reason{Kind: InstallIf}
		for _, d := range c.installIf {
			by := a.choice.pick(d).pkg
			if by == nil {
				continue
			}
			if _, ok := reasons[by]; !ok || slices.Contains(*next, by) {
				r.By = nil
				break
			}
			if !slices.Contains(r.By, by.pkg.Name) {
				r.By = append(r.By, by.pkg.Name)
			}
			r.Dependency = joinAtom(r.Dependency, d.atom.String())
		}
		if len(r.By) > 0 {
			reasons[c] = r
			*next = append(*next, c)
		}
	}
}

func joinAtom(list, atom string) string {
	if list == "" {
		return atom
	}
	return list + " " + atom
}
