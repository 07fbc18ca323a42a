package assemble

import (
	"context"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages"
)

// Planned is the plan of one architecture: what would be in the image, and how
// it would travel.
type Planned struct {
	Arch   config.Arch
	Tree   *rootfs.Tree
	Layers *layer.Plan
	// Base is the image that all that is on top of; nil for none.
	Base *baseimage.Base
}

// Plan does what [Build] does before it writes anything. Packages are fetched.
func Plan(ctx context.Context, ws *packages.Workspace, cfg *config.Config, o Options) ([]Planned, error) {
	b := &builder{ws: ws, source: fromWorkspace{ws}, cfg: cfg, options: o, result: &Result{}}
	for _, stage := range []func(context.Context) error{b.resolve, b.fetch, b.plan} {
		if err := stage(ctx); err != nil {
			return nil, err
		}
	}
	var out []Planned
	for _, j := range b.jobs {
		out = append(out, Planned{j.arch, j.tree, j.layers, j.base})
	}
	return out, nil
}
