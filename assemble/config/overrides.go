package config

import (
	"maps"
	"slices"

	"chainguard.dev/apko/pkg/build/types"
)

// Overrides are changes from the command line. Lists are added to the
// configuration's, except Archs, which replaces; an annotation or the VCS URL
// replaces that of the configuration.
type Overrides struct {
	Repositories      []string          // --repository-append
	BuildRepositories []string          // --build-repository-append
	Keyring           []string          // --keyring-append
	Packages          []string          // --package-append
	Annotations       map[string]string // --annotations
	Archs             []string          // --arch; all and host are allowed
	VCSURL            string            // --vcs-url
}

// The flags that messages name.
const (
	flagRepository = "--repository-append"
	flagBuildRepo  = "--build-repository-append"
	flagKeyring    = "--keyring-append"
	flagPackage    = "--package-append"
	flagAnnotation = "--annotations"
	flagArch       = "--arch"
	flagVCS        = "--vcs-url"
)

// Apply changes the configuration and checks it again. On an error, which is
// an *[Errors], nothing is changed.
func (c *Config) Apply(o Overrides) error {
	var r report
	r.rank(c)
	o.check(&r)
	next := c.clone()
	next.addOverrides(o)
	next.applied = append(slices.Clip(c.applied), o)
	whole{Config: next, report: &r}.check()
	if err := r.err(); err != nil {
		return err
	}
	next.Warnings = mergeWarnings(c.Warnings, r.sorted(r.warnings))
	*c = *next
	return nil
}

// Applied returns what Apply was called with, in order: with the sources, the
// local files and the include paths, everything that the configuration was made
// from.
func (c *Config) Applied() []Overrides { return slices.Clone(c.applied) }

// IncludePaths returns those of the options that the configuration was loaded
// with.
func (c *Config) IncludePaths() []string { return slices.Clone(c.includePaths) }

// mergeWarnings adds those that are new.
func mergeWarnings(old, found []Problem) []Problem {
	out := slices.Clone(old)
	for _, p := range found {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// check validates each value by itself.
func (o Overrides) check(r *report) {
	each := func(flag, problem string, list []string, check func(string) (string, string)) {
		for _, v := range list {
			if detail, hint := check(v); detail != "" {
				r.add(Problem{Key: flag, Problem: problem, Detail: detail, Hint: hint})
			}
		}
	}
	plain := func(check func(string) string) func(string) (string, string) {
		return func(v string) (string, string) { return check(v), "" }
	}
	each(flagRepository, "invalid repository", o.Repositories, repositoryProblem)
	each(flagBuildRepo, "invalid repository", o.BuildRepositories, repositoryProblem)
	each(flagKeyring, "invalid key location", o.Keyring, keyProblem)
	each(flagPackage, "invalid package", o.Packages, plain(func(v string) string { _, d := parsePackage(v); return d }))
	each(flagAnnotation, impossible, slices.Sorted(maps.Keys(o.Annotations)), plain(annotationProblem))
	each(flagArch, "unknown architecture", o.Archs, archProblem)
	each(flagVCS, impossible, []string{o.VCSURL}, plain(vcsProblem))
}

// addOverrides puts the values in, marked with their flags.
func (c *Config) addOverrides(o Overrides) {
	ct := &c.Contents
	c.appendList(&ct.Repositories, o.Repositories, flagRepository, "repositories")
	c.appendList(&ct.BuildRepositories, o.BuildRepositories, flagBuildRepo, "build_repositories")
	c.appendList(&ct.Keyring, o.Keyring, flagKeyring, "keyring")
	c.appendList(&ct.Packages, o.Packages, flagPackage, "packages")
	if len(o.Annotations) > 0 {
		if c.Annotations == nil {
			c.Annotations = map[string]string{}
		}
		maps.Copy(c.Annotations, o.Annotations)
		for k := range o.Annotations {
			c.marks.set(&mark{pos: pos{flag: flagAnnotation}}, "annotations", k)
		}
	}
	if len(o.Archs) > 0 {
		names := make([]types.Architecture, len(o.Archs))
		for i, a := range o.Archs {
			names[i] = types.Architecture(a)
		}
		// apko sorts architectures that come from the command line.
		c.Archs = expandArchs(names)
		slices.Sort(c.Archs)
	}
	if o.VCSURL != "" {
		c.VCSUrl, c.vcsProbed = o.VCSURL, false
	}
	c.normalize()
}

// appendList adds values of a flag to a list of contents.
func (c *Config) appendList(list *[]string, values []string, flag, key string) {
	if len(values) == 0 {
		return
	}
	m := c.marks.child("contents").child(key)
	if m == nil {
		m = &mark{}
	} else {
		m = &mark{pos: m.pos, items: slices.Clone(m.items)}
	}
	for len(m.items) < len(*list) {
		m.items = append(m.items, &mark{pos: m.pos})
	}
	for range values {
		m.items = append(m.items, &mark{pos: pos{flag: flag}})
	}
	*list = slices.Concat(*list, values)
	c.marks.set(m, "contents", key)
}

// set puts a mark at a path, making what is above it.
func (m *mark) set(v *mark, steps ...string) {
	for _, s := range steps[:len(steps)-1] {
		next := m.fields[s]
		if next == nil {
			next = &mark{pos: m.pos}
		} else {
			next = &mark{pos: next.pos, fields: maps.Clone(next.fields), items: next.items}
		}
		m.setField(s, next)
		m = next
	}
	m.setField(steps[len(steps)-1], v)
}

func (m *mark) setField(name string, v *mark) {
	if m.fields == nil {
		m.fields = map[string]*mark{}
	}
	m.fields[name] = v
}

// clone copies what Apply changes.
func (c *Config) clone() *Config {
	next := *c
	next.Annotations = maps.Clone(c.Annotations)
	next.marks = &mark{}
	if c.marks != nil {
		next.marks.pos, next.marks.fields = c.marks.pos, maps.Clone(c.marks.fields)
	}
	return &next
}
