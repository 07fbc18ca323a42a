package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages/lock"
)

func newShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show a configuration, a lock or an image",
		Long: `Show what a configuration means, what a lock holds, or what is in an image: in a
registry, in an OCI layout or in an archive.`,
	}
	cmd.AddCommand(newShowConfig(a), newShowPackages(a), newShowFiles(a), newShowLayers(a))
	return cmd
}

// shown is what show looks at.
type shown struct {
	config string // a configuration's path
	lock   *lock.Lock
	images []image.OpenedImage // nil: no image
	close  func()
}

// open tells a configuration, a lock and an image apart: a directory or an
// archive is an image, .json a lock, a name with a registry or a tag an image
// there, anything else a configuration.
func (r *registryFlags) open(ctx context.Context, a *app, arg string) (s shown, err error) {
	path := a.at(arg)
	fi, err := os.Stat(path)
	local := strings.HasPrefix(arg, "oci:") || strings.Contains(arg, "-archive:") || err == nil && fi.IsDir() ||
		strings.HasSuffix(strings.ToLower(arg), ".tar") || strings.HasSuffix(arg, "/")
	switch {
	case local && !strings.Contains(arg, "@sha256:"):
		return openLocal(a, arg)
	case strings.HasSuffix(arg, ".json"):
		s.lock, err = lock.ReadFile(path)
		return s, err
	case err == nil || !isImageName(arg):
		return shown{config: arg}, nil
	}
	img, err := subject.Open(ctx, arg, r.subject(a))
	if err != nil {
		return s, err
	}
	s.close = img.Close
	s.images = []image.OpenedImage{}
	for i := range img.Images {
		s.images = append(s.images, image.OpenedImage{Image: img.Images[i].Image, Platform: img.Images[i].Platform, Digest: img.Images[i].Digest})
	}
	return s, nil
}

// isImageName tells a name in a registry from a file that is not there.
func isImageName(s string) bool {
	host, _, path := strings.Cut(s, "/")
	return strings.Contains(s, ":") || path && (strings.Contains(host, ".") && strings.Trim(host, ".") != "" || host == "localhost")
}

// openLocal opens every image of a layout or an archive.
func openLocal(a *app, arg string) (s shown, err error) {
	o, err := image.OpenIn(a.workdir, arg)
	if err != nil {
		return s, err
	}
	s.close = func() { _ = o.Close() } // was only read
	s.images, err = o.Images()
	return s, err
}

// showCommand makes one of show's commands.
func showCommand(a *app, what, short string, run func(ctx context.Context, in *inputFlags, s shown, arg string) error) *cobra.Command {
	var in inputFlags
	var reg registryFlags
	cmd := &cobra.Command{
		Use:     what + " CONFIG|LOCK|IMAGE",
		Short:   short,
		Example: "  cairn show " + what + " image.yaml",
		Args:    args(1, 1, "CONFIG, LOCK or IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := reg.open(cmd.Context(), a, args[0])
			if err != nil {
				return err
			}
			if s.close != nil {
				defer s.close()
			}
			return run(cmd.Context(), &in, s, args[0])
		},
	}
	in.register(cmd)
	reg.register(cmd)
	return cmd
}

func newShowConfig(a *app) *cobra.Command {
	return showCommand(a, "config", "Show the merged configuration, what a lock was made for, or an image's own configuration",
		func(_ context.Context, in *inputFlags, s shown, arg string) error {
			switch {
			case s.images != nil:
				return showImageConfig(a, s.images)
			case s.lock != nil && s.lock.Cairn != nil:
				return render(a.std.out, format(a.format), s.lock.Cairn.Request, nil, func(w io.Writer) error {
					return printRequest(w, s.lock.Cairn.Request)
				})
			case s.lock != nil:
				return errors.New("lock: written by apko, which does not record what was asked")
			}
			cfg, err := in.load(a, arg)
			if err != nil {
				return err
			}
			return showConfig(a, cfg)
		})
}

