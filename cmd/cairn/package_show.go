package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lint"
	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/tree"
)

// shownPackage is the JSON form of package show.
type shownPackage struct {
	Name        string      `json:"name"`
	Version     string      `json:"version"`
	Arch        string      `json:"arch"`
	Description string      `json:"description,omitempty"`
	URL         string      `json:"url,omitempty"`
	License     string      `json:"license,omitempty"`
	Origin      string      `json:"origin,omitempty"`
	Maintainer  string      `json:"maintainer,omitempty"`
	Commit      string      `json:"commit,omitempty"`
	BuildTime   int64       `json:"buildTime,omitempty"`
	Size        int64       `json:"size"`
	Installed   int64       `json:"installedSize"`
	Checksum    string      `json:"checksum"`
	DataHash    string      `json:"dataHash"`
	DiffID      string      `json:"diffID"`
	Layer       string      `json:"layer"` // "verbatim", or why not
	Depends     []string    `json:"depends"`
	Provides    []string    `json:"provides"`
	Replaces    []string    `json:"replaces"`
	InstallIf   []string    `json:"installIf"`
	Triggers    []string    `json:"triggers"`
	Scripts     []string    `json:"scripts"`
	Signatures  []string    `json:"signatures"` // ALGORITHM KEY
	Verdict     string      `json:"verdict"`    // verified, unknown key, unsigned, not checked
	SBOM        []string    `json:"sbom"`       // paths
	Files       []shownFile `json:"files"`
}

