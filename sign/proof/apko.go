package proof

import (
	"context"
	"fmt"
	"io"

	"github.com/cairn-dev/cairn/assemble/layer"
)

// whyApko says why apko's layer is not proved from receipts.
const whyApko = "apko's layer follows from the packages themselves: not provable without --full"

// apkoLayer proves apko's single layer: with Full it is written again from the
// packages, and compared. Without, all else is compared as if it were right.
func (p *prover) apkoLayer(ctx context.Context, l *LayerReport, at *position, want *layer.Layer) error {
	want.Digest, want.Size = at.desc.Digest, at.desc.Size
	if ids := at.child.Config.RootFS.DiffIDs; at.n < len(ids) {
		want.DiffID = ids[at.n]
	}
	if !p.options.Full || p.options.Fetch == nil || p.options.Store == nil {
		l.Unproved = whyApko
		return nil
	}
	if len(p.report.Problems) == 0 {
		if err := p.readOthers(ctx, at.i); err != nil {
			return err
		}
	}
	if len(p.report.Problems) > 0 {
		l.Unproved = "not compared: the image has failed already"
		return nil
	}
	written, err := at.planned.Layers.Write(ctx, p.options.Store)
	if err != nil {
		return fmt.Errorf("%s: %w", at.planned.Arch, err)
	}
	again := &written[0]
	want.DiffID = again.DiffID
	if again.Digest == at.desc.Digest && again.Size == at.desc.Size {
		l.Proof = fmt.Sprintf("written again from %d packages, each vouched for, as apko does: equal, byte for byte", len(want.Packages))
		return nil
	}
	// Another version may have compressed the same bytes differently.
	tar, err := p.inflated(ctx, l, *at.desc, func(tar io.Reader) error {
		_, err := io.Copy(io.Discard, tar)
		return err
	})
	switch {
	case err != nil || l.Problem != "":
	case tar.DiffID == again.DiffID:
		l.Proof = fmt.Sprintf("written again from %d packages, each vouched for, as apko does: equal when inflated", len(want.Packages))
	default:
		l.Problem = fmt.Sprintf("inflates to %s of %d bytes, written again from the packages to %s of %d bytes", tar.DiffID, tar.Size, again.DiffID, again.Inflated)
	}
	return err
}
