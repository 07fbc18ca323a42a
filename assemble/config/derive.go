package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/shlex"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/spelling"
)

// The layering strategies.
const (
	// StrategyPackage gives the packages that are expected to cost most a layer
	// of their own, taken as it is.
	StrategyPackage = "package"
	// StrategyOrigin keeps the packages of one origin together, as apko does.
	StrategyOrigin = "origin"
	// StrategySingle makes one layer.
	StrategySingle = "single"

	// DefaultBudget is the number of layers when the configuration gives none.
	DefaultBudget = 100
	// MaxBudget is the number of layers that every container engine can stack.
	MaxBudget = 127
)

// Repository is one line of a repositories list.
type Repository struct {
	Tag string // without "@"; empty for most
	URL string // or directory; credentials are not hidden
}

// String returns the line as /etc/apk/repositories has it.
func (r Repository) String() string {
	if r.Tag == "" {
		return r.URL
	}
	return "@" + r.Tag + " " + r.URL
}

// parseRepository splits a line that repositoryProblem has nothing against.
func parseRepository(line string) Repository {
	if tag, u, ok := strings.Cut(line, " "); ok {
		return Repository{Tag: strings.TrimPrefix(tag, "@"), URL: u}
	}
	return Repository{URL: line}
}

func repositories(lists ...[]string) []Repository {
	var out []Repository
	for _, line := range slices.Concat(lists...) {
		if r := parseRepository(line); !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// BuildSources returns the repositories that packages are taken from:
// build_repositories, then repositories, each once, in their order.
func (c *Config) BuildSources() []Repository {
	return repositories(c.Contents.BuildRepositories, c.Contents.Repositories)
}

// RuntimeRepositories returns the lines of the image's /etc/apk/repositories:
// repositories and runtime_repositories, each once, sorted as apko does.
func (c *Config) RuntimeRepositories() []Repository {
	lines := slices.Concat(c.Contents.Repositories, c.Contents.RuntimeOnlyRepositories)
	slices.Sort(lines)
	return repositories(lines)
}

// Keyring returns the URLs and files of the keys that indexes must be signed
// with, each once, sorted.
func (c *Config) Keyring() []string {
	list := slices.Clone(c.Contents.Keyring)
	slices.Sort(list)
	return slices.Compact(list)
}

// RepositoryKeys returns the keyrings of single repositories by URL, written as
// in [Config.BuildSources]. The error is an *[Errors] naming those whose
// repository the configuration does not use, which shows only when all
// overrides are applied: a misspelt URL must not silently fall back to
// contents.keyring.
func (c *Config) RepositoryKeys() (map[string][]string, error) {
	var r report
	r.rank(c)
	w := whole{Config: c, report: &r}
	var urls []string
	for _, s := range c.BuildSources() {
		urls = append(urls, s.URL)
	}
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Keyrings)) {
		u := trimSlashes(name)
		if !slices.Contains(urls, u) {
			hint := ""
			if near := spelling.Nearest(u, urls); near != "" {
				hint = "did you mean " + redactURL(near) + "?"
			}
			r.add(w.at("no such repository", "found "+strconv.Quote(redactURL(name))+", expected one of repositories or build_repositories", hint, "keyrings", name))
		}
		out[u] = slices.Concat(out[u], c.Keyrings[name])
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return out, nil
}

// World returns the requested packages as /etc/apk/world has them: each once,
// sorted by their text. The error is an *[Errors] naming pins ("pkg@tag") whose
// tag no repository has; that shows only when all overrides are applied.
func (c *Config) World() ([]apk.Dependency, error) {
	var r report
	r.rank(c)
	w := whole{Config: c, report: &r}
	tags := map[string]bool{}
	var known []string
	for _, s := range c.BuildSources() {
		if s.Tag != "" && !tags[s.Tag] {
			tags[s.Tag] = true
			known = append(known, "@"+s.Tag)
		}
	}
	var out []apk.Dependency
	for i, p := range c.Contents.Packages {
		d, detail := parsePackage(p)
		steps := []string{"contents", "packages", index(i)}
		switch {
		case detail != "":
			r.add(w.at("invalid package", detail, "", steps...))
		case d.Pin != "" && !tags[d.Pin]:
			expected := "expected a repository written \"@" + d.Pin + " URL\""
			if len(known) > 0 {
				expected += "; there are " + strings.Join(known, ", ")
			}
			r.add(w.at("unknown tag", "found "+strconv.Quote(p)+", "+expected, "", steps...))
		}
		out = append(out, d)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b apk.Dependency) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out), nil
}

