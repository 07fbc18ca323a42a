package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/subject"
)

// imageConfigRow is an image's own configuration in the output of show config.
type imageConfigRow struct {
	Digest string        `json:"digest"`
	Names  []string      `json:"names,omitempty"`
	Config v1.ConfigFile `json:"config"`
}

func showImageConfig(a *app, images []image.OpenedImage) error {
	rows := []imageConfigRow{}
	for _, img := range images {
		c, err := img.ConfigFile()
		if err != nil {
			return err
		}
		rows = append(rows, imageConfigRow{Digest: img.Digest.String(), Names: img.Names, Config: *c})
	}
	return render(a.std.out, format(a.format), rows, elements(rows), func(w io.Writer) error {
		for _, r := range rows {
			if err := printImageConfig(w, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func printImageConfig(w io.Writer, r imageConfigRow) error {
	c := r.Config.Config
	fmt.Fprintf(w, "%s %s %s\n", r.Digest, r.Config.OS, subject.PlatformText(v1.Platform{Architecture: r.Config.Architecture, Variant: r.Config.Variant}))
	for _, line := range []struct {
		name  string
		value string
	}{
		{"names", strings.Join(r.Names, " ")},
		{"created", r.Config.Created.UTC().Format("2006-01-02T15:04:05Z")},
		{"entrypoint", subject.Words(c.Entrypoint)},
		{"cmd", subject.Words(c.Cmd)},
		{"user", c.User},
		{"work-dir", c.WorkingDir},
		{"stop-signal", c.StopSignal},
	} {
		if line.value != "" {
			fmt.Fprintf(w, "  %s: %s\n", line.name, line.value)
		}
	}
	for _, e := range c.Env {
		fmt.Fprintf(w, "  env: %s\n", e)
	}
	_, err := fmt.Fprintf(w, "  layers: %d\n", len(r.Config.RootFS.DiffIDs))
	return err
}

// imagePackages reads the installed database of every image.
func imagePackages(ctx context.Context, images []image.OpenedImage) ([]packageRow, error) {
	rows := []packageRow{}
	for _, img := range images {
		installed, err := image.Installed(ctx, img.Image)
		if err != nil {
			return nil, fmt.Errorf("image %s: installed database: %w", img.Digest, err)
		}
		for i := range installed {
			p := &installed[i].Package
			rows = append(rows, packageRow{Name: p.Name, Version: p.Version, Arch: subject.PlatformText(img.Platform),
				Origin: p.Origin, License: p.License, Size: p.Size})
		}
	}
	return rows, nil
}

// imageFiles flattens every image; owners are those of the installed database.
func imageFiles(ctx context.Context, images []image.OpenedImage) ([]fileRow, error) {
	rows := []fileRow{}
	for _, img := range images {
		owners, err := installedOwners(ctx, img)
		if err != nil {
			return nil, err
		}
		entries, err := image.Files(ctx, img.Image)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			e := &entries[i]
			r := fileRow{Path: e.Path, Arch: subject.PlatformText(img.Platform), Type: string(e.Type), Mode: fmt.Sprintf("%04o", e.Mode),
				UID: e.UID, GID: e.GID, Size: e.Size, Link: e.Link, Owner: owners[e.Path]}
			if !e.SHA256.IsZero() {
				r.SHA256 = e.SHA256.Hex()
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// installedOwners maps paths to "package NAME"; an image without a database has
// no owners.
func installedOwners(ctx context.Context, img image.OpenedImage) (map[string]string, error) {
	out := map[string]string{}
	installed, err := image.Installed(ctx, img.Image)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	for i := range installed {
		for _, d := range installed[i].Dirs {
			owner := "package " + installed[i].Name
			out[d.Path] = owner
			for _, f := range d.Files {
				out[path.Join(d.Path, f.Name)] = owner
			}
		}
	}
	return out, err
}

// imageLayers lists the layers of every image with the comment of its history.
func imageLayers(images []image.OpenedImage) ([]layerRow, error) {
	rows := []layerRow{}
	for _, img := range images {
		m, err := img.Manifest()
		if err != nil {
			return nil, err
		}
		c, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		var comments []string
		for _, h := range c.History {
			if !h.EmptyLayer {
				comments = append(comments, h.Comment)
			}
		}
		for i, l := range m.Layers {
			r := layerRow{Arch: subject.PlatformText(img.Platform), Digest: l.Digest.String(), Size: l.Size}
			if len(comments) == len(m.Layers) {
				r.Comment = comments[i]
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}
