package image

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/shlex"

	"github.com/cairn-dev/cairn/assemble/config"
)

// Settings is what an image says about running it and about itself. It is the
// part of a configuration that does not touch the file tree.
type Settings struct {
	Entrypoint []string
	Cmd        []string
	Env        []string // "NAME=value", sorted
	User       string   // name or number, with an optional ":group"
	WorkDir    string
	Volumes    []string // absolute paths
	StopSignal string
	// Annotations go onto the manifest and, as labels, into the configuration.
	Annotations map[string]string
	// VCSURL is "URL@REVISION"; it becomes the source and revision annotations.
	VCSURL string
	// BaseName and BaseDigest name the image that Input.Base came from.
	BaseName, BaseDigest string
}

// serviceBundle is the command that runs the services of an entrypoint of type
// service-bundle.
const serviceBundle = "/bin/s6-svscan /sv"

// SettingsOf takes from a configuration what concerns the image, with apko's
// meaning: commands are split as a shell would, a shell fragment runs under
// /bin/sh -c, PATH and SSL_CERT_FILE have defaults.
func SettingsOf(c *config.Config) (Settings, error) {
	s := Settings{
		Env:         c.Env(),
		User:        c.Accounts.RunAs,
		WorkDir:     c.WorkDir,
		Volumes:     slices.Clone(c.Volumes),
		StopSignal:  c.StopSignal,
		Annotations: maps.Clone(c.Annotations),
		VCSURL:      c.VCSUrl,
	}
	var err error
	if s.Entrypoint, err = entrypoint(c); err != nil {
		return s, err
	}
	if s.Cmd, err = split("cmd", c.Cmd); err != nil {
		return s, err
	}
	return s, nil
}

func entrypoint(c *config.Config) ([]string, error) {
	e := c.Entrypoint
	switch {
	case e.ShellFragment != "":
		return []string{"/bin/sh", "-c", e.ShellFragment}, nil
	case e.Type == "service-bundle":
		return split("entrypoint", serviceBundle)
	}
	return split("entrypoint: command", e.Command)
}

// split cuts a command line into words; an empty one gives none.
func split(key, command string) ([]string, error) {
	if command == "" {
		return nil, nil
	}
	words, err := shlex.Split(command)
	if err != nil {
		return nil, fmt.Errorf("%s: %.120q: %w", key, command, err)
	}
	return words, nil
}

// source splits VCSURL. apko cuts at the first "@", which takes the host of
// "git@github.com:a/b@c0ffee" for the revision; the last one is meant.
func (s *Settings) source() (url, revision string, ok bool) {
	i := strings.LastIndexByte(s.VCSURL, '@')
	if i <= 0 || i == len(s.VCSURL)-1 || strings.Contains(s.VCSURL[i:], ":") {
		return "", "", false // no revision: "git@host:path" has its "@" elsewhere
	}
	return s.VCSURL[:i], s.VCSURL[i+1:], true
}
