package distro

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
)

// Builder makes the packages of one definition. Its methods are called from
// several goroutines.
type Builder interface {
	// ID names what packages depend on beside a [Task]: the engine's version,
	// the runner, its settings. Packages are built again when it changes.
	ID() string
	// Inputs returns a digest of the files that a build reads beside its compiled
	// definition and the sources that the definition pins, such as patches; empty
	// when there are none.
	Inputs(ctx context.Context, b *definition.Build) (string, error)
	// Build writes every package of a definition into t.Dir and returns the
	// files' names. It stops with the context.
	Build(ctx context.Context, t Task) ([]string, error)
}

// Task is one build.
type Task struct {
	Build *definition.Build
	// Environment are the packages to build with, in the order of installation,
	// with all that they need.
	Environment []Input
	// Dir is an empty directory that is removed afterwards.
	Dir string
	// Log takes what the build prints.
	Log io.Writer
}

// Input is a package of an environment.
type Input struct {
	// Package is its index entry. Its Checksum is the package's own.
	Package *apk.Package
	// Repository is where it is: a position in [Options].Repositories, or -1 for
	// what was built here.
	Repository int
	// File and SHA256 are of the package file that was built here; zero for
	// others.
	File   string
	SHA256 apk.SHA256
}

// Repository is one to take packages from that are not built here. An
// [repository.Index] fits.
type Repository struct {
	Index solve.Index
	// SHA256 is the digest of the index.
	SHA256 apk.SHA256
	// URL is for messages.
	URL string
	// Tag restricts it to what is asked for with that tag.
	Tag string
	// For names the definition, by its main package, that brings this repository for its
	// own environment; empty is for all.
	For string
}

// Options of [Run].
type Options struct {
	// Dir is the repository to make; packages go into its directory of the
	// architecture's name.
	Dir string
	// Arch is apk's name of the architecture that the definitions were compiled
	// for.
	Arch string
	// Repositories are asked after what is built here, in this order.
	Repositories []Repository
	// Keys sign the index.
	Keys []repository.SigningKey
	// Jobs is how many builds run at a time; less than 1 is 1.
	Jobs int
	// StopAtFailure begins no build after one failed. Otherwise only those that
	// need it are left out.
	StopAtFailure bool
	// Progress is told what happens, never from two goroutines at a time. May be
	// nil.
	Progress func(Event)
	// Now is the clock that durations are measured with; nil is [time.Now].
	Now func() time.Time
}

// Status says what became of a build.
type Status string

// The statuses of a build.
const (
	// Built made packages that are new or differ from those of before.
	Built Status = "built"
	// Unchanged was built and gave the same content as before: nothing is built
	// again because of it.
	Unchanged Status = "unchanged"
	// Current did not need to be built.
	Current Status = "current"
	// Failed has an error.
	Failed Status = "failed"
	// Blocked needs a build that failed.
	Blocked Status = "blocked"
	// NotBuilt was not begun because the run was stopped before.
	NotBuilt Status = "not built"
)

// Event is one step of a run.
type Event struct {
	// Name is the definition's main package.
	Name string
	// Status is what became of it; empty when its build begins.
	Status Status
	// Reason says why it is built, or what it is blocked by.
	Reason string
	// Err is set when it failed.
	Err error
	// Log is the log file of a build.
	Log string
	// Took is how long the build ran.
	Took time.Duration
	// Done and Total count definitions; Running are the builds that run, the
	// longest first.
	Done, Total int
	Running     []string
	// Left is how long the rest takes when every build takes what it took the
	// last time: at least its critical path, and its sum over the jobs. Zero when
	// nothing is known.
	Left time.Duration
}

// The errors of [Run] that callers tell apart.
var (
	// ErrFailed is for a run in which some definitions were not built; the
	// report says which and why.
	ErrFailed = errors.New("not all packages were built")
	// ErrSeed is for a cycle whose seeds no repository has.
	ErrSeed = errors.New("packages need each other")
	// ErrOutput is for a builder's packages that are not the definition's.
	ErrOutput = errors.New("built something else")
)