func showConfig(a *app, cfg *config.Config) error {
	if format(a.format) == formatJSON {
		b, err := cfg.JSON()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.std.out, "%s\n", strings.TrimRight(string(b), "\n"))
		return err
	}
	return render(a.std.out, format(a.format), cfg, nil, func(w io.Writer) error {
		b, err := cfg.YAML()
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
}

func printRequest(w io.Writer, r lock.Request) error {
	for _, part := range []struct {
		name string
		list []string
	}{{"packages", r.Packages}, {"repositories", r.Repositories}, {"keyring", r.Keyring}, {"archs", r.Architectures}} {
		fmt.Fprintf(w, "%s:\n", part.name)
		for _, s := range part.list {
			fmt.Fprintf(w, "  %s\n", s)
		}
	}
	if _, err := fmt.Fprintf(w, "layering: %s\n", r.Layering); err != nil || len(r.Base) == 0 {
		return err
	}
	fmt.Fprintln(w, "base image:")
	for i := range r.Base {
		if _, err := fmt.Fprintf(w, "  %s %s\n", r.Base[i].Architecture, r.Base[i].Image); err != nil {
			return err
		}
	}
	return nil
}

// packageRow is a package in the output of show packages.
type packageRow struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	Origin  string `json:"origin,omitempty"`
	License string `json:"license,omitempty"`
	Size    int64  `json:"size,omitempty"` // of the package file, bytes
	Source  string `json:"source,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Slices are the parts that the image has, of a package that it does not have
	// whole. An image's own database does not tell.
	Slices []string `json:"slices,omitempty"`
}

func newShowPackages(a *app) *cobra.Command {
	return showCommand(a, "packages", "Show the packages",
		func(ctx context.Context, in *inputFlags, s shown, arg string) error {
			rows, err := packageRows(ctx, in, a, s, arg)
			if err != nil {
				return err
			}
			return render(a.std.out, format(a.format), rows, elements(rows), func(w io.Writer) error {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "NAME\tVERSION\tARCH\tREASON")
				for _, r := range rows {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Name, r.Version, r.Arch, withSlices(r.Reason, r.Slices))
				}
				return t.Flush()
			})
		})
}

func packageRows(ctx context.Context, in *inputFlags, a *app, s shown, arg string) ([]packageRow, error) {
	if s.images != nil {
		return imagePackages(ctx, s.images)
	}
	l := s.lock
	if l == nil {
		var err error
		if l, err = in.lockOf(ctx, a, arg); err != nil {
			return nil, err
		}
	}
	var all []lock.Package
	for _, arch := range l.Architectures() {
		all = append(all, basePackages(l, arch)...)
	}
	rows := []packageRow{}
	for _, p := range append(all, l.Contents.Packages...) {
		r := packageRow{Name: p.Name, Version: p.Version, Arch: p.Architecture, Source: p.URL, Slices: l.SlicesOf(p.Name)}
		if p.Cairn != nil {
			r.Origin, r.Size, r.Reason = p.Cairn.Origin, p.Cairn.Size, reasonText(p.Cairn.Reason)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// withSlices says beside why a package is there that only a part of it is.
func withSlices(reason string, slices []string) string {
	if len(slices) == 0 {
		return reason
	}
	return reason + " (only " + strings.Join(slices, ", ") + ")"
}

// plans plans a configuration, or the one beside a lock.
func (in *inputFlags) plans(ctx context.Context, a *app, s shown, arg string) ([]assemble.Planned, error) {
	path := arg
	if s.lock != nil {
		if path = configOf(a, arg); path == "" {
			return nil, fmt.Errorf("%s: its configuration is not beside it\nhint: give the configuration and --lockfile=%s", arg, arg)
		}
		in.lockfile = arg
	}
	cfg, err := in.load(a, path)
	if err != nil {
		return nil, err
	}
	l, err := in.readLock(a, path)
	if err != nil {
		return nil, err
	}
	p := newProgress(a)
	defer p.stop()
	ws, err := in.open(a, p.event)
	if err != nil {
		return nil, err
	}
	defer ws.Close()
	return assemble.Plan(ctx, ws, cfg, assemble.Options{Lock: l, Unsafe: in.off})
}

// configOf is the configuration that a lock stands beside, empty for none.
func configOf(a *app, lockPath string) string {
	base := strings.TrimSuffix(lockPath, ".lock.json")
	for _, name := range []string{base + ".yaml", base + ".yml", base} {
		if base != lockPath && exists(a.at(name)) {
			return name
		}
	}
	return ""
}

// fileRow is a path in the output of show files.
type fileRow struct {
	Path   string `json:"path"`
	Arch   string `json:"arch"`
	Type   string `json:"type"`
	Mode   string `json:"mode"`
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Link   string `json:"link,omitempty"`
	Owner  string `json:"owner,omitempty"`
}

func newShowFiles(a *app) *cobra.Command {
	return showCommand(a, "files", "Show every path with its owner",
		func(ctx context.Context, in *inputFlags, s shown, arg string) error {
			var rows []fileRow
			var err error
			if s.images != nil {
				rows, err = imageFiles(ctx, s.images)
			} else {
				rows, err = plannedFiles(ctx, in, a, s, arg)
			}
			if err != nil {
				return err
			}
			return render(a.std.out, format(a.format), rows, elements(rows), func(w io.Writer) error {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				for _, r := range rows {
					name := "/" + r.Path
					if r.Link != "" {
						name += " -> " + r.Link
					}
					fmt.Fprintf(t, "%s\t%s %s\t%d:%d\t%d\t%s\t%s\n", r.Arch, r.Type, r.Mode, r.UID, r.GID, r.Size, name, r.Owner)
				}
				return t.Flush()
			})
		})
}

func plannedFiles(ctx context.Context, in *inputFlags, a *app, s shown, arg string) ([]fileRow, error) {
	plans, err := in.plans(ctx, a, s, arg)
	if err != nil {
		return nil, err
	}
	rows := []fileRow{}
	for _, p := range plans {
		for i := range p.Tree.Entries {
			e := &p.Tree.Entries[i]
			r := fileRow{Path: e.Path, Arch: p.Arch.APK, Type: string(e.Type), Mode: fmt.Sprintf("%04o", e.Mode),
				UID: e.UID, GID: e.GID, Size: e.Size, Link: e.Link, Owner: string(e.Owner.Kind) + " " + e.Owner.Name}
			if !e.SHA256.IsZero() {
				r.SHA256 = e.SHA256.Hex()
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// layerRow is a layer in the output of show layers.
type layerRow struct {
	Arch     string   `json:"arch"`
	Kind     string   `json:"kind,omitempty"`
	Digest   string   `json:"digest,omitempty"`
	Size     int64    `json:"size"`
	Entries  int      `json:"entries,omitempty"`
	Packages []string `json:"packages,omitempty"`
	Comment  string   `json:"comment,omitempty"`
	Why      []string `json:"why,omitempty"`
}

func newShowLayers(a *app) *cobra.Command {
	return showCommand(a, "layers", "Show the layers and the packages in them",
		func(ctx context.Context, in *inputFlags, s shown, arg string) error {
			var rows []layerRow
			var err error
			if s.images != nil {
				rows, err = imageLayers(s.images)
			} else {
				rows, err = plannedLayers(ctx, in, a, s, arg)
			}
			if err != nil {
				return err
			}
			return render(a.std.out, format(a.format), rows, elements(rows), func(w io.Writer) error {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "ARCH\tKIND\tDIGEST\tSIZE\tCONTENT")
				for _, r := range rows {
					content := strings.Join(r.Packages, " ")
					if content == "" {
						content = r.Comment
					}
					if len(r.Why) > 0 {
						content += " (" + strings.Join(r.Why, "; ") + ")"
					}
					fmt.Fprintf(t, "%s\t%s\t%.19s\t%s\t%s\n", r.Arch, r.Kind, r.Digest, bytesText(r.Size), content)
				}
				return t.Flush()
			})
		})
}

func plannedLayers(ctx context.Context, in *inputFlags, a *app, s shown, arg string) ([]layerRow, error) {
	plans, err := in.plans(ctx, a, s, arg)
	if err != nil {
		return nil, err
	}
	rows := []layerRow{}
	for _, p := range plans {
		d, err := p.Layers.Describe()
		if err != nil {
			return nil, err
		}
		for _, l := range d.Layers {
			r := layerRow{Arch: p.Arch.APK, Kind: string(l.Kind), Size: l.Size, Entries: l.Entries, Packages: l.Packages}
			if l.Kind == layer.Base {
				r.Comment = "base image"
			}
			if !l.Digest.IsZero() {
				r.Digest = l.Digest.String()
			}
			for _, why := range l.Reasons {
				r.Why = append(r.Why, why.Package+": "+why.Why)
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}
