package definition

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/definition/condition"
)

// resolve substitutes what is known while reading, expands ranges and fills in
// what every definition has. The order is melange's, because it shows: a value
// is substituted once, with the values as they were before.
func (d *Definition) resolve(r *report, o Options) {
	if len(o.Vars) > 0 {
		vars := maps.Clone(o.Vars)
		for k, v := range d.Vars {
			if _, ok := vars[k]; !ok {
				vars[k] = v
			}
		}
		d.Vars = vars
	}
	values := d.packageValues()
	d.transform(r, values)
	replace := &replacer{values}
	replace.pkg(&d.Package)
	if d.Package.Commit == "" {
		d.Package.Commit = o.Commit
	}
	d.Pipeline = replace.pipelines(d.Pipeline)
	d.Subpackages = d.expand(r, replace)
	d.Environment = replace.environment(d.Environment)
	d.Test = replace.test(d.Test)
	replace.update(&d.Update)
	d.Data = nil
	d.addAccounts()
	d.Environment.setVariables(o.Environment)
	d.substituteStrictly(r)
	inherit(d.Pipeline)
	for i := range d.Subpackages {
		inherit(d.Subpackages[i].Pipeline)
	}
	if d.Package.Resources == nil {
		d.Package.Resources = &Resources{}
	}
}

// transform adds the variables that var-transforms make to values.
func (d *Definition) transform(r *report, values map[string]string) {
	for _, t := range d.VarTransforms {
		from, err := condition.Substitute(t.From, lookupIn(values))
		if err != nil {
			addUndefined(r, t.at, err, values, "from")
			continue
		}
		match, err := regexp.Compile(t.Match)
		if err != nil {
			r.add(t.problem("not a regular expression", patternProblem(err), "", "match"))
			continue
		}
		values["vars."+t.To] = match.ReplaceAllString(from, t.Replace)
	}
}

func patternProblem(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

// addUndefined reports what a substitution found, at a key below where.
func addUndefined(r *report, where at, err error, values map[string]string, steps ...string) {
	names := slices.Sorted(maps.Keys(values))
	for _, err := range split(err) {
		problem, detail, hint := substitutionProblem(err, names)
		r.add(where.problem(problem, detail, hint, steps...))
	}
}

// split takes a joined error apart.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// substitutionProblem words an error of condition.Substitute.
func substitutionProblem(err error, names []string) (problem, detail, hint string) {
	if errors.Is(err, condition.ErrUndefined) {
		name := strings.TrimPrefix(err.Error(), condition.ErrUndefined.Error()+": ")
		return "undefined variable", "found ${{" + name + "}}", didYouMean(name, names)
	}
	return "malformed variable", err.Error(), ""
}

// expand puts a subpackage for each item where a range is given.
func (d *Definition) expand(r *report, replace *replacer) []Subpackage {
	var out []Subpackage
	if d.Subpackages != nil {
		out = make([]Subpackage, 0, len(d.Subpackages))
	}
	data := map[string]map[string]string{}
	for _, list := range d.Data {
		data[list.Name] = list.Items
	}
	for i, s := range d.Subpackages {
		s.index = i
		if s.Range == "" {
			out = append(out, replace.subpackage(s, d.Package.Commit))
			continue
		}
		items, ok := data[s.Range]
		if !ok {
			names := slices.Sorted(maps.Keys(data))
			r.add(s.problem("unknown range", fmt.Sprintf("found %q, expected the name of a list of data", s.Range), didYouMean(s.Range, names), "range"))
			continue
		}
		out = append(out, d.expandRange(r, s, items)...)
	}
	return out
}

// expandRange makes the subpackages of one range, in the order of the keys.
func (d *Definition) expandRange(r *report, s Subpackage, items map[string]string) []Subpackage {
	values := d.packageValues() // of the package as it is substituted by now
	d.transform(r, values)
	out := make([]Subpackage, 0, len(items))
	for _, k := range slices.Sorted(maps.Keys(items)) {
		values["range.key"], values["range.value"] = k, items[k]
		out = append(out, (&replacer{values}).subpackage(s, d.Package.Commit))
	}
	return out
}

// addAccounts gives every sandbox the build user.
func (d *Definition) addAccounts() {
	d.Environment.addBuildUser()
	if d.Test != nil {
		d.Test.Environment.addBuildUser()
	}
	for _, s := range d.Subpackages {
		if s.Test != nil && len(s.Test.Pipeline) > 0 {
			s.Test.Environment.addBuildUser()
		}
	}
}

// substituteStrictly is the second pass over what is not left to compiling: no
// unknown variable may remain. Only some of it knows the variables that
// var-transforms make; elsewhere the first pass has put them in already, unless
// they were written with white space.
func (d *Definition) substituteStrictly(r *report) {
	plain := d.packageValues()
	all := maps.Clone(plain)
	d.transform(&report{}, all)
	s := strict{r}
	s.dependencies(&d.Package.Dependencies, all, plain, d.Package.at)
	s.packages(&d.Environment, all)
	if d.Test != nil {
		s.packages(&d.Test.Environment, all)
	}
	for i := range d.Subpackages {
		sub := &d.Subpackages[i]
		s.dependencies(&sub.Dependencies, all, plain, sub.at)
		if sub.Test != nil {
			s.packages(&sub.Test.Environment, all)
		}
	}
}

// strict is one run of substituteStrictly.
type strict struct{ r *report }

func (s *strict) dependencies(deps *Dependencies, all, plain map[string]string, where at) {
	s.list(deps.Runtime, all, where, "dependencies", "runtime")
	s.list(deps.Provides, all, where, "dependencies", "provides")
	s.list(deps.Replaces, plain, where, "dependencies", "replaces")
	s.text(&deps.ProviderPriority, plain, where, "dependencies", "provider-priority")
	s.text(&deps.ReplacesPriority, plain, where, "dependencies", "replaces-priority")
}

func (s *strict) packages(e *Environment, values map[string]string) {
	s.list(e.Contents.Packages, values, e.Contents.at, "packages")
}

func (s *strict) list(texts []string, values map[string]string, where at, steps ...string) {
	for i := range texts {
		s.text(&texts[i], values, where, append(slices.Clone(steps), index(i))...)
	}
}

func (s *strict) text(text *string, values map[string]string, where at, steps ...string) {
	if !strings.Contains(*text, "${{") {
		return
	}
	out, err := condition.Substitute(*text, lookupIn(values))
	if err == nil {
		*text = out
		return
	}
	addUndefined(s.r, where, err, values, steps...)
}

// inherit gives steps below others the directory and the variables of those.
func inherit(list []Pipeline) {
	for i := range list {
		parent := &list[i]
		for j := range parent.Pipeline {
			step := &parent.Pipeline[j]
			if step.WorkDir == "" {
				step.WorkDir = parent.WorkDir
			}
			if len(parent.Environment) > 0 {
				env := maps.Clone(parent.Environment)
				maps.Copy(env, step.Environment)
				step.Environment = env
			}
		}
		inherit(parent.Pipeline)
	}
}
