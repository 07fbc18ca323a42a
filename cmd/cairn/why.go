package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/packages/lock"
)

func newWhy(a *app) *cobra.Command {
	var in inputFlags
	cmd := &cobra.Command{
		Use:   "why PACKAGE CONFIG|LOCK",
		Short: "Say what brought a package into the image",
		Long: `Print the chain of reasons from the configuration's request to a package, for
each architecture whose chain differs.`,
		Example: "  cairn why zlib image.yaml",
		Args:    args(2, 2, "PACKAGE CONFIG|LOCK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := in.lockOf(cmd.Context(), a, args[1])
			if err != nil {
				return err
			}
			chains, err := why(l, args[0])
			if err != nil {
				return err
			}
			return render(a.std.out, format(a.format), chains, elements(chains), func(w io.Writer) error {
				for _, c := range chains {
					if err := printChain(w, c); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	in.register(cmd)
	return cmd
}

// chain is the way from the request to a package.
type chain struct {
	Architectures []string `json:"architectures"`
	Package       string   `json:"package"` // name-version
	// Links begin with a requested package and end with the one asked for.
	Links []link `json:"links"`
}

type link struct {
	Package string      `json:"package"`
	Reason  lock.Reason `json:"reason"`
}

var errNotInLock = errors.New("not in the image")

// why follows the recorded reasons back to the request.
func why(l *lock.Lock, name string) ([]chain, error) {
	var out []chain
	for _, arch := range l.Architectures() {
		pkgs := packagesOf(l, arch)
		if pkgs[name] == nil {
			continue
		}
		if pkgs[name].Cairn == nil {
			return nil, fmt.Errorf("lock: written by apko, which records no reasons\nhint: give the configuration instead")
		}
		c := chain{Architectures: []string{arch}, Package: name + "-" + pkgs[name].Version, Links: follow(pkgs, name)}
		same := slices.IndexFunc(out, func(o chain) bool {
			return o.Package == c.Package && slices.EqualFunc(o.Links, c.Links, sameLink)
		})
		if same >= 0 {
			out[same].Architectures = append(out[same].Architectures, arch)
			continue
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("package %q: %w", name, errNotInLock)
	}
	return out, nil
}

// packagesOf are the packages of one architecture by name, those of the base
// image included.
func packagesOf(l *lock.Lock, arch string) map[string]*lock.Package {
	pkgs := map[string]*lock.Package{}
	for _, p := range basePackages(l, arch) {
		pkgs[p.Name] = &p
	}
	for i := range l.Contents.Packages {
		if p := &l.Contents.Packages[i]; p.Architecture == arch {
			pkgs[p.Name] = p
		}
	}
	return pkgs
}

// basePackages are the packages that a lock's base image has.
func basePackages(l *lock.Lock, arch string) []lock.Package {
	base := l.Base(arch)
	if base == nil {
		return nil
	}
	var out []lock.Package
	for _, p := range base.Packages {
		name, version, _ := strings.Cut(p, "=")
		out = append(out, lock.Package{Name: name, Version: version, Architecture: arch,
			Cairn: &lock.PackageExtra{Reason: lock.Reason{Kind: "base"}}})
	}
	return out
}

func sameLink(a, b link) bool {
	return a.Package == b.Package && reasonText(a.Reason) == reasonText(b.Reason)
}

// follow walks breadth-first from the package towards the request, so that the
// chain is the shortest.
func follow(pkgs map[string]*lock.Package, name string) []link {
	next := map[string]string{name: ""} // package → the one it brought in
	queue := []string{name}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		p := pkgs[at]
		if p == nil || p.Cairn == nil {
			continue
		}
		if k := p.Cairn.Reason.Kind; k == "requested" || k == "base" {
			return links(pkgs, next, at)
		}
		for _, by := range p.Cairn.Reason.By {
			if _, seen := next[by]; !seen {
				next[by] = at
				queue = append(queue, by)
			}
		}
	}
	return links(pkgs, next, name)
}

func links(pkgs map[string]*lock.Package, next map[string]string, from string) []link {
	var out []link
	for at := from; at != ""; at = next[at] {
		p := pkgs[at]
		out = append(out, link{Package: p.Name + "-" + p.Version, Reason: p.Cairn.Reason})
	}
	return out
}

func printChain(w io.Writer, c chain) error {
	if _, err := fmt.Fprintf(w, "%s (%s)\n", c.Package, strings.Join(c.Architectures, " ")); err != nil {
		return err
	}
	for i, l := range c.Links {
		if _, err := fmt.Fprintf(w, "%s%s: %s\n", strings.Repeat("  ", i+1), l.Package, reasonText(l.Reason)); err != nil {
			return err
		}
	}
	return nil
}

// lockOf reads a lock, or resolves a configuration (by its own lock when that
// is current).
func (in *inputFlags) lockOf(ctx context.Context, a *app, path string) (*lock.Lock, error) {
	if strings.HasSuffix(path, ".json") {
		return lock.ReadFile(path)
	}
	cfg, err := in.load(a, path)
	if err != nil {
		return nil, err
	}
	l, err := in.readLock(path)
	if err != nil {
		return nil, err
	}
	if l != nil {
		if err := assemble.CheckLock(ctx, l, cfg); err != nil {
			return nil, err
		}
		return assemble.WithBase(ctx, l, cfg)
	}
	p := newProgress(a)
	defer p.stop()
	ws, err := in.open(a, p.event)
	if err != nil {
		return nil, err
	}
	defer ws.Close()
	return assemble.Lock(ctx, ws, cfg, assemble.LockOptions{Unsafe: in.off})
}
