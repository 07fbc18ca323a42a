package solve

import (
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
)

// base is what a universe knows of the packages that are there already. They
// come from one repository more, behind those of the request, and are demanded
// by entries of the world that stand for nobody's wish.
type base struct {
	request  *Request // with the repository
	repo     int      // its position, -1 for none
	demands  []*apk.Dependency
	at       map[string]int // package name → position in the index
	packages map[*apk.Dependency]*apk.Package
}

func newBase(req *Request) base {
	if req.Base == nil {
		return base{request: req, repo: -1}
	}
	with := *req
	with.Repositories = append(slices.Clone(req.Repositories), Repository{Index: req.Base})
	b := base{
		request: &with, repo: len(req.Repositories),
		at: map[string]int{}, packages: map[*apk.Dependency]*apk.Package{},
	}
	for i := range req.Base.Len() {
		p := req.Base.Package(i)
		d := &apk.Dependency{Name: p.Name, Op: apk.OpEqual, Version: p.Version}
		if !p.Checksum.IsZero() { // no other package can be meant, whatever it provides
			d.Op, d.Version = apk.OpChecksum, p.Checksum.String()
		}
		b.demands = append(b.demands, d)
		b.packages[d], b.at[p.Name] = p, i
	}
	return b
}

// has reports whether c is there already.
func (b *base) has(c *candidate) bool { return b.repo >= 0 && c.repo == b.repo }

// of returns the package that an entry of the world stands for, nil when the
// entry is the request's.
func (b *base) of(d demand) *apk.Package { return b.packages[d.atom] }

// displaced returns the candidate for a package of a repository whose name the
// base has: the base's own, should it be the very same package, else one that
// may not be used. It returns nil for all other packages.
func (u *universe) displaced(repo, pos int, p *apk.Package) *candidate {
	at, held := u.held.at[p.Name]
	if !held || repo == u.held.repo {
		return nil
	}
	own := u.held.request.Base.Package(at)
	var c *candidate
	switch {
	case own.Checksum == p.Checksum && !p.Checksum.IsZero():
		c = u.candidate(u.held.repo, at)
		c.tags |= u.tagBit(u.request.Repositories[repo].Tag)
	default:
		c = u.newCandidate(repo, pos, p)
		c.tags |= u.tagBit(u.request.Repositories[repo].Tag)
		c.bar = "the base image holds " + own.ID()
		if own.Version == p.Version {
			c.bar = "the base image holds another build of " + own.ID()
		}
	}
	u.places[repo][pos] = c
	return c
}
