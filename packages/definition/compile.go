package definition

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/definition/condition"
)

// CompileOptions change how a definition is compiled.
type CompileOptions struct {
	// Arch is the architecture, by any of its names.
	Arch string
	// Libc is gnu, also when empty, or musl: what host.triplet is of.
	Libc string
	// PipelineDirs are searched for reusable pipelines, in order, before
	// cairn's own.
	PipelineDirs []string
	// Options are the build options that are on.
	Options []string
	// SkipScripts leaves the texts of scripts as they are written, without
	// checking their syntax: for callers that only ask what is needed.
	SkipScripts bool
}

// Build is a definition compiled for one architecture. Its JSON form is that of
// melange's compile, with more keys.
type Build struct {
	Definition `yaml:",inline"`
	// Arch is apk's name of the architecture.
	Arch string `json:"arch" yaml:"arch"`
	// Sources are what must be taken before the sandbox starts.
	Sources []SourceUse `json:"sources,omitempty" yaml:"sources,omitempty"`
	// Pipelines are the reusable pipelines that went in, by name.
	Pipelines []UsedPipeline `json:"pipelines,omitempty" yaml:"pipelines,omitempty"`
	// Omitted are the subpackages whose condition does not hold.
	Omitted []string `json:"omitted,omitempty" yaml:"omitted,omitempty"`
}

// ErrArch is for a definition that is not for the architecture asked for.
var ErrArch = errors.New("not for this architecture")

// Compile compiles a definition, which stays as it is. The error is an *[Errors]
// with every problem, or [ErrArch].
func Compile(d *Definition, o CompileOptions) (*Build, error) {
	arch, err := ParseArch(o.Arch)
	if err != nil {
		return nil, err
	}
	if !d.IsFor(arch) {
		return nil, fmt.Errorf("%s: %w: found %s, expected %s", d.File, ErrArch, arch, strings.Join(d.Package.TargetArchitecture, ", "))
	}
	b := &Build{Definition: *d, Arch: arch}
	b.Warnings = slices.Clone(d.Warnings)
	c := &compiler{CompileOptions: o, report: &report{}, arch: arch, out: &b.Definition, library: libraryOf(o.PipelineDirs), used: map[string]UsedPipeline{}}
	c.applyOptions()
	base := scope{base: c.values()}
	if err := c.err(); err != nil {
		return nil, err // everything below would repeat it
	}
	c.compile(b, base)
	if err := c.err(); err != nil {
		return nil, err
	}
	b.addSources()
	for _, name := range slices.Sorted(maps.Keys(c.used)) {
		b.Pipelines = append(b.Pipelines, c.used[name])
	}
	b.Warnings = sorted(append(b.Warnings, c.warnings...))
	return b, nil
}

// IsFor reports whether the definition is for an architecture of apk's names.
func (d *Definition) IsFor(arch string) bool {
	list := d.Package.TargetArchitecture
	return len(list) == 0 || len(list) == 1 && list[0] == "all" || slices.Contains(list, arch)
}

// compiler is one call of Compile.
type compiler struct {
	CompileOptions
	*report
	arch    string
	out     *Definition
	library *library
	used    map[string]UsedPipeline
	depth   int
	user    at // the definition's own step that is being compiled
}

// add reports a problem. One in a reusable pipeline says who uses it.
func (c *compiler) add(p Problem) {
	if p.File != c.out.File && p.Hint == "" && c.user.node != nil {
		p.Hint = fmt.Sprintf("used in %s:%d:%d", c.out.File, c.user.node.Line, c.user.node.Column)
	}
	c.report.add(p)
}

// applyOptions changes the definition as the build options that are on say.
// Their variables come too late for what was substituted while reading.
func (c *compiler) applyOptions() {
	d := c.out
	known := slices.Sorted(maps.Keys(d.Options))
	packages := slices.Clone(d.Environment.Contents.Packages)
	for _, name := range c.CompileOptions.Options {
		o, ok := d.Options[name]
		if !ok {
			c.warn(d.problem("no such option", fmt.Sprintf("found %q, the definition has %s", name, orNone(known)), didYouMean(name, known), "options"))
			continue
		}
		vars := maps.Clone(d.Vars)
		if vars == nil {
			vars = map[string]string{}
		}
		maps.Copy(vars, o.Vars)
		d.Vars = vars
		packages = append(packages, o.Environment.Contents.Packages.Add...)
		packages = slices.DeleteFunc(packages, func(p string) bool {
			return slices.Contains(o.Environment.Contents.Packages.Remove, p)
		})
	}
	d.Environment.Contents.Packages = packages
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (c *compiler) compile(b *Build, main scope) {
	needs := c.pipelines(b.Pipeline, main, &b.Pipeline)
	subpackages := make([]Subpackage, 0, len(b.Subpackages))
	for _, s := range b.Subpackages {
		inner := main.subpackage(s.Name)
		if !c.holds(s.at, s.If, inner) {
			b.Omitted = append(b.Omitted, s.Name)
			continue
		}
		needs = append(needs, c.pipelines(s.Pipeline, inner, &s.Pipeline)...)
		s.Test = c.test(s.Test, s.Name, inner)
		subpackages = append(subpackages, s)
	}
	if b.Subpackages != nil {
		b.Subpackages = subpackages
	}
	b.Environment.Contents.Packages = append(b.Environment.Contents.Packages, needs...)
	b.Test = c.test(b.Test, b.Package.Name, main)
}

// test compiles a package's test. Its sandbox has the package itself.
func (c *compiler) test(t *Test, name string, s scope) *Test {
	if t == nil {
		return nil
	}
	out := *t
	needs := c.pipelines(t.Pipeline, s, &out.Pipeline)
	packages := append(slices.Clone(t.Environment.Contents.Packages), name)
	packages = append(packages, needs...)
	slices.Sort(packages)
	out.Environment.Contents.Packages = slices.Compact(packages)
	return &out
}

// holds evaluates a condition that may be absent.
func (c *compiler) holds(where at, text string, s scope) bool {
	if text == "" {
		return true
	}
	ok, err := condition.Evaluate(text, s.lookup)
	if err != nil {
		c.conditionProblem(where, err, s)
	}
	return ok
}

func (c *compiler) conditionProblem(where at, err error, s scope) {
	if errors.Is(err, condition.ErrUndefined) {
		c.substitution(where, err, s, "if")
		return
	}
	c.add(where.problem("malformed condition", err.Error(), "", "if"))
}

// substitution reports what a substitution found.
func (c *compiler) substitution(where at, err error, s scope, steps ...string) {
	for _, err := range split(err) {
		problem, detail, hint := substitutionProblem(err, s.names())
		c.add(where.problem(problem, detail, hint, steps...))
	}
}

// pipelines compiles a list of steps into out, and returns the packages that
// those steps need that run.
func (c *compiler) pipelines(in []Pipeline, s scope, out *[]Pipeline) (needs []string) {
	if in == nil {
		return nil
	}
	compiled := make([]Pipeline, len(in))
	for i := range in {
		compiled[i] = c.step(in[i], s, false)
		needs = gather(&compiled[i], needs)
		if !compiled[i].Skip {
			compiled[i].Needs = nil
		}
	}
	*out = compiled
	return needs
}

// gather appends what a step and those below it need, unless they are skipped.
func gather(p *Pipeline, needs []string) []string {
	if p.Skip {
		return needs
	}
	if p.Needs != nil {
		needs = append(needs, p.Needs.Packages...)
	}
	for i := range p.Pipeline {
		needs = gather(&p.Pipeline[i], needs)
	}
	return needs
}
