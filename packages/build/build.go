// Package build makes the packages of one definition: it takes the sources, has a
// guest made, runs the steps in a sandbox, and turns what they left in melange-out into
// package files.
//
// It does not resolve (packages/distro does, and drives a Builder for many
// definitions), does not make guests and does not run anything itself: those who do
// are given to it. The bytes of a package follow from the definition, the files beside
// it, the sources, the guest and the options: from no clock and nothing else of the
// machine, as far as the steps themselves are so.
//
//	b := build.New(build.Options{Runner: r, Guests: guests, SourceCache: dir, Epoch: epoch})
//	report, err := distro.Run(ctx, builds, b, distro.Options{Dir: "packages", Arch: "x86_64"})
package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/build/runner"
	"github.com/cairn-dev/cairn/packages/build/source"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/lint"
	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/sbom"
	"github.com/cairn-dev/cairn/packages/scan"
	"github.com/cairn-dev/cairn/packages/tree"
)

// What callers tell apart.
var (
	// ErrLint: a package does not pass a check that is required.
	ErrLint = errors.New("does not pass a required check")
	// ErrDefinition: a definition asks for something that cannot be.
	ErrDefinition = errors.New("definition")
	// ErrNetwork: a definition wants the network, and the caller does not allow it.
	ErrNetwork = errors.New("wants the network")
)

// Guest is a root directory of a build's environment.
type Guest struct {
	Root string
	// Layout is an OCI layout and Image the digest of the image in it, for runners that
	// take an image in place of a directory; Arch is Go's name of its architecture.
	Layout, Image, Arch string
	// Packages are what it is made of, in the order of installation; SHA256 are their
	// files' digests.
	Packages []apk.Package
	SHA256   []apk.SHA256
	// Close gives it up.
	Close func() error
}

// Guests makes guests.
type Guests interface {
	// Guest makes the root directory of an environment, with the accounts that the
	// definition asks for. dir is an empty directory that it may use.
	Guest(ctx context.Context, b *definition.Build, environment []distro.Input, dir string) (*Guest, error)
}

// Options say how packages are made.
type Options struct {
	Runner runner.Runner
	// Guests makes the sandbox's root directory; nil for a runner that needs none.
	Guests Guests
	// SourceCache is the directory of sources; see the package source.
	SourceCache string
	// Offline takes no source that is not in the cache.
	Offline bool
	// Network allows the network to definitions that ask for it.
	Network bool
	// Epoch is the time of every file and of the packages.
	Epoch time.Time
	// Keys sign the packages.
	Keys []repository.SigningKey
	// Namespace is the name of the distribution in package URLs, "wolfi".
	Namespace string
	// Version is of the program, and of no package: another one builds again.
	Version string
	// TempDir is where workspaces are; empty is the system's.
	TempDir string
	// Trace makes shells print what they do.
	Trace bool
	// Record is told what packages were made from, when they are made. Optional.
	Record func(r *Record) error
}

// Record is what the packages of a definition were made from, for provenance.
type Record struct {
	Build *definition.Build
	// Beside is the digest of the files beside the definition; see [Builder.Inputs].
	Beside string
	Epoch  time.Time
	Runner string
	// Environment are the packages of the sandbox, with their files' digests; none for a
	// runner without one.
	Environment []apk.Package
	SHA256      []apk.SHA256
	Materials   []source.Material
	// Packages are the files that were made.
	Packages []Made
}

// Made is a package file.
type Made struct {
	Name   string // without a directory
	SHA256 apk.SHA256
}

// Builder makes packages. It is a [distro.Builder].
type Builder struct{ o Options }

// New returns a builder.
func New(o Options) *Builder { return &Builder{o} }

// ID names the engine and what of its settings is in the packages.
func (b *Builder) ID() string {
	keys := []string{}
	for _, k := range b.o.Keys {
		keys = append(keys, k.Name)
	}
	return fmt.Sprintf("cairn %s, runner %s, epoch %d, keys %s, namespace %s", b.o.Version, b.o.Runner.Name(), b.o.Epoch.Unix(), strings.Join(keys, " "), b.o.Namespace)
}

