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
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/build/runner"
	"github.com/cairn-dev/cairn/packages/build/source"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/disk"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/repository"
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
	return errors.Join(append(errs, disk.RemoveAll(w.dir))...)
}

// out is the directory that becomes a package.
func (w *work) out(name string) string { return filepath.Join(w.space, "melange-out", name) }
