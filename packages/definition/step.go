package definition

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cairn-dev/cairn/packages/definition/condition"
)

// maxDepth bounds how deep steps and reusable pipelines nest. melange has no
// bound and does not return from a pipeline that uses itself.
const maxDepth = 64

// step compiles one step: p is a copy, and what it refers to is not changed.
// The step stands in another one when nested.
func (c *compiler) step(p Pipeline, outer scope, nested bool) Pipeline {
	if c.depth++; c.depth > maxDepth {
		c.add(p.problem("nested too deep", fmt.Sprintf("expected at most %d levels", maxDepth), "a pipeline that uses itself never ends"))
		c.depth--
		return p
	}
	defer func() { c.depth-- }()
	with, where, uses := p.With, p.at, p.Uses
	if c.user.src == nil || where.src != nil && where.src.name == c.out.File {
		defer func(before at) { c.user = before }(c.user)
		c.user = where
	}
	builtin := false
	if p.Uses != "" && len(p.Pipeline) == 0 {
		var ok bool
		if p, builtin, ok = c.include(p); !ok {
			return p
		}
		c.unknownInputs(&where, with, p.Inputs, uses)
	} else {
		uses = ""
	}
	recorded := nested || len(with) > 0
	filled := c.inputs(&where, with, p.Inputs, uses)
	inner, input, err := outer.with(filled)
	if err != nil {
		c.substitution(where, err, inner, "with", input)
		return p
	}
	c.texts(&p, where, inner)
	c.below(&p, inner)
	if builtin && !p.Skip {
		c.source(&p, where, uses, inner)
	}
	declared := p.Inputs
	p.With, p.Inputs = map[string]string{}, nil
	if recorded {
		p.With = given(filled, declared, inner)
	}
	return p
}

// include puts the reusable pipeline in that a step uses. The step's name stays.
func (c *compiler) include(p Pipeline) (out Pipeline, builtin, ok bool) {
	found := c.library.find(p.Uses)
	switch {
	case errors.Is(found.err, errNoPipeline):
		hint := didYouMean(p.Uses, c.library.names())
		if hint == "" {
			hint = "a distribution's own pipelines are found with --pipeline-dir"
		}
		c.add(p.problem("unknown pipeline", fmt.Sprintf("found %q, which no pipeline directory has and cairn does not bring", shorten(p.Uses)), hint, "uses"))
		return p, false, false
	case found.err != nil:
		c.add(p.problem("pipeline cannot be read", found.err.Error(), "", "uses"))
		return p, false, false
	}
	c.used[p.Uses] = found.used
	for _, problem := range found.problems {
		c.add(problem)
	}
	if found.doc == nil || len(found.problems) > 0 {
		return p, false, true
	}
	out = found.onto(p)
	out.Name = p.Name
	return out, found.used.File == "", true
}

// onto is what decoding the file onto the step gives: what the file has not
// stays the step's.
func (l *loadedPipeline) onto(p Pipeline) Pipeline {
	f := l.pipeline
	out := p
	out.at = f.at
	set(&out.If, f.If)
	set(&out.Uses, f.Uses)
	set(&out.Runs, f.Runs)
	set(&out.Label, f.Label)
	set(&out.WorkDir, f.WorkDir)
	out.With, out.Environment = joined(p.With, f.With), joined(p.Environment, f.Environment)
	if f.Pipeline != nil {
		out.Pipeline = f.Pipeline
	}
	if len(p.Inputs) == 0 {
		out.Inputs = f.Inputs
	} else if f.Inputs != nil {
		out.Inputs = maps.Clone(p.Inputs)
		maps.Copy(out.Inputs, f.Inputs)
	}
	if f.Needs != nil && f.Needs.Packages != nil {
		out.Needs = f.Needs
	}
	if f.Assertions != nil {
		out.Assertions = f.Assertions
	}
	return out
}

func set(to *string, from string) {
	if from != "" {
		*to = from
	}
}

// joined is a with what b has; neither is changed.
func joined(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(a)
	if out == nil {
		out = make(map[string]string, len(b))
	}
	maps.Copy(out, b)
	return out
}

// texts substitutes in the step's own texts.
func (c *compiler) texts(p *Pipeline, where at, s scope) {
	if p.Needs != nil {
		p.Needs = &Needs{Packages: slices.Clone(p.Needs.Packages)}
		for i := range p.Needs.Packages {
			c.text(&p.Needs.Packages[i], p.at, s, "needs", "packages", index(i))
		}
	}
	c.text(&p.WorkDir, p.at, s, "working-directory")
	written := p.Runs
	if c.text(&p.Runs, p.at, s, "runs") && !c.SkipScripts {
		c.script(p, written, s)
	}
	c.condition(p, where, s)
}

// text substitutes in place and reports whether that went well.
func (c *compiler) text(text *string, where at, s scope, steps ...string) bool {
	out, err := condition.Substitute(*text, s.lookup)
	if err != nil {
		c.substitution(where, err, s, steps...)
		return false
	}
	*text = out
	return true
}

// condition substitutes in a step's condition, so that it stays one, and
// evaluates it.
func (c *compiler) condition(p *Pipeline, where at, s scope) {
	if p.If == "" {
		return
	}
	if where.value("if") == nil {
		where = p.at // the reusable pipeline's
	}
	text, err := condition.Substitute(p.If, s.quote)
	if err == nil {
		p.If = text
		var ok bool
		ok, err = condition.Evaluate(p.If, s.lookup)
		p.Skip = !ok && err == nil
	}
	if err != nil {
		for _, err := range split(err) {
			c.conditionProblem(where, err, s)
		}
	}
}

// below compiles the steps in a step.
func (c *compiler) below(p *Pipeline, s scope) {
	if p.Pipeline == nil {
		return
	}
	out := make([]Pipeline, len(p.Pipeline))
	for i, step := range p.Pipeline {
		if step.WorkDir == "" {
			step.WorkDir = p.WorkDir
		}
		out[i] = c.step(step, s, true)
	}
	p.Pipeline = out
}
