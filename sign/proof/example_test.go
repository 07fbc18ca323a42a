package proof_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/proof"
)

// Prove an image by the keys that one trusts, and say where each layer is from.
func ExampleProve() {
	prove := func(ctx context.Context, image string, keys []repository.Key) error {
		report, err := sign.Prove(ctx, image, sign.ProveOptions{Options: proof.Options{Keys: keys}})
		if err != nil {
			return err
		}
		for _, img := range report.Images {
			for _, l := range img.Layers {
				fmt.Println(img.Arch, l.Digest, l.Proof, l.Problem)
			}
		}
		return report.Err()
	}
	err := prove(context.Background(), "NOT A REFERENCE", nil)
	fmt.Println(errors.Is(err, proof.ErrUnproved), err != nil)
	// Output: false true
}
