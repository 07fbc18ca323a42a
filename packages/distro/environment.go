package distro

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/solve"
)

// definitionDigest is of everything that a definition says, but for the commit
// that it is from, where its pipelines lie, and how new versions are found: none
// of them changes what is built.
func definitionDigest(b *definition.Build) (string, error) {
	c := *b
	c.Package.Commit = ""
	c.Update = definition.Update{}
	c.Subpackages = slices.Clone(b.Subpackages)
	for i := range c.Subpackages {
		c.Subpackages[i].Commit = ""
	}
	c.Pipelines = slices.Clone(b.Pipelines)
	for i := range c.Pipelines {
		c.Pipelines[i].File = ""
	}
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(&c); err != nil {
		return "", fmt.Errorf("%s: %w", b.File, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// requestDigest is of all that the solution of an environment depends on.
func (r *run) requestDigest(j *job) string {
	d := newDigest()
	d.add("packages", j.build.Environment.Contents.Packages...)
	for i := range r.o.Repositories {
		if r.serves(i, j) {
			d.add("repository", r.indexes[2*i:2*i+2]...)
		}
	}
	j.before.each(func(i int) { d.add("built", r.plan.jobs[i].out) })
	return d.String()
}

// serves tells whether a repository is there for a build.
func (r *run) serves(i int, j *job) bool {
	return r.o.Repositories[i].For == "" || r.o.Repositories[i].For == j.build.Package.Name
}

// indexDigests are two texts for each repository, in their order: its digest and its
// tag. An index without a digest is its packages.
func indexDigests(repositories []Repository) []string {
	var out []string
	for _, repo := range repositories {
		sum := repo.SHA256.Hex()
		if repo.SHA256.IsZero() {
			d := newDigest()
			for i := range repo.Index.Len() {
				d.add("package", string(apk.AppendIndexEntry(nil, repo.Index.Package(i))))
			}
			sum = d.String()
		}
		out = append(out, sum, repo.Tag)
	}
	return out
}

// environment solves the environment of a build. What was built before is taken
// as built wherever the request allows it.
func (r *run) environment(ctx context.Context, j *job) ([]Input, error) {
	req := solve.Request{Arch: r.o.Arch, Prefer: map[string]string{}, Repositories: []solve.Repository{{Index: view{r.pool, j.before}, URL: "built here"}}}
	for _, text := range j.build.Environment.Contents.Packages {
		d, err := apk.ParseDependency(text)
		if err != nil {
			return nil, fmt.Errorf("environment: %w", err)
		}
		req.World = append(req.World, d)
	}
	positions := []int{-1}
	for i, repo := range r.o.Repositories {
		if r.serves(i, j) {
			positions = append(positions, i)
			req.Repositories = append(req.Repositories, solve.Repository{Index: repo.Index, URL: repo.URL, Tag: repo.Tag})
		}
	}
	j.before.each(func(i int) {
		for _, name := range r.plan.jobs[i].names {
			req.Prefer[name] = r.plan.jobs[i].build.Package.FullVersion()
		}
	})
	s, err := solve.Solve(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	out := make([]Input, len(s.Choices))
	for i, c := range s.Choices {
		in := Input{Package: c.Package, Repository: positions[c.Repository]}
		if in.Repository < 0 {
			m := r.madeOf(c.Package.Name)
			in.File, in.SHA256 = filepath.Join(r.state.packages, m.file()), m.SHA256
		}
		out[i] = in
	}
	return out, nil
}

// members says what of an environment counts.
func (r *run) members(env []Input) []member {
	out := make([]member, len(env))
	for i, in := range env {
		out[i] = member{in.Package.Name, in.Package.Version, in.Package.Checksum.String()}
		if in.Repository < 0 {
			out[i].ID = r.madeOf(in.Package.Name).Identity
		}
	}
	return out
}

func environmentDigest(members []member) string {
	d := newDigest()
	for _, m := range members {
		d.add("member", m.Name, m.Version, m.ID)
	}
	return d.String()
}
