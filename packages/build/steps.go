package build

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"

	"github.com/cairn-dev/cairn/packages/build/runner"
	"github.com/cairn-dev/cairn/packages/definition"
)

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
