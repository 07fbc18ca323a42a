package definition

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// Source is a file that a fetch step unpacks. It is taken and hash-checked
// before the sandbox starts, and is there as [SourcesDir]/File.
type Source struct {
	URI string `json:"uri" yaml:"uri"`
	// SHA256 and SHA512 are what the file's hash must be, in hexadecimal digits
	// as they are written; both empty only when Unchecked.
	SHA256 string `json:"sha256,omitempty" yaml:"sha256,omitempty"`
	SHA512 string `json:"sha512,omitempty" yaml:"sha512,omitempty"`
	// Unchecked is set when the definition says that no hash is known.
	Unchecked bool `json:"unchecked,omitempty" yaml:"unchecked,omitempty"`
	// File is what the file must be called below SourcesDir: "sha256:…",
	// "sha512:…", or for what is unchecked "uri:" and the URI's SHA-256.
	File string `json:"file" yaml:"file"`
	// Name is what the step calls its copy: the URI's last element.
	Name string `json:"name" yaml:"name"`
	// Extract unpacks the file as an archive into Directory, without the first
	// StripComponents elements of its paths; Delete then removes the copy.
	Extract         bool   `json:"extract,omitempty" yaml:"extract,omitempty"`
	StripComponents int    `json:"strip-components,omitempty" yaml:"strip-components,omitempty"`
	Directory       string `json:"directory,omitempty" yaml:"directory,omitempty"`
	Delete          bool   `json:"delete,omitempty" yaml:"delete,omitempty"`
	// Timeout and DNSTimeout are in seconds; Retries is the number of tries.
	Timeout    int `json:"timeout,omitempty" yaml:"timeout,omitempty"`
	DNSTimeout int `json:"dns-timeout,omitempty" yaml:"dns-timeout,omitempty"`
	Retries    int `json:"retries,omitempty" yaml:"retries,omitempty"`
	// PURLName and PURLVersion describe the source in an SBOM.
	PURLName    string `json:"purl-name,omitempty" yaml:"purl-name,omitempty"`
	PURLVersion string `json:"purl-version,omitempty" yaml:"purl-version,omitempty"`
	Reason      string `json:"reason,omitempty" yaml:"reason,omitempty"`
}

// GitSource is a checkout that a git-checkout step unpacks. It is made before
// the sandbox starts, its .git directory included, and is there as a tar
// archive, [SourcesDir]/File.
type GitSource struct {
	Repository string `json:"repository" yaml:"repository"`
	// Branch and Tag exclude each other; without either it is the HEAD.
	Branch string `json:"branch,omitempty" yaml:"branch,omitempty"`
	Tag    string `json:"tag,omitempty" yaml:"tag,omitempty"`
	// Commit is what must be checked out: for a tag its commit or the tag
	// object, for a branch any commit of its history, or its tip when TipOnly.
	Commit  string `json:"commit,omitempty" yaml:"commit,omitempty"`
	TipOnly bool   `json:"tip-only,omitempty" yaml:"tip-only,omitempty"`
	// Depth is the number of commits of history; -1 is all.
	Depth             int  `json:"depth" yaml:"depth"`
	Submodules        bool `json:"submodules,omitempty" yaml:"submodules,omitempty"`
	ShallowSubmodules bool `json:"shallow-submodules,omitempty" yaml:"shallow-submodules,omitempty"`
	SubmoduleJobs     int  `json:"submodule-jobs,omitempty" yaml:"submodule-jobs,omitempty"`
	// SparsePaths are the directories to check out; empty is all.
	SparsePaths []string     `json:"sparse-paths,omitempty" yaml:"sparse-paths,omitempty"`
	CherryPicks []CherryPick `json:"cherry-picks,omitempty" yaml:"cherry-picks,omitempty"`
	// File is what the archive must be called below SourcesDir: "git:" and the
	// SHA-256 of the canonical form of all of the above.
	File string `json:"file" yaml:"file"`
	// Destination is where the step unpacks it, from its working directory.
	Destination string `json:"destination" yaml:"destination"`
	// Retries is how often to try again; InitialBackoff and MaxBackoff are in
	// seconds.
	Retries        int    `json:"retries,omitempty" yaml:"retries,omitempty"`
	InitialBackoff int    `json:"initial-backoff,omitempty" yaml:"initial-backoff,omitempty"`
	MaxBackoff     int    `json:"max-backoff,omitempty" yaml:"max-backoff,omitempty"`
	TypeHint       string `json:"type-hint,omitempty" yaml:"type-hint,omitempty"`
	Reason         string `json:"reason,omitempty" yaml:"reason,omitempty"`
}

