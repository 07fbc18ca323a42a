package assemble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
)

// AnnotationTwinOf is on a twin, with the digest of the image index that it is the twin
// of; [image.AnnotationBaseDigest] is on each of its manifests, with that of the
// manifest below it.
const AnnotationTwinOf = "dev.cairn.twin.of"

// TwinOptions say what a twin is made of, and where it is written.
type TwinOptions struct {
	// Options are those of the twin. Its lock, creation time, author and switches are
	// those of the image, too, which has to be the one that is in use.
	Options
	// Packages are what the twin has beside the packages of the image, resolved now so
	// that they fit these.
	Packages []string
}

// ErrNoPackages: nothing was named that a twin should have.
var ErrNoPackages = errors.New("no packages for the twin")

// Twin builds an image for debugging another one: that image, its layers with their
// digests first, and further packages in layers above. of is the result of the other
// image, built with the same options to know its digest.
//
// What the image says of running it is the twin's too: user, environment, entrypoint and
// command. A package that would need another version of one in the image is an error.
func Twin(ctx context.Context, ws *packages.Workspace, cfg *config.Config, o TwinOptions) (of, twin *Result, err error) {
	if len(o.Packages) == 0 {
		return nil, nil, ErrNoPackages
	}
	if err := o.Check(); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "cairn-twin-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	below := o.Options
	below.Outputs, below.Tags, below.SBOMDir, below.Kit = []string{filepath.Join(dir, "image") + string(filepath.Separator)}, nil, "", false
	if of, err = Build(ctx, ws, cfg, below); err != nil {
		return nil, nil, fmt.Errorf("the image that the twin is of: %w", err)
	}
	if err := of.listPackages(filepath.Join(dir, "packages")); err != nil {
		return nil, nil, err
	}
	above, err := cfg.OnImage(filepath.Join(dir, "image"), filepath.Join(dir, "packages"), o.Packages, map[string]string{AnnotationTwinOf: of.Digest.String()})
	if err != nil {
		return nil, nil, err
	}
	own := o.Options
	own.Lock, own.Bases = nil, nil
	if twin, err = Build(ctx, ws, above, own); err != nil {
		return nil, nil, fmt.Errorf("twin: %w", err)
	}
	return of, twin, nil
}

// listPackages writes what is installed in the images, as base images have it beside
// them: ARCH/APKINDEX.
func (r *Result) listPackages(dir string) error {
	for _, j := range r.jobs {
		var text []byte
		seen := map[string]bool{}
		for _, receipt := range j.receipts {
			text = apk.AppendIndexEntry(text, &receipt.Package)
			seen[receipt.Package.Name] = true
		}
		if j.base != nil {
			for i := range j.base.Installed {
				if p := &j.base.Installed[i].Package; !seen[p.Name] {
					text = apk.AppendIndexEntry(text, p)
				}
			}
		}
		name := filepath.Join(dir, j.arch.APK, "APKINDEX")
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
