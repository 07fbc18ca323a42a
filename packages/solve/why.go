package solve

import "slices"

// Chain is how a request leads to a package.
type Chain struct {
	// Links begins at the request and ends with the package.
	Links []Link
	// Others is how many packages besides the last but one link depend on the
	// package directly.
	Others int
}

// Link is one package of a chain.
type Link struct {
	Package string // as name-version
	Reason  Reason // why it is there
}

// Why returns a shortest chain of reasons for the package of that name, or, when
// there is none, for each package that provides the name; nil when nothing in
// the solution does. It needs no more of s than its choices.
func (s *Solution) Why(name string) []Chain {
	var out []Chain
	for i := range s.Choices {
		if s.Choices[i].Package.Name == name {
			return []Chain{s.chain(&s.Choices[i])}
		}
	}
	for i := range s.Choices {
		for _, p := range s.Choices[i].Package.Provides {
			if p.Name == name {
				out = append(out, s.chain(&s.Choices[i]))
				break
			}
		}
	}
	return out
}

func (s *Solution) chain(of *Choice) Chain {
	c := Chain{Others: s.dependants(of)}
	seen := map[*Choice]bool{}
	for at := of; at != nil && !seen[at]; at = s.choice(at.Reason.By) {
		seen[at] = true
		c.Links = append(c.Links, Link{at.Package.ID(), at.Reason})
	}
	slices.Reverse(c.Links)
	return c
}

// choice returns the choice of the first name.
func (s *Solution) choice(names []string) *Choice {
	for i := range s.Choices {
		if len(names) > 0 && s.Choices[i].Package.Name == names[0] {
			return &s.Choices[i]
		}
	}
	return nil
}

// dependants counts the packages with a dependency that of satisfies, without
// the one that is its reason.
func (s *Solution) dependants(of *Choice) int {
	n := 0
	for i := range s.Choices {
		c := &s.Choices[i]
		if c == of || slices.Contains(of.Reason.By, c.Package.Name) {
			continue
		}
		for _, d := range c.Package.Depends {
			if !d.Conflict && satisfies(of, d.Name, d.Matches) {
				n++
				break
			}
		}
	}
	return n
}

func satisfies(c *Choice, name string, matches func(version string) bool) bool {
	if c.Package.Name == name && matches(c.Package.Version) {
		return true
	}
	for _, p := range c.Package.Provides {
		if p.Name == name && matches(p.Version) {
			return true
		}
	}
	return false
}
