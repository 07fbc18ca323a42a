package sign

import (
	"context"

	"github.com/cairn-dev/cairn/sign/proof"
	"github.com/cairn-dev/cairn/sign/target"
)

// ProveOptions say where an image is proved and what the proof may rest on.
type ProveOptions struct {
	proof.Options
	Target target.Options
}

// Prove proves what an image is made of; see [proof.Prove]. The image is a
// reference to an image index in a registry, or an OCI layout ("DIR/").
func Prove(ctx context.Context, image string, o ProveOptions) (*proof.Report, error) {
	ref, err := target.Parse(image)
	if err != nil {
		return nil, err
	}
	t, err := target.Open(ctx, ref, o.Target)
	if err != nil {
		return nil, err
	}
	return proof.Prove(ctx, t, o.Options)
}
