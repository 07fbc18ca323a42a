package build

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/lint"
	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/sbom"
	"github.com/cairn-dev/cairn/packages/scan"
	"github.com/cairn-dev/cairn/packages/tree"
)

// output is one package before it is packed.
type output struct {
	name     string
	tree     *tree.Tree
	deps     *definition.Dependencies
	options  definition.PackageOption
	scripts  *definition.Scriptlets
	checks   []string
	setcap   []definition.SetCap
	describe string
	url      string
	commit   string
	tests    []string
}

// pack turns what the steps left into package files.
func (w *work) pack(ctx context.Context) (files []string, err error) {
	p := &w.d.Package
	outputs := []*output{{name: p.Name, deps: &p.Dependencies, scripts: p.Scriptlets, checks: p.Checks.Disabled, setcap: p.SetCap, describe: p.Description, url: p.URL, commit: p.Commit, tests: tests(w.d.Test)}}
	if p.Options != nil {
		outputs[0].options = *p.Options
	}
	for i := range w.d.Subpackages {
		s := &w.d.Subpackages[i]
		o := &output{name: s.Name, deps: &s.Dependencies, scripts: s.Scriptlets, checks: s.Checks.Disabled, setcap: s.SetCap,
			describe: orElse(s.Description, p.Description), url: orElse(s.URL, p.URL), commit: orElse(s.Commit, p.Commit), tests: tests(s.Test)}
		if s.Options != nil {
			o.options = *s.Options
		}
		outputs = append(outputs, o)
	}
	defer func() {
		for _, o := range outputs {
			if o.tree != nil {
				err = errors.Join(err, o.tree.Close())
			}
		}
	}()
	for _, o := range outputs {
		if o.tree, err = w.tree(ctx, o); err != nil {
			return nil, fmt.Errorf("package %s: %w", o.name, err)
		}
	}
	license, texts, err := w.licenses()
	if err != nil {
		return nil, err
	}
	document, err := yaml.Marshal(w.d)
	if err != nil {
		return nil, err
	}
	for _, o := range outputs {
		name, err := w.packOne(ctx, o, outputs, license, texts, document)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", o.name, err)
		}
		files = append(files, name)
	}
	return files, nil
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// tree reads the files of a package.
func (w *work) tree(ctx context.Context, o *output) (*tree.Tree, error) {
	options := tree.DirectoryOptions{Overlay: map[string]tree.Attributes{}}
	if w.b.o.Runner.Owners() {
		options.Owner = func(uid, gid int) (int, int) { return uid, gid }
	}
	for _, c := range o.setcap {
		rel := strings.TrimPrefix(path.Clean("/"+c.Path), "/")
		var clauses []string
		for _, names := range slices.Sorted(maps.Keys(c.Add)) {
			clauses = append(clauses, names+c.Add[names])
		}
		value, err := tree.Capabilities(strings.Join(clauses, " "))
		if err != nil {
			return nil, fmt.Errorf("setcap %s: %w: %w", c.Path, ErrDefinition, err)
		}
		options.Overlay[rel] = tree.Attributes{Xattrs: map[string][]byte{tree.CapabilityXattr: value}}
	}
	t, err := tree.Directory(w.out(o.name), options)
	if err != nil {
		return nil, err
	}
	return t, t.Hash(ctx, 0)
}