type shownFile struct {
	Path   string `json:"path"`
	Type   string `json:"type"`
	Mode   string `json:"mode"`
	Owner  string `json:"owner"`
	Size   int64  `json:"size,omitempty"`
	Link   string `json:"link,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

func newPackageShow(a *app) *cobra.Command {
	var keys packageKeys
	var files bool
	cmd := &cobra.Command{
		Use:     "show APK",
		Short:   "Show what is in a package",
		Long:    `Show a package file: what it says of itself, what it needs and provides, who signed it, its SBOM and its files.`,
		Example: "  cairn package show hello-1.0-r0.apk --files",
		Args:    args(1, 1, "a package file"),
		RunE: func(cmd *cobra.Command, list []string) (err error) {
			ring, err := keys.keyring(a)
			if err != nil {
				return err
			}
			p, err := tree.OpenPackage(cmd.Context(), a.at(list[0]), tree.PackageOptions{Key: lookup(ring), NoDataHash: true})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.Close()) }()
			s, err := showPackage(p, ring != nil)
			if err != nil {
				return err
			}
			return render(a.std.out, format(a.format), s, nil, func(w io.Writer) error { return s.table(w, files) })
		},
	}
	keys.register(cmd)
	cmd.Flags().BoolVar(&files, "files", false, "list the files too (JSON always has them)")
	return cmd
}

func showPackage(p *tree.Package, keyed bool) (*shownPackage, error) {
	r := p.Receipt
	i := r.Package
	texts := func(list []apk.Dependency) []string {
		out := []string{}
		for _, d := range list {
			out = append(out, d.String())
		}
		return out
	}
	s := &shownPackage{Name: i.Name, Version: i.Version, Arch: i.Arch, Description: i.Description, URL: i.URL, License: i.License,
		Origin: i.Origin, Maintainer: i.Maintainer, Commit: i.Commit, BuildTime: i.BuildTime, Size: r.FileSize, Installed: i.InstalledSize,
		Checksum: i.Checksum.String(), DataHash: r.DataHash.String(), DiffID: r.DiffID.String(), Layer: "verbatim",
		Depends: texts(i.Depends), Provides: texts(i.Provides), Replaces: texts(i.Replaces), InstallIf: texts(i.InstallIf),
		Triggers: append([]string{}, i.Triggers...), Scripts: []string{}, Signatures: []string{}, SBOM: []string{}, Files: []shownFile{}}
	if r.Verbatim != "" {
		s.Layer = r.Verbatim
	}
	for _, name := range pack.Scripts {
		if _, ok := r.Scripts["."+name]; ok {
			s.Scripts = append(s.Scripts, name)
		}
	}
	for _, e := range p.Entries() {
		s.Files = append(s.Files, showFile(&e))
		if strings.HasPrefix(e.Path, "var/lib/db/sbom/") && e.Type == apk.TypeFile {
			s.SBOM = append(s.SBOM, e.Path)
		}
	}
	signatures, err := apk.ReadSignatures(r.Signature)
	for _, sig := range signatures {
		s.Signatures = append(s.Signatures, sig.Algorithm+" "+sig.KeyName)
	}
	switch {
	case len(signatures) == 0:
		s.Verdict = "unsigned"
	case !keyed:
		s.Verdict = "not checked"
	case r.SignedBy != "":
		s.Verdict = "verified"
	default:
		s.Verdict = "unknown key"
	}
	return s, err
}

func showFile(e *apk.Entry) shownFile {
	f := shownFile{Path: e.Path, Type: string(rune(e.Type)), Mode: fmt.Sprintf("%04o", e.Mode), Owner: fmt.Sprintf("%d:%d", e.UID, e.GID), Size: e.Size, Link: e.Link}
	if e.Type == apk.TypeFile {
		f.SHA256 = e.SHA256.Hex()
	}
	return f
}

func (s *shownPackage) table(w io.Writer, files bool) error {
	var b strings.Builder
	line := func(key string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(&b, "%-13s %s\n", key, v)
			}
		}
	}
	line("package", s.Name+"-"+s.Version)
	line("arch", s.Arch)
	line("description", s.Description)
	line("url", s.URL)
	line("license", s.License)
	line("origin", s.Origin)
	line("maintainer", s.Maintainer)
	line("commit", s.Commit)
	line("size", bytesText(s.Size)+", installed "+bytesText(s.Installed))
	line("checksum", s.Checksum)
	line("data", s.DataHash)
	line("diff ID", s.DiffID)
	line("as a layer", s.Layer)
	line("signature", strings.Join(append([]string{s.Verdict}, s.Signatures...), ", "))
	line("depends", s.Depends...)
	line("provides", s.Provides...)
	line("replaces", s.Replaces...)
	line("install if", s.InstallIf...)
	line("trigger", s.Triggers...)
	line("script", s.Scripts...)
	line("sbom", s.SBOM...)
	for _, f := range s.Files {
		if !files {
			break
		}
		link := ""
		if f.Link != "" {
			link = " -> " + f.Link
		}
		fmt.Fprintf(&b, "%s %s %-9s %10d %s%s\n", f.Type, f.Mode, f.Owner, f.Size, f.Path, link)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// errLint is returned when a required check failed.
var errLint = errors.New("required checks failed")

func newPackageLint(a *app) *cobra.Command {
	var o lint.Options
	var disabled []string
	var list bool
	cmd := &cobra.Command{
		Use:   "lint APK...",
		Short: "Look for what is probably wrong in packages",
		Long: `Look into package files for what is probably wrong: melange's checks, under
their names. --list explains them. Required checks that fail give exit code 1.

A check is silenced in a package's definition with checks.disabled: a required
one becomes a warning, a warning goes away. --disable does the same here.`,
		Example: "  cairn package lint hello-1.0-r0.apk",
		Args:    args(0, -1, "package files"),
		RunE: func(cmd *cobra.Command, files []string) error {
			if list {
				all := lint.Linters()
				return render(a.std.out, format(a.format), all, elements(all), func(w io.Writer) error {
					for _, l := range all {
						if _, err := fmt.Fprintf(w, "%-16s %-8s %s: %s; %s\n", l.Name, l.Severity, l.Finds, l.Reason, l.Fix); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if len(files) == 0 {
				return usageError{errors.New("no package file given")}
			}
			for _, names := range [][]string{o.Require, o.Warn, o.Off, o.Only, disabled} {
				if err := lint.CheckNames(names); err != nil {
					return usageError{err}
				}
			}
			findings := []lint.Finding{}
			for _, name := range files {
				p, err := tree.OpenPackage(cmd.Context(), a.at(name), tree.PackageOptions{NoDataHash: true})
				if err != nil {
					return err
				}
				found, err := lint.Run(cmd.Context(), lint.Input{Name: p.Receipt.Package.Name, Arch: p.Receipt.Package.Arch, Tree: p.Tree, Disabled: disabled}, o)
				if err := errors.Join(err, p.Close()); err != nil {
					return err
				}
				findings = append(findings, found...)
			}
			err := render(a.std.out, format(a.format), findings, elements(findings), func(w io.Writer) error {
				for _, f := range findings {
					if _, err := fmt.Fprintf(w, "%s: %s\n  %s\n", f.Severity, f, f.Fix); err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil && lint.Failed(findings) {
				err = errLint
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&disabled, "disable", nil, "`checks` to take back by one step, as checks.disabled does")
	f.StringSliceVar(&o.Require, "require", nil, "`checks` that must not fail")
	f.StringSliceVar(&o.Warn, "warn", nil, "`checks` that warn")
	f.StringSliceVar(&o.Off, "off", nil, "`checks` to leave out")
	f.StringSliceVar(&o.Only, "only", nil, "run these `checks` and no others")
	f.BoolVar(&list, "list", false, "list the checks with their reasons")
	return cmd
}
