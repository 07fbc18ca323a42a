package sign

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign/proof"
	"github.com/cairn-dev/cairn/sign/provenance"
)

// contents reads what is in images of a target.
type contents struct{ t *target.Target }

// Installed implements policy.Contents.
func (c contents) Installed(ctx context.Context, digest v1.Hash) ([]apk.InstalledPackage, error) {
	img, err := c.t.Image(ctx, digest)
	if err != nil {
		return nil, err
	}
	return image.Installed(ctx, img)
}

// prover makes composition proofs of what a target names.
type prover struct{ t *target.Target }

// maxLocks bounds the locks that a proof is tried with.
const maxLocks = 4

// Prove implements policy.Prover. It is tried with each lock that provenance
// names, and without one where none does, which pins nothing.
func (p prover) Prove(ctx context.Context, _ v1.Hash, keys []repository.Key, predicates []json.RawMessage) ([]string, error) {
	var locks []apk.SHA256
	for _, raw := range predicates {
		l, err := provenance.Lock(raw)
		if err == nil && !slices.Contains(locks, l) && len(locks) < maxLocks {
			locks = append(locks, l)
		}
	}
	named := len(locks) > 0
	if !named {
		locks = []apk.SHA256{{}}
	}
	var unproved []string
	for _, l := range locks {
		report, err := proof.Prove(ctx, p.t, proof.Options{Keys: keys, Lock: l})
		if err != nil {
			return nil, err
		}
		if report.Verdict == proof.Proved {
			return nil, nil
		}
		for _, line := range slices.Concat(report.Problems, report.Unproved, report.NotPinned) {
			line, _, _ = strings.Cut(line, "\nhint: ") // about flags of prove
			unproved = append(unproved, line)
		}
	}
	if !named {
		unproved = append(unproved, "no accepted provenance names the lock")
	}
	return unproved, nil
}
