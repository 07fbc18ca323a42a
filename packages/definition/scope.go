package definition

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/definition/condition"
)

// Where things are in the sandbox, as in melange.
const (
	// WorkDir is the workspace: the definition's own files and the sources.
	WorkDir = "/home/build"
	// OutDir holds a directory for each package, with its files.
	OutDir = WorkDir + "/melange-out"
	// SourcesDir is where the files of [Source] and [GitSource] are, read-only.
	SourcesDir = "/var/cache/cairn/sources"
)

// scope is what the second way of substitution, at compiling, knows.
type scope struct {
	base map[string]string
	// inputs are those of the step and of the steps around it.
	inputs map[string]string
}

// quoted is the prefix of references that give a variable's value as one word
// of the shell: ${{quoted.inputs.dir}}. It is cairn's own.
const quoted = "quoted."

func (s scope) lookup(name string) (string, error) {
	if v, ok := s.inputs[name]; ok {
		return v, nil
	}
	if v, ok := s.base[name]; ok {
		return v, nil
	}
	if inner, ok := strings.CutPrefix(name, quoted); ok {
		if v, err := s.lookup(inner); err == nil {
			return quoteShell(v), nil
		}
	}
	return "", condition.Undefined(name)
}

// quote is lookup with the value as a quoted text of a condition, so that the
// result is a condition again.
func (s scope) quote(name string) (string, error) {
	v, err := s.lookup(name)
	if err != nil {
		return "", err
	}
	return strconv.Quote(v), nil
}

func (s scope) names() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, m := range []map[string]string{s.base, s.inputs} {
			for k := range m {
				if !yield(k) {
					return
				}
			}
		}
	})
}

// quoteShell makes one word of the shell.
func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// values makes the variables of the main package.
func (c *compiler) values() map[string]string {
	d := c.out
	out := archValues(c.arch, c.Libc)
	maps.Copy(out, map[string]string{
		"package.name": d.Package.Name, "package.version": d.Package.Version,
		"package.epoch": fmt.Sprint(d.Package.Epoch), "package.full-version": d.Package.FullVersion(),
		"package.srcdir": WorkDir, "targets.outdir": OutDir,
		"targets.destdir": OutDir + "/" + d.Package.Name, "targets.contextdir": OutDir + "/" + d.Package.Name,
		"context.name": d.Package.Name,
	})
	c.variables(out)
	d.transform(c.report, out)
	out["targets.package."+d.Package.Name] = OutDir + "/" + d.Package.Name
	for _, s := range d.Subpackages {
		out["targets.package."+s.Name] = OutDir + "/" + s.Name
	}
	for name := range d.Options {
		out["options."+name+".enabled"] = "false"
	}
	for _, name := range c.CompileOptions.Options {
		out["options."+name+".enabled"] = "true"
	}
	c.settle(out)
	return out
}

// settle resolves references in the values themselves, as in a version that was
// written with one.
func (c *compiler) settle(values map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !strings.Contains(values[name], "${{") {
			continue
		}
		value, err := condition.Substitute(values[name], lookupIn(values))
		if err != nil {
			addUndefined(c.report, c.out.at, err, values, strings.Split(name, ".")...)
			continue
		}
		values[name] = value
	}
}

// variables adds vars. One that refers to another variable is refused: melange
// resolves such references or fails, as the order of a map will have it.
func (c *compiler) variables(out map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(c.out.Vars)) {
		value := c.out.Vars[name]
		if _, err := condition.Substitute(value, lookupIn(nil)); err != nil {
			c.add(c.out.problem("variable in a variable", fmt.Sprintf("found %q, expected plain text", shorten(value)),
				"var-transforms make variables from others", "vars", name))
			continue
		}
		out["vars."+name] = value
	}
}

// subpackage returns the variables of a subpackage's steps.
func (s scope) subpackage(name string) scope {
	base := maps.Clone(s.base)
	dir := OutDir + "/" + name
	maps.Copy(base, map[string]string{
		"subpkg.name": name, "context.name": name, "targets.subpkgdir": dir, "targets.contextdir": dir,
	})
	return scope{base: base}
}

// with adds a step's inputs. A value is resolved against what surrounds the
// step first, so that an input can be handed down under its own name; what is
// not known there may be another input of the step.
//
// An input that cannot be resolved comes back with the error.
func (s scope) with(inputs map[string]string) (out scope, input string, err error) {
	if len(inputs) == 0 {
		return s, "", nil
	}
	out = scope{base: s.base, inputs: maps.Clone(s.inputs)}
	if out.inputs == nil {
		out.inputs = make(map[string]string, len(inputs))
	}
	var open []string
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		value, err := condition.Substitute(inputs[name], s.lookup)
		if err != nil {
			value = inputs[name]
			open = append(open, name)
		}
		out.inputs["inputs."+name] = value
	}
	input, err = out.siblings(open)
	return out, input, err
}

// siblings resolves inputs that refer to other inputs of the same step, those
// without references first. In a circle, a reference stays as it is.
func (s scope) siblings(open []string) (input string, err error) {
	for len(open) > 0 {
		name := "inputs." + open[0]
		for _, other := range open {
			if !refersTo(s.inputs["inputs."+other], open) {
				name = "inputs." + other
				break
			}
		}
		value, err := condition.Substitute(s.inputs[name], s.lookup)
		if err != nil {
			return strings.TrimPrefix(name, "inputs."), err
		}
		s.inputs[name] = value
		open = slices.DeleteFunc(open, func(o string) bool { return "inputs."+o == name })
	}
	return "", nil
}

// refersTo reports whether a text has a reference to one of the inputs.
func refersTo(text string, inputs []string) bool {
	found := false
	_, _ = condition.Substitute(text, func(name string) (string, error) {
		found = found || slices.Contains(inputs, strings.TrimPrefix(name, "inputs.")) && strings.HasPrefix(name, "inputs.")
		return "", nil
	})
	return found
}