// licenses joins the definition's licences, and reads the texts of those that SPDX does
// not know. Such a file is one of the workspace: no path and no link leads out of it.
func (w *work) licenses() (string, map[string]string, error) {
	texts := map[string]string{}
	var all []string
	root, err := os.OpenRoot(w.space)
	if err != nil {
		return "", nil, err
	}
	defer root.Close()
	for _, c := range w.d.Package.Copyright {
		if c.License != "" && !slices.Contains(all, c.License) {
			all = append(all, c.License)
		}
		if c.LicensePath == "" {
			continue
		}
		f, err := root.Open(c.LicensePath)
		if err != nil {
			return "", nil, fmt.Errorf("package %s: copyright.license-path: %w: %w", w.d.Package.Name, ErrDefinition, err)
		}
		b, err := io.ReadAll(io.LimitReader(f, maxLicense+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return "", nil, fmt.Errorf("package %s: copyright.license-path: %w", w.d.Package.Name, err)
		}
		if len(b) > maxLicense {
			return "", nil, fmt.Errorf("package %s: copyright.license-path: %w: %s: more than %d bytes", w.d.Package.Name, ErrDefinition, c.LicensePath, maxLicense)
		}
		if strings.HasPrefix(c.License, "LicenseRef-") {
			texts[c.License] = string(b)
		}
	}
	return strings.Join(all, " AND "), texts, nil
}

// maxLicense bounds a licence's text, in bytes.
const maxLicense = 4 << 20

// packOne scans, checks, describes and packs one package.
func (w *work) packOne(ctx context.Context, o *output, all []*output, license string, texts map[string]string, document []byte) (string, error) {
	version := w.d.Package.FullVersion()
	in := scan.Input{Name: o.name, Version: version, Tree: o.tree, Declared: o.deps.Runtime,
		Options: scan.Options{NoProvides: o.options.NoProvides, NoDepends: o.options.NoDepends, NoCommands: o.options.NoCommands, NoVersionedShlibDeps: o.options.NoVersionedShlibDeps}}
	if w.guest != nil {
		in.Installed = w.guest.Packages
	}
	for _, r := range all {
		if r != o {
			in.Related = append(in.Related, scan.Related{Name: r.name, Tree: r.tree})
		}
	}
	found, err := scan.Scan(ctx, in)
	if err != nil {
		return "", err
	}
	for _, warning := range found.Warnings {
		fmt.Fprintf(w.task.Log, "%s: %s\n", o.name, warning)
	}
	if err := w.lint(ctx, o); err != nil {
		return "", err
	}
	depends, provides := found.Merge(o.deps.Runtime, o.deps.Provides)
	p := apk.Package{Name: o.name, Version: version, Arch: w.d.Arch, Description: o.describe, URL: o.url, License: license, Origin: w.d.Package.Name, Commit: o.commit, BuildTime: w.b.o.Epoch.Unix()}
	for _, l := range []struct {
		to    *[]apk.Dependency
		texts []string
	}{{&p.Depends, depends}, {&p.Provides, provides}, {&p.Replaces, o.deps.Replaces}} {
		for _, text := range l.texts {
			d, err := apk.ParseDependency(text)
			if err != nil {
				return "", err
			}
			*l.to = append(*l.to, d)
		}
	}
	for _, n := range []struct {
		to   *int64
		text string
	}{{&p.ProviderPriority, o.deps.ProviderPriority}, {&p.ReplacesPriority, o.deps.ReplacesPriority}} {
		if n.text == "" {
			continue
		}
		if *n.to, err = strconv.ParseInt(n.text, 10, 64); err != nil {
			return "", fmt.Errorf("%w: priority %q: expected a whole number", ErrDefinition, n.text)
		}
	}
	s := pack.Spec{Package: p, Scripts: map[string][]byte{}, Control: map[string][]byte{".melange.yaml": document}, Vendored: found.Vendored}
	if c := o.scripts; c != nil {
		for name, text := range map[string]string{"pre-install": c.PreInstall, "post-install": c.PostInstall, "pre-deinstall": c.PreDeinstall, "post-deinstall": c.PostDeinstall,
			"pre-upgrade": c.PreUpgrade, "post-upgrade": c.PostUpgrade, "trigger": c.Trigger.Script} {
			if text != "" {
				s.Scripts[name] = []byte(text)
			}
		}
		s.Package.Triggers = c.Trigger.Paths
	}
	t, err := w.withSBOM(ctx, o, &s.Package, texts)
	if err != nil {
		return "", err
	}
	name := filepath.Join(w.task.Dir, s.Package.Filename())
	if _, err := pack.WriteFile(ctx, name, t, s, pack.Options{Keys: w.b.o.Keys}); err != nil {
		return "", err
	}
	fmt.Fprintf(w.task.Log, "--- %s: packed\n", filepath.Base(name))
	return name, nil
}

// tests are the reusable pipelines that a test uses, directly or through others; never
// nil.
func tests(t *definition.Test) []string {
	names := []string{}
	var add func([]definition.Pipeline)
	add = func(list []definition.Pipeline) {
		for i := range list {
			if list[i].Uses != "" {
				names = append(names, list[i].Uses)
			}
			add(list[i].Pipeline)
		}
	}
	if t != nil {
		add(t.Pipeline)
	}
	return names
}

// lint checks a package, and prints what it finds.
func (w *work) lint(ctx context.Context, o *output) error {
	findings, err := lint.Run(ctx, lint.Input{Name: o.name, Arch: w.d.Arch, Tree: o.tree, Disabled: o.checks, NoProvides: o.options.NoProvides, Tests: o.tests}, lint.Options{})
	if err != nil {
		return err
	}
	var required []string
	for _, f := range findings {
		fmt.Fprintf(w.task.Log, "%s: %s: %s\n", o.name, f.Severity, f)
		if lint.Failed([]lint.Finding{f}) {
			required = append(required, f.String())
		}
	}
	if len(required) > 0 {
		return fmt.Errorf("%w:\n%s", ErrLint, strings.Join(required, "\n"))
	}
	return nil
}

// withSBOM adds the package's SBOM to its files.
func (w *work) withSBOM(ctx context.Context, o *output, p *apk.Package, texts map[string]string) (*tree.Tree, error) {
	in := sbom.Input{Package: *p, Tree: o.tree, Namespace: w.b.o.Namespace, Licenses: texts}
	if w.guest != nil {
		in.Environment = w.guest.Packages
	}
	for i := range w.d.Sources {
		u := &w.d.Sources[i]
		switch {
		case u.Test || u.Package != w.d.Package.Name && u.Package != o.name:
		case u.Source != nil:
			s := sbom.Source{Name: orElse(u.Source.PURLName, u.Source.Name), Version: u.Source.PURLVersion, Location: u.Source.URI}
			if sum, err := hex.DecodeString(u.Source.SHA256); err == nil && len(sum) == len(s.SHA256) {
				copy(s.SHA256[:], sum)
			}
			in.Sources = append(in.Sources, s)
		case u.Git != nil:
			in.Sources = append(in.Sources, sbom.Source{Name: path.Base(u.Git.Repository), Version: u.Git.Commit, Location: "git+" + u.Git.Repository + "@" + u.Git.Commit})
		}
	}
	document, err := sbom.Generate(ctx, in)
	if err != nil {
		return nil, err
	}
	t, err := o.tree.With(sbom.Path(p), document)
	if err != nil {
		return nil, err
	}
	return t, t.Hash(ctx, 0)
}
