package main

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/advisory"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/diff"
	"github.com/cairn-dev/cairn/assemble/quickview"
	"github.com/cairn-dev/cairn/assemble/report"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/vex"
	"github.com/cairn-dev/cairn/packages"
)

// looker looks packages up for commands that show advisories beside other things.
type looker struct {
	feeds   advisory.Feeds
	options advisory.Options
}

// looker opens the feeds; nil when none was given.
func (f *feedFlags) looker(ctx context.Context, a *app, s *storeFlags) (_ *looker, err error) {
	if len(f.feeds) == 0 {
		return nil, nil
	}
	l := &looker{}
	if l.options.AsOf, err = f.parseAsOf(); err != nil {
		return nil, err
	}
	if l.options.VEX, err = readVEX(a, f.vex); err != nil {
		return nil, err
	}
	ws, err := s.open(a, func(packages.Event) {})
	if err != nil {
		return nil, err
	}
	defer ws.Close()
	l.feeds, err = f.open(ctx, a, ws.Store(), s.offline)
	return l, err
}

// image looks at one image of a subject.
func (l *looker) image(ctx context.Context, s *subject.Subject, img *subject.Image) (*quickview.View, error) {
	inv, err := quickview.OfImage(ctx, s.Name, img, quickview.Options{})
	if err != nil {
		return nil, err
	}
	o := l.options
	o.Image = vex.Image{Digests: []v1.Hash{s.Descriptor.Digest, img.Digest}}
	if t := s.Target(); t != nil {
		o.Image.Repository = t.Repository()
	}
	return quickview.New(inv, l.feeds, o), nil
}

// addAdvisories adds what feeds say to a report.
func (r *reportFlags) addAdvisories(ctx context.Context, a *app, s *subject.Subject, out *report.Report) error {
	l, err := r.feeds.looker(ctx, a, &r.storeFlags)
	if err != nil || l == nil {
		return err
	}
	out.Advisories = report.Advisories{Looked: true}
	for i := range out.Platforms {
		for n := range s.Images {
			if s.Images[n].PlatformText() != out.Platforms[i].Platform {
				continue
			}
			v, err := l.image(ctx, s, &s.Images[n])
			if err != nil {
				return err
			}
			p := report.PlatformAdvisories{Platform: out.Platforms[i].Platform, Status: string(v.Status), Coverage: v.CoverageLines(),
				Findings: []report.Advisory{}, Suppressed: []report.Advisory{}}
			for k := range v.Findings {
				p.Findings = append(p.Findings, reported(&v.Findings[k]))
			}
			for k := range v.Suppressed {
				p.Suppressed = append(p.Suppressed, reported(&v.Suppressed[k]))
			}
			out.Advisories.Platforms = append(out.Advisories.Platforms, p)
		}
	}
	return nil
}

func reported(f *advisory.Finding) report.Advisory {
	x := report.Advisory{ID: f.ID, Severity: f.Severity.String(), Package: f.Package.Name + "-" + f.Package.Version, Fixed: f.Fixed, Summary: f.Summary}
	if f.Excuse != nil {
		x.Why = f.Excuse.String()
	}
	return x
}

// addAdvisories adds what feeds say of both sides.
func (d *diffFlags) addAdvisories(ctx context.Context, a *app, left, right *subject.Subject, r *diff.Result) error {
	l, err := d.feeds.looker(ctx, a, &d.storeFlags)
	if err != nil || l == nil {
		return err
	}
	list := []diff.Advisories{}
	for i := range r.Platforms {
		name := r.Platforms[i].Platform
		x := diff.Advisories{Platform: name, Gone: []diff.Advisory{}, Came: []diff.Advisory{}}
		var sides [2]*quickview.View
		for n, s := range []*subject.Subject{left, right} {
			if sides[n], err = l.platform(ctx, s, name); err != nil {
				return err
			}
		}
		have := map[string]int{} // 1: A, 2: B
		for n, v := range sides {
			for k := range v.Findings {
				have[v.Findings[k].ID+" "+v.Findings[k].Package.Name] |= 1 << n
			}
		}
		for n, v := range sides {
			for k := range v.Findings {
				f := &v.Findings[k]
				y := diff.Advisory{ID: f.ID, Severity: f.Severity.String(), Package: f.Package.Name + "-" + f.Package.Version, Fixed: f.Fixed}
				switch at := have[f.ID+" "+f.Package.Name]; {
				case at == 1:
					x.Gone = append(x.Gone, y)
				case at == 2:
					x.Came = append(x.Came, y)
				case n == 0:
					x.Both++
				}
			}
		}
		x.Coverage = sides[1].CoverageLines()
		list = append(list, x)
	}
	r.AddAdvisories(list)
	return nil
}

// platform looks at a subject's packages for a platform; there are none of a platform
// that it does not have.
func (l *looker) platform(ctx context.Context, s *subject.Subject, platform string) (*quickview.View, error) {
	if s.Lock != nil {
		for _, arch := range s.Lock.Architectures() {
			if subject.PlatformText(*config.ParseArchitecture(arch).ToOCIPlatform()) == platform {
				return quickview.New(quickview.OfLock(s.Name, s.Lock, arch, quickview.Options{}), l.feeds, l.options), nil
			}
		}
	}
	for i := range s.Images {
		if s.Images[i].PlatformText() == platform {
			return l.image(ctx, s, &s.Images[i])
		}
	}
	return quickview.New(&quickview.Inventory{Name: s.Name, Unowned: -1}, l.feeds, l.options), nil
}
