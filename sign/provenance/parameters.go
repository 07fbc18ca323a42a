package provenance

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
)

// external are the parameters that somebody gave and that decide the bytes of
// the image. They are complete: the same ones give the same image.
type external struct {
	// Config is the configuration file, Includes what it includes.
	Config   file   `json:"config"`
	Includes []file `json:"includes,omitempty"`
	// Files are those of the files key, inline and local.
	Files []imageFile `json:"files,omitempty"`
	// Slices are the files that define slices of packages.
	Slices []file `json:"slices,omitempty"`
	// App are the sources of the app key; the digest is over the tree's archive.
	App []imageFile `json:"app,omitempty"`
	// IncludePaths are directories that files were looked for in.
	IncludePaths  []string `json:"includePaths,omitempty"`
	Architectures []string `json:"architectures"`
	Lock          lockFile `json:"lock"`
	// Flags are what the command line changed, each absent when it did not.
	Flags flags `json:"flags"`
	// Source is where the configuration is from, "URL@REVISION", when known.
	Source string `json:"source,omitempty"`
}

type file struct {
	Path   string    `json:"path"`
	Digest digestSet `json:"digest"`
}

type imageFile struct {
	Path   string    `json:"path"` // in the image
	Source string    `json:"source,omitempty"`
	Digest digestSet `json:"digest"`
}

// lockFile pins all packages.
type lockFile struct {
	Digest digestSet `json:"digest"` // of the file, in its canonical form
	// ID is the digest that the lock says of itself, as cairn prove prints it.
	ID string `json:"id,omitempty"`
	// Given: the build was given this lock, and did not make it.
	Given bool `json:"given"`
}

// flags are the options of the build that change bytes.
type flags struct {
	Repositories      []string           `json:"repositoryAppend,omitempty"`
	BuildRepositories []string           `json:"buildRepositoryAppend,omitempty"`
	Keyring           []string           `json:"keyringAppend,omitempty"`
	Packages          []string           `json:"packageAppend,omitempty"`
	Annotations       map[string]string  `json:"annotations,omitempty"`
	Archs             []string           `json:"arch,omitempty"`
	VCSURL            string             `json:"vcsUrl,omitempty"`
	BuildDate         string             `json:"buildDate,omitempty"`
	Author            string             `json:"author,omitempty"`
	Compat            string             `json:"compat,omitempty"`
	Weights           map[string]float64 `json:"weights,omitempty"`
	// Unsafe are the checks that were switched off, or that the lock says were
	// when it was made.
	Unsafe []string `json:"unsafe,omitempty"`
}

// internal are parameters that the builder chose.
type internal struct {
	Cairn    string `json:"cairn,omitempty"` // version
	Strategy string `json:"layerStrategy"`
	Budget   int    `json:"layerBudget"`
	// Created is the creation time in the image, which follows from the
	// packages unless it was given.
	Created string `json:"created"`
}

func internalOf(in *Input) internal {
	strategy, budget := in.Config.Layers()
	return internal{Cairn: in.Options.Version, Strategy: strategy, Budget: budget, Created: in.Result.Created.UTC().Format(time.RFC3339)}
}

func externalOf(in *Input) (external, error) {
	c := in.Config
	if len(c.Sources) == 0 {
		return external{}, fmt.Errorf("%w: the configuration is from no file", ErrIncomplete)
	}
	e := external{Config: fileOf(&c.Sources[0]), IncludePaths: c.IncludePaths(), Flags: flagsOf(in), Source: c.VCSUrl}
	for i := range c.Sources[1:] {
		e.Includes = append(e.Includes, fileOf(&c.Sources[i+1]))
	}
	for i := range c.Files {
		f := &c.Files[i]
		e.Files = append(e.Files, imageFile{Path: f.Path, Source: f.Opened, Digest: sum(f.Bytes)})
	}
	for _, f := range c.SliceFiles() {
		e.Slices = append(e.Slices, file{Path: f.Path, Digest: sum(f.Bytes)})
	}
	for i := range c.App {
		a := &c.App[i]
		e.App = append(e.App, imageFile{Path: a.Path, Source: a.Opened, Digest: digestSet{"sha256": a.Tree.Digest().Hex()}})
	}
	for _, a := range c.Architectures() {
		e.Architectures = append(e.Architectures, a.APK)
	}
	text, err := in.Result.Lock.Marshal()
	if err != nil {
		return external{}, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	e.Lock = lockFile{Digest: sum(text), Given: in.Options.Lock != nil}
	if l, err := lock.Parse(text); err == nil && l.Cairn != nil {
		e.Lock.ID = l.Cairn.Digest.String()
	}
	return e, nil
}

func fileOf(s *config.Source) file { return file{Path: s.Path, Digest: sum(s.Text)} }

func sum(b []byte) digestSet { return digestSet{"sha256": apk.SHA256(sha256.Sum256(b)).Hex()} }

// flagsOf gathers what the command line changed. Credentials in URLs are left
// out, as everywhere.
func flagsOf(in *Input) flags {
	o := &in.Options
	f := flags{Author: o.Author, Compat: o.Compat, Weights: o.Weights, Unsafe: in.Result.Unsafe, BuildDate: stamp(o.Created)}
	for _, a := range in.Config.Applied() {
		f.Repositories = append(f.Repositories, redact(a.Repositories)...)
		f.BuildRepositories = append(f.BuildRepositories, redact(a.BuildRepositories)...)
		f.Keyring = append(f.Keyring, redact(a.Keyring)...)
		f.Packages = append(f.Packages, a.Packages...)
		f.Archs = append(f.Archs, a.Archs...)
		if a.VCSURL != "" {
			f.VCSURL = a.VCSURL
		}
		for k, v := range a.Annotations {
			if f.Annotations == nil {
				f.Annotations = map[string]string{}
			}
			f.Annotations[k] = v
		}
	}
	return f
}

// redact spells repositories and keys as locks do.
func redact(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, redactLine(s))
	}
	return out
}

func redactLine(s string) string {
	if strings.Contains(s, "-----BEGIN") {
		return "inline " + apk.SHA256(sha256.Sum256([]byte(s))).String()
	}
	if tag, url, ok := cutTag(s); ok {
		return tag + " " + repository.Redact(url)
	}
	return repository.Redact(s)
}
