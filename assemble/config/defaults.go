package config

import (
	"slices"
	"strings"
)

// normalize brings values into the form apko gives them before anything looks
// at several of them.
func (c *Config) normalize() {
	for _, list := range []*[]string{&c.Contents.Repositories, &c.Contents.BuildRepositories, &c.Contents.RuntimeOnlyRepositories} {
		trimmed := make([]string, 0, len(*list))
		for _, r := range *list {
			trimmed = append(trimmed, trimSlashes(r))
		}
		*list = trimmed
	}
	c.Archs = expandArchs(c.Archs)
}

// trimSlashes drops the slashes at the end of a repository, except of one that
// consists of nothing else.
func trimSlashes(r string) string {
	if t := strings.TrimRight(r, "/"); t != "" && !strings.HasSuffix(t, " ") && !strings.HasSuffix(t, ":") {
		return t
	}
	return r
}

// setDefaults does what apko's validation does to a valid configuration.
func (c *Config) setDefaults() {
	for i := range c.Accounts.Users {
		if u := &c.Accounts.Users[i]; u.HomeDir == "" {
			u.HomeDir = "/home/" + u.UserName
		}
	}
	if c.Entrypoint.Type == serviceBundle {
		c.Entrypoint.Command = superviseCommand
		if !slices.Contains(c.Contents.Packages, supervisor) {
			c.Contents.Packages = append(c.Contents.Packages, supervisor)
		}
	}
}

// rank lets a report sort problems by the configuration's files.
func (r *report) rank(c *Config) {
	for _, s := range c.Sources {
		r.opened(s.Path)
	}
}