// sourceDir is the directory beside a definition whose files are in the workspace when
// the first step runs: that of the package's name.
func sourceDir(d *definition.Build) string {
	if d.File == "" {
		return ""
	}
	dir := filepath.Join(filepath.Dir(d.File), d.Package.Name)
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return ""
	}
	return dir
}

// Inputs is a digest of the files beside the definition: names, modes and content.
func (b *Builder) Inputs(ctx context.Context, d *definition.Build) (string, error) {
	dir := sourceDir(d)
	if dir == "" {
		return "", nil
	}
	h := sha256.New()
	err := walk(ctx, dir, func(rel string, info fs.FileInfo) error {
		fmt.Fprintf(h, "%s\x00%s\x00%d\x00", rel, info.Mode()&(fs.ModeType|0o111), info.Size())
		switch {
		case info.Mode().IsRegular():
			f, err := os.Open(filepath.Join(dir, rel))
			if err != nil {
				return err
			}
			_, err = io.Copy(h, f)
			return errors.Join(err, f.Close())
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(filepath.Join(dir, rel))
			fmt.Fprintf(h, "%s\x00", to)
			return err
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// walk visits what is below a directory, in the order of names.
func walk(ctx context.Context, dir string, visit func(rel string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		return visit(rel, info)
	})
}

// makeDir makes a directory with the mode 0755, whatever the umask: steps copy modes.
func makeDir(name string) error {
	if err := os.Mkdir(name, 0o755); err != nil {
		return err
	}
	return os.Chmod(name, 0o755)
}

// copyTree copies the files beside a definition.
func copyTree(ctx context.Context, from, to string) error {
	return walk(ctx, from, func(rel string, info fs.FileInfo) error {
		src, dst := filepath.Join(from, rel), filepath.Join(to, rel)
		switch mode := info.Mode(); {
		case mode.IsDir():
			return makeDir(dst)
		case mode&fs.ModeSymlink != 0:
			link, err := os.Readlink(src)
			if err != nil {
				return err
			}
			return os.Symlink(link, dst)
		case mode.IsRegular():
			in, err := os.Open(src)
			if err != nil {
				return err
			}
			defer in.Close()
			out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = io.Copy(out, in)
			return errors.Join(err, out.Chmod(0o644|mode&0o111), out.Close())
		}
		return fmt.Errorf("%s: neither file, directory nor symbolic link", src)
	})
}

// work is one build.
type work struct {
	b     *Builder
	d     *definition.Build
	task  distro.Task
	dir   string // holds everything of the build
	space string // the workspace
	guest *Guest
	box   *runner.Sandbox
	set   *source.Set
}

// Build makes the packages of a definition; see [distro.Builder].
func (b *Builder) Build(ctx context.Context, t distro.Task) (files []string, err error) {
	if d := t.Build.Package.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, fmt.Errorf("package %s: timeout of %s", t.Build.Package.Name, d))
		defer cancel()
	}
	w, err := b.prepare(ctx, t, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.steps(ctx); err != nil {
		return nil, err
	}
	if files, err = w.pack(ctx); err != nil || b.o.Record == nil {
		return files, err
	}
	return files, w.record(ctx, files)
}

// record says what the packages were made from.
func (w *work) record(ctx context.Context, files []string) error {
	r := &Record{Build: w.d, Epoch: w.b.o.Epoch, Runner: w.b.o.Runner.Name(), Materials: w.set.Materials}
	var err error
	if r.Beside, err = w.b.Inputs(ctx, w.d); err != nil {
		return err
	}
	if w.guest != nil {
		r.Environment, r.SHA256 = w.guest.Packages, w.guest.SHA256
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		r.Packages = append(r.Packages, Made{filepath.Base(name), apk.SHA256(h.Sum(nil))})
	}
	return w.b.o.Record(r)
}

// prepare makes workspace, sources and guest.
func (b *Builder) prepare(ctx context.Context, t distro.Task, test bool) (_ *work, err error) {
	if wantsNetwork(t.Build) && !b.o.Network {
		return nil, fmt.Errorf("package %s: %w (annotation %s), and is not allowed it\nhint: --allow-network allows it to the definitions that ask for it", t.Build.Package.Name, ErrNetwork, AnnotationNetwork)
	}
	w := &work{b: b, d: t.Build, task: t}
	if t.Log == nil {
		w.task.Log = io.Discard
	}
	version := b.o.Version
	if version == "" {
		version = "of no version"
	}
	fmt.Fprintf(w.task.Log, "--- %s %s for %s: cairn %s, runner %s\n", w.d.Package.Name, w.d.Package.FullVersion(), w.d.Arch, version, b.o.Runner.Name())
	if w.dir, err = os.MkdirTemp(b.o.TempDir, "cairn-build-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	w.space = filepath.Join(w.dir, "workspace")
	for _, d := range []string{"workspace", "scratch", "guest", "cache"} {
		if err := makeDir(filepath.Join(w.dir, d)); err != nil {
			return nil, err
		}
	}
	if dir := sourceDir(t.Build); dir != "" {
		if err := copyTree(ctx, dir, w.space); err != nil {
			return nil, err
		}
	}
	uses := slices.DeleteFunc(slices.Clone(t.Build.Sources), func(u definition.SourceUse) bool { return u.Test != test })
	if w.set, err = source.Take(ctx, uses, source.Options{Cache: b.o.SourceCache, Offline: b.o.Offline, Log: w.task.Log}); err != nil {
		return nil, err
	}
	w.box = &runner.Sandbox{Workspace: w.space, Result: "melange-out", Sources: w.set.Dir, Cache: filepath.Join(w.dir, "cache"), Scratch: filepath.Join(w.dir, "scratch"), Log: w.task.Log,
		Add: t.Build.Capabilities.Add, Drop: t.Build.Capabilities.Drop, Network: wantsNetwork(t.Build)}
	if w.box.User, err = runAs(&t.Build.Environment.Accounts); err != nil {
		return nil, err
	}
	if b.o.Guests != nil {
		if w.guest, err = b.o.Guests.Guest(ctx, t.Build, t.Environment, filepath.Join(w.dir, "guest")); err != nil {
			return nil, err
		}
		w.box.Root, w.box.Layout, w.box.Image, w.box.Arch = w.guest.Root, w.guest.Layout, w.guest.Image, w.guest.Arch
	}
	return w, nil
}

// AnnotationNetwork is the annotation of a package, in its definition, that asks for the
// network while it is built and tested: "true". Other programs keep it and do nothing.
const AnnotationNetwork = "dev.cairn.network"

func wantsNetwork(d *definition.Build) bool {
	return d.Package.Annotations[AnnotationNetwork] == "true"
}

// runAs is the user that steps run as: one of the accounts, by name or number, or any
// number; nil is root.
func runAs(a *definition.Accounts) (*runner.User, error) {
	if a.RunAs == "" {
		return nil, nil
	}
	var names []string
	for _, u := range a.Users {
		if names = append(names, u.UserName); a.RunAs != u.UserName && a.RunAs != fmt.Sprint(u.UID) {
			continue
		}
		out := &runner.User{UID: u.UID, GID: u.UID}
		if u.GID != nil {
			out.GID = *u.GID
		}
		return out, nil
	}
	n, err := strconv.ParseUint(a.RunAs, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("environment.accounts.run-as: %w: found %q, expected a number or one of %s", ErrDefinition, a.RunAs, strings.Join(names, ", "))
	}
	return &runner.User{UID: uint32(n), GID: uint32(n)}, nil
}

func (w *work) close() error {
	var errs []error
	if w.guest != nil && w.guest.Close != nil {
		errs = append(errs, w.guest.Close())
	}
	if w.set != nil {
		errs = append(errs, w.set.Close())
	}
	return errors.Join(append(errs, removeAll(w.dir))...)
}

// removeAll removes a directory, also one in which a build took away its rights.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if e != nil && e.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// out is the directory that becomes a package.
func (w *work) out(name string) string { return filepath.Join(w.space, "melange-out", name) }

// steps runs the pipelines: the package's, then each subpackage's.
func (w *work) steps(ctx context.Context) error {
	if err := makeDir(filepath.Join(w.space, "melange-out")); err != nil {
		return err
	}
	for _, name := range w.names() {
		if err := makeDir(w.out(name)); err != nil {
			return err
		}
	}
	env := maps.Clone(w.d.Environment.Environment)
	if env == nil {
		env = map[string]string{}
	}
	env["SOURCE_DATE_EPOCH"] = strconv.FormatInt(w.b.o.Epoch.Unix(), 10)
	list, err := w.script(nil, w.d.Package.Name, w.d.Pipeline, env)
	if err != nil {
		return err
	}
	for i := range w.d.Subpackages {
		s := &w.d.Subpackages[i]
		if list, err = w.script(list, s.Name, s.Pipeline, env); err != nil {
			return err
		}
	}
	for _, c := range w.d.Package.Copyright {
		if c.LicensePath != "" {
			w.box.Keep = append(w.box.Keep, c.LicensePath)
		}
	}
	return w.b.o.Runner.Run(ctx, w.box, list)
}

// names are those of all packages, the main one first.
func (w *work) names() []string {
	out := []string{w.d.Package.Name}
	for i := range w.d.Subpackages {
		out = append(out, w.d.Subpackages[i].Name)
	}
	return out
}

// script adds the steps of a pipeline to a list. Conditions were decided when the
// definition was compiled, so that all steps are known before the first runs.
func (w *work) script(list []runner.Step, of string, pipeline []definition.Pipeline, env map[string]string) ([]runner.Step, error) {
	for i := range pipeline {
		if _, err := w.step(&list, fmt.Sprintf("%s: step %d", of, i+1), &pipeline[i], env); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// step adds a step and those below it; runs tells whether its condition holds.
func (w *work) step(list *[]runner.Step, at string, p *definition.Pipeline, outer map[string]string) (runs bool, err error) {
	if p.Skip {
		return false, nil
	}
	switch {
	case p.Name != "":
		at += " (" + p.Name + ")"
	case p.Uses != "":
		at += " (uses " + p.Uses + ")"
	}
	env := maps.Clone(outer)
	maps.Copy(env, p.Environment)
	if p.Runs != "" {
		*list = append(*list, runner.Step{Name: at, Script: p.Script(w.b.o.Trace), Env: env})
	}
	count := 0
	for i := range p.Pipeline {
		runs, err := w.step(list, fmt.Sprintf("%s.%d", at, i+1), &p.Pipeline[i], env)
		if err != nil {
			return true, err
		}
		if runs {
			count++
		}
	}
	if a := p.Assertions; a != nil && a.RequiredSteps > 0 && a.RequiredSteps != count {
		return true, fmt.Errorf("%s: %w: assertions.required-steps: found %d steps that run, expected %d", at, ErrDefinition, count, a.RequiredSteps)
	}
	return true, nil
}

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
}

// pack turns what the steps left into package files.
func (w *work) pack(ctx context.Context) (files []string, err error) {
	p := &w.d.Package
	outputs := []*output{{name: p.Name, deps: &p.Dependencies, scripts: p.Scriptlets, checks: p.Checks.Disabled, setcap: p.SetCap, describe: p.Description, url: p.URL, commit: p.Commit}}
	if p.Options != nil {
		outputs[0].options = *p.Options
	}
	for i := range w.d.Subpackages {
		s := &w.d.Subpackages[i]
		o := &output{name: s.Name, deps: &s.Dependencies, scripts: s.Scriptlets, checks: s.Checks.Disabled, setcap: s.SetCap,
			describe: orElse(s.Description, p.Description), url: orElse(s.URL, p.URL), commit: orElse(s.Commit, p.Commit)}
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

// lint checks a package, and prints what it finds.
func (w *work) lint(ctx context.Context, o *output) error {
	findings, err := lint.Run(ctx, lint.Input{Name: o.name, Arch: w.d.Arch, Tree: o.tree, Disabled: o.checks, NoProvides: o.options.NoProvides}, lint.Options{})
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