// EntrypointArgs returns the words of the entrypoint: a shell fragment under
// /bin/sh -c, or the command split as a shell would; nil when there is none.
func (c *Config) EntrypointArgs() []string {
	if f := c.Entrypoint.ShellFragment; f != "" {
		return []string{"/bin/sh", "-c", f}
	}
	return words(c.Entrypoint.Command)
}

// CmdArgs returns the words of cmd; nil when there is none.
func (c *Config) CmdArgs() []string { return words(c.Cmd) }

// words splits a command line that was checked before.
func words(line string) []string {
	if line == "" {
		return nil
	}
	out, err := shlex.Split(line)
	if err != nil {
		return nil
	}
	return out
}

// Env returns the environment as "NAME=value", sorted, with apko's defaults
// for PATH and SSL_CERT_FILE.
func (c *Config) Env() []string {
	env := map[string]string{
		"PATH":          "/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin",
		"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
	}
	maps.Copy(env, c.Environment)
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// User returns what the image runs as: run-as, or the number of the user of
// that name in accounts. A name that only a package's /etc/passwd knows is
// returned as it is; apko looks there first.
func (c *Config) User() string {
	for _, u := range c.Accounts.Users {
		if u.UserName == c.Accounts.RunAs {
			return strconv.FormatUint(uint64(u.UID), 10)
		}
	}
	return c.Accounts.RunAs
}

// Users returns the accounts to create, each once, with the defaults for gid,
// shell and homedir filled in.
func (c *Config) Users() []types.User {
	var out []types.User
	for _, u := range c.Accounts.Users {
		u = completeUser(u)
		if !slices.ContainsFunc(out, func(o types.User) bool { return o.UserName == u.UserName && sameUser(o, u) }) {
			out = append(out, u)
		}
	}
	return out
}

func completeUser(u types.User) types.User {
	if u.GID == nil {
		gid := u.UID
		u.GID = &gid
	}
	if u.Shell == "" {
		u.Shell = defaultShell
	}
	if u.HomeDir == "" {
		u.HomeDir = "/home/" + u.UserName
	}
	return u
}

// Layers returns the layering strategy and the number of layers it may make.
func (c *Config) Layers() (strategy string, budget int) {
	strategy, budget = StrategyPackage, DefaultBudget
	if c.Layering != nil && c.Layering.Strategy != "" {
		strategy = c.Layering.Strategy
	}
	if c.Layering != nil && c.Layering.Budget != 0 {
		budget = c.Layering.Budget
	}
	if strategy == StrategySingle {
		budget = 1
	}
	return strategy, budget
}

// PermissionsGiven reports whether entry i of Paths says permissions. Zero and
// not given are one in apko's type, and mean different things for a symlink.
func (c *Config) PermissionsGiven(i int) bool {
	if c.marks == nil {
		return c.Paths[i].Permissions != 0
	}
	return c.marks.has("paths", index(i), "permissions")
}

// ImageAnnotations returns the annotations with those made of vcs-url. A
// vcs-url that is written replaces org.opencontainers.image.source and
// .revision, as in apko; one that was only found in git does not.
func (c *Config) ImageAnnotations() map[string]string {
	out := maps.Clone(c.Annotations)
	if out == nil {
		out = map[string]string{}
	}
	source, revision, ok := splitVCS(c.VCSUrl)
	if !ok {
		return out
	}
	for k, v := range map[string]string{
		"org.opencontainers.image.source":   source,
		"org.opencontainers.image.revision": revision,
	} {
		if _, written := out[k]; !written || !c.vcsProbed {
			out[k] = v
		}
	}
	return out
}

// splitVCS splits "URL@REVISION" at the last "@" that is not part of the URL.
func splitVCS(v string) (source, revision string, ok bool) {
	i := strings.LastIndexByte(v, '@')
	if i <= 0 || i == len(v)-1 || strings.Contains(v[i:], "/") {
		return "", "", false
	}
	return v[:i], v[i+1:], true
}