// CherryPick is a commit to apply on top.
type CherryPick struct {
	// Branch is one of the repository that has the commit; may be empty.
	Branch  string `json:"branch,omitempty" yaml:"branch,omitempty"`
	Commit  string `json:"commit" yaml:"commit"`
	Comment string `json:"comment" yaml:"comment"`
}

// source makes the source of a fetch or git-checkout step.
func (c *compiler) source(p *Pipeline, where at, uses string, s scope) {
	in := &inputReader{c: c, where: where, values: s.inputs}
	switch uses {
	case "fetch":
		p.Source = in.fetch()
		s.setFile(p, p.Source.File)
	case "git-checkout":
		p.Git = in.git()
		s.setFile(p, p.Git.File)
	}
}

// fileMark stands in the two pipelines' scripts where the name of the file
// goes, which follows from the inputs.
const fileMark = "@CAIRN_SOURCE@"

func (s scope) setFile(p *Pipeline, file string) {
	p.Runs = strings.ReplaceAll(p.Runs, fileMark, SourcesDir+"/"+file)
	for i := range p.Pipeline {
		s.setFile(&p.Pipeline[i], file)
	}
}

// inputReader reads the inputs of a step and reports those it cannot.
type inputReader struct {
	c      *compiler
	where  at
	values map[string]string
}

func (r *inputReader) text(name string) string { return r.values["inputs."+name] }

func (r *inputReader) bad(name, expected string) {
	r.c.add(r.where.problem("impossible value", fmt.Sprintf("found %q, expected %s", shorten(r.text(name)), expected), "", "with", name))
}

func (r *inputReader) number(name string, least int) int {
	n, err := strconv.Atoi(strings.TrimSpace(r.text(name)))
	if err != nil || n < least {
		r.bad(name, fmt.Sprintf("a whole number from %d", least))
	}
	return n
}

func (r *inputReader) truth(name string) bool {
	v := r.text(name)
	if v != "true" && v != "false" {
		r.bad(name, "true or false")
	}
	return v == "true"
}

func (r *inputReader) fetch() *Source {
	out := &Source{
		URI: r.text("uri"), SHA256: r.text("expected-sha256"), SHA512: r.text("expected-sha512"),
		Unchecked: r.text("expected-none") != "", Extract: r.text("extract") == "true", Delete: r.text("delete") == "true",
		Directory: r.text("directory"), StripComponents: r.number("strip-components", 0),
		Timeout: r.number("timeout", 0), DNSTimeout: r.number("dns-timeout", 0), Retries: r.number("retry-limit", 0),
		PURLName: r.text("purl-name"), PURLVersion: r.text("purl-version"), Reason: r.text("reason"),
	}
	out.Name = path.Base(out.URI)
	u, err := url.Parse(out.URI)
	if out.URI != "" && (err != nil || u.Scheme == "" || out.Name == "." || out.Name == "/" || out.Name == "..") {
		r.bad("uri", "a URL that ends in a file name")
	}
	switch {
	case out.Unchecked:
		sum := sha256.Sum256([]byte(out.URI))
		out.File = "uri:" + hex.EncodeToString(sum[:])
	case out.SHA256 != "":
		out.File = "sha256:" + strings.ToLower(out.SHA256)
	case out.SHA512 != "":
		out.File = "sha512:" + strings.ToLower(out.SHA512)
	default:
		r.c.add(r.where.problem("no hash", "expected expected-sha256 or expected-sha512", "expected-none: true takes whatever comes", "with"))
	}
	return out
}

