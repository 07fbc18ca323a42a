package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
)

// Tested is a package of a definition with the steps that test it.
type Tested struct {
	Name string
	Test *definition.Test
}

// Tests lists the packages of a definition that have tests, the main one first.
func Tests(d *definition.Build) (out []Tested) {
	if d.Test != nil && len(d.Test.Pipeline) > 0 {
		out = append(out, Tested{d.Package.Name, d.Test})
	}
	for i := range d.Subpackages {
		if s := &d.Subpackages[i]; s.Test != nil && len(s.Test.Pipeline) > 0 {
			out = append(out, Tested{s.Name, s.Test})
		}
	}
	return out
}

// Test runs the steps that test a package, in a sandbox in which it is installed with
// what the test needs. environment makes that sandbox's root directory; dir is an empty
// directory that it may use.
func (b *Builder) Test(ctx context.Context, d *definition.Build, t Tested, environment func(ctx context.Context, dir string) (*Guest, error), log io.Writer) (err error) {
	// Of the definition's sources, the test's own.
	only := *d
	only.Sources = nil
	for _, u := range d.Sources {
		if u.Test && u.Package == t.Name {
			only.Sources = append(only.Sources, u)
		}
	}
	tester := &Builder{b.o}
	tester.o.Guests = guestFunc(environment)
	w, err := tester.prepare(ctx, distro.Task{Build: &only, Log: log}, true)
	if err != nil {
		return fmt.Errorf("test of %s: %w", t.Name, err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	env := maps.Clone(t.Test.Environment.Environment)
	if env == nil {
		env = map[string]string{"HOME": definition.WorkDir}
	}
	if w.box.User, err = runAs(&t.Test.Environment.Accounts); err != nil {
		return fmt.Errorf("test of %s: %w", t.Name, err)
	}
	list, err := w.script(nil, "test of "+t.Name, t.Test.Pipeline, env)
	if err != nil {
		return err
	}
	w.box.Result = ""
	return w.b.o.Runner.Run(ctx, w.box, list)
}

// guestFunc is one guest as Guests.
type guestFunc func(ctx context.Context, dir string) (*Guest, error)

func (g guestFunc) Guest(ctx context.Context, _ *definition.Build, _ []distro.Input, dir string) (*Guest, error) {
	return g(ctx, dir)
}
