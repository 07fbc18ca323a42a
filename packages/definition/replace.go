package definition

import (
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/definition/condition"
)

// replacer is the first of the two ways variables are substituted: while
// reading, the exact text ${{name}} is replaced where name is known. Anything
// else, white space inside the braces too, stays as it is and is left to the
// second way, condition.Substitute.
type replacer struct {
	values map[string]string // by name
}

// replace replaces once: values are not looked at again.
func (r *replacer) replace(s string) string {
	i := strings.Index(s, "${{")
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i >= 0 {
		b.WriteString(s[:i])
		s = s[i:]
		name, rest, ok := strings.Cut(s[3:], "}}")
		if value, known := r.values[name]; ok && known {
			b.WriteString(value)
			s = rest
		} else {
			b.WriteString(s[:1])
			s = s[1:]
		}
		i = strings.Index(s, "${{")
	}
	b.WriteString(s)
	return b.String()
}

// in replaces in place.
func (r *replacer) in(texts ...*string) {
	for _, s := range texts {
		*s = r.replace(*s)
	}
}

func (r *replacer) list(in []string) []string {
	if in == nil {
		return nil
	}
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = r.replace(s)
	}
	return out
}

// values replaces in the values of a map, not in its keys.
func (r *replacer) mapping(in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		out[k] = r.replace(v)
	}
	return out
}

func (r *replacer) pkg(p *Package) {
	r.in(&p.Name, &p.Version, &p.Description, &p.URL)
	p.Annotations = r.mapping(p.Annotations)
	p.TargetArchitecture = r.list(p.TargetArchitecture)
	for i := range p.Copyright {
		c := &p.Copyright[i]
		c.Paths = r.list(c.Paths)
		r.in(&c.License, &c.LicensePath)
	}
	p.Dependencies = r.dependencies(p.Dependencies)
	p.Scriptlets = r.scriptlets(p.Scriptlets)
}

func (r *replacer) dependencies(in Dependencies) Dependencies {
	in.Runtime, in.Provides, in.Replaces = r.list(in.Runtime), r.list(in.Provides), r.list(in.Replaces)
	r.in(&in.ProviderPriority, &in.ReplacesPriority)
	return in
}

func (r *replacer) scriptlets(in *Scriptlets) *Scriptlets {
	if in == nil {
		return nil
	}
	out := *in
	out.Trigger.Paths = r.list(in.Trigger.Paths)
	r.in(&out.Trigger.Script, &out.PreInstall, &out.PostInstall, &out.PreDeinstall, &out.PostDeinstall, &out.PreUpgrade, &out.PostUpgrade)
	return &out
}

func (r *replacer) pipelines(in []Pipeline) []Pipeline {
	if in == nil {
		return nil
	}
	out := make([]Pipeline, len(in))
	for i, p := range in {
		r.in(&p.Name, &p.Runs, &p.If, &p.WorkDir)
		p.With, p.Environment = r.mapping(p.With), r.mapping(p.Environment)
		p.Pipeline = r.pipelines(p.Pipeline)
		if p.Needs != nil {
			p.Needs = &Needs{Packages: r.list(p.Needs.Packages)}
		}
		out[i] = p
	}
	return out
}

func (r *replacer) subpackage(s Subpackage, commit string) Subpackage {
	r.in(&s.If, &s.Name, &s.Description, &s.URL)
	s.Range = ""
	s.Pipeline = r.pipelines(s.Pipeline)
	s.Dependencies = r.dependencies(s.Dependencies)
	s.Scriptlets = r.scriptlets(s.Scriptlets)
	s.Annotations = r.mapping(s.Annotations)
	s.Test = r.test(s.Test)
	if s.Commit == "" {
		s.Commit = commit
	}
	return s
}

func (r *replacer) test(in *Test) *Test {
	if in == nil {
		return nil
	}
	return &Test{Environment: r.environment(in.Environment), Pipeline: r.pipelines(in.Pipeline)}
}

func (r *replacer) environment(e Environment) Environment {
	c := &e.Contents
	c.BuildRepositories, c.Repositories = r.list(c.BuildRepositories), r.list(c.Repositories)
	c.RuntimeOnlyRepositories = r.list(c.RuntimeOnlyRepositories)
	c.Keyring, c.Packages = r.list(c.Keyring), r.list(c.Packages)
	r.in(&e.Entrypoint.Command, &e.Entrypoint.ShellFragment, &e.Cmd, &e.StopSignal, &e.WorkDir, &e.VCSUrl)
	e.Entrypoint.Services = r.mapping(e.Entrypoint.Services)
	e.Environment, e.Annotations = r.mapping(e.Environment), r.mapping(e.Annotations)
	e.Volumes = r.list(e.Volumes)
	e.Accounts.Users = append([]User(nil), e.Accounts.Users...)
	e.Accounts.Groups = append([]Group(nil), e.Accounts.Groups...)
	return e
}

func (r *replacer) update(u *Update) {
	if m := u.ReleaseMonitor; m != nil {
		r.in(&m.VersionFilterContains, &m.VersionFilterPrefix)
	}
	if m := u.GitHub; m != nil {
		r.in(&m.Identifier, &m.TagFilter, &m.TagFilterPrefix, &m.TagFilterContains)
	}
	if m := u.Git; m != nil {
		r.in(&m.TagFilterPrefix, &m.TagFilterContains)
	}
}

// packageValues are the variables that are known while reading.
func (d *Definition) packageValues() map[string]string {
	p := d.Package
	out := map[string]string{
		"package.name":         p.Name,
		"package.version":      p.Version,
		"package.description":  p.Description,
		"package.epoch":        strconv.FormatUint(p.Epoch, 10),
		"package.full-version": p.FullVersion(),
	}
	for k, v := range d.Vars {
		out["vars."+k] = v
	}
	return out
}

// FullVersion is VERSION-rEPOCH.
func (p Package) FullVersion() string {
	return p.Version + "-r" + strconv.FormatUint(p.Epoch, 10)
}

// lookupIn makes a lookup of a map by name.
func lookupIn(values map[string]string) condition.Lookup {
	return func(name string) (string, error) {
		if v, ok := values[name]; ok {
			return v, nil
		}
		return "", condition.Undefined(name)
	}
}