func (r *inputReader) git() *GitSource {
	out := &GitSource{
		Repository: r.text("repository"), Branch: r.text("branch"), Tag: r.text("tag"), Commit: r.text("expected-commit"),
		TipOnly: r.truth("expected-commit-is-branch-tip"), Submodules: r.truth("recurse-submodules"),
		ShallowSubmodules: r.truth("shallow-submodules"), SubmoduleJobs: r.number("submodule-jobs", 0),
		SparsePaths: strings.Fields(r.text("sparse-paths")), Destination: r.text("destination"),
		Retries: r.number("max-retries", 0), InitialBackoff: r.number("initial-backoff", 0), MaxBackoff: r.number("max-backoff", 0),
		TypeHint: r.text("type-hint"), Reason: r.text("reason"),
	}
	if out.Branch != "" && out.Tag != "" {
		r.c.add(r.where.problem("branch and tag", "expected one of them", "", "with", "tag"))
	}
	if out.TipOnly && (out.Branch == "" || out.Tag != "" || out.Commit == "") {
		r.bad("expected-commit-is-branch-tip", "it beside branch and expected-commit, without tag")
	}
	out.Depth = r.depth(out)
	out.CherryPicks = r.cherryPicks()
	request := *out
	request.Destination, request.Retries, request.InitialBackoff, request.MaxBackoff = "", 0, 0, 0
	request.TypeHint, request.Reason, request.SubmoduleJobs = "", "", 0
	canonical, _ := json.Marshal(request) // cannot fail: texts and numbers
	sum := sha256.Sum256(canonical)
	out.File = "git:" + hex.EncodeToString(sum[:])
	return out
}

// depth gives one commit, or all where the commit may be anywhere in a branch.
func (r *inputReader) depth(g *GitSource) int {
	if r.text("depth") != "unset" {
		return r.number("depth", -1)
	}
	if g.Branch != "" && g.Commit != "" && !g.TipOnly {
		return -1
	}
	return 1
}

// cherryPicks reads lines of "[branch/]commit: comment"; "#" begins a remark.
func (r *inputReader) cherryPicks() []CherryPick {
	var out []CherryPick
	for line := range strings.SplitSeq(r.text("cherry-picks"), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		ref, comment, ok := strings.Cut(line, ":")
		ref, comment = strings.TrimSpace(ref), strings.TrimSpace(comment)
		if !ok || ref == "" || comment == "" {
			r.c.add(r.where.problem("impossible value", fmt.Sprintf("found line %q, expected \"[branch/]commit: comment\"", shorten(line)), "", "with", "cherry-picks"))
			continue
		}
		pick := CherryPick{Commit: ref, Comment: strings.Join(strings.Fields(comment), " ")}
		if i := strings.LastIndexByte(ref, '/'); i >= 0 {
			pick.Branch, pick.Commit = ref[:i], ref[i+1:]
		}
		out = append(out, pick)
	}
	return out
}

// SourceUse is a source, and whose step unpacks it.
type SourceUse struct {
	Package string `json:"package" yaml:"package"`
	// Test is set when the step is one of the package's test.
	Test bool `json:"test,omitempty" yaml:"test,omitempty"`
	// Dir is the directory of the sandbox that the step runs in.
	Dir string `json:"directory" yaml:"directory"`
	// One of Source and Git is set.
	Source *Source    `json:"source,omitempty" yaml:"source,omitempty"`
	Git    *GitSource `json:"git,omitempty" yaml:"git,omitempty"`
}

// addSources lists the sources in the order that their steps run: the main
// package's, each subpackage's, then those of tests. Steps that are skipped are
// left out.
func (b *Build) addSources() {
	b.addSourcesOf(b.Package.Name, b.Pipeline, false)
	for _, s := range b.Subpackages {
		b.addSourcesOf(s.Name, s.Pipeline, false)
	}
	if b.Test != nil {
		b.addSourcesOf(b.Package.Name, b.Test.Pipeline, true)
	}
	for _, s := range b.Subpackages {
		if s.Test != nil {
			b.addSourcesOf(s.Name, s.Test.Pipeline, true)
		}
	}
}

func (b *Build) addSourcesOf(name string, list []Pipeline, test bool) {
	for i := range list {
		p := &list[i]
		if p.Skip {
			continue
		}
		if p.Source != nil || p.Git != nil {
			b.Sources = append(b.Sources, SourceUse{name, test, unpackDir(p), p.Source, p.Git})
		}
		b.addSourcesOf(name, p.Pipeline, test)
	}
}

// unpackDir is where the script of a fetch or git-checkout step runs, which is
// the step below it.
func unpackDir(p *Pipeline) string {
	if len(p.Pipeline) > 0 {
		return p.Pipeline[0].Dir()
	}
	return p.Dir()
}
