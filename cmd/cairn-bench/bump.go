package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	lockfile "github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/tree"
)

// budgets are those that bumps are measured at: a small one, and the default.
var budgets = []int{10, 100}

// bumping measures what a node that has an image pulls when one of its packages gets
// a new version: the layers of the new image that the old one has not. The new version
// is the old one packed again, with the same files at another time.
type bumping struct {
	b     *bench
	dir   string // holds the repository, configurations and caches
	repo  string
	key   *apktest.Key
	files []string // of the packages
	index []apk.Package
	in    []int // those that are in the image
}

// pulled are the bytes of an image and, per bump, what of them is pulled.
type pulled struct {
	image int64
	share []float64 // of the image, per package
}

func (p *pulled) average() float64 {
	sum := 0.0
	for _, s := range p.share {
		sum += s
	}
	return sum / float64(max(1, len(p.share)))
}

func (p *pulled) worst() float64 { return slices.Max(append([]float64{0}, p.share...)) }

// bumps measures a case: cairn for every package, apko for some of them, evenly
// spread over the names.
func (b *bench) bumps(ctx context.Context, name, repo string, request []string) error {
	u := &bumping{b: b, dir: filepath.Join(b.work, "bump-"+name)}
	if err := u.prepare(ctx, repo); err != nil {
		return err
	}
	result := map[string]*pulled{}
	for _, budget := range budgets {
		for _, tool := range []string{"cairn", "apko"} {
			config := filepath.Join(u.dir, fmt.Sprintf("%s-%d.yaml", tool, budget))
			layering := fmt.Sprintf("layering:\n  budget: %d\n", budget)
			if tool == "apko" {
				layering += "  strategy: origin\n"
			}
			if err := writeConfig(config, u.repo, filepath.Join(u.repo, keyName), request); err != nil {
				return err
			}
			f, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString(layering)
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
			p, err := u.measure(ctx, tool, config)
			if err != nil {
				return fmt.Errorf("%s at budget %d: %w", tool, budget, err)
			}
			result[fmt.Sprint(tool, budget)] = p
		}
	}
	return u.print(os.Stdout, name, result)
}

// prepare makes a repository of its own, with a key that index after index is signed
// with.
func (u *bumping) prepare(ctx context.Context, repo string) error {
	if err := os.RemoveAll(u.dir); err != nil {
		return err
	}
	u.repo = filepath.Join(u.dir, "repo")
	if err := os.MkdirAll(filepath.Join(u.repo, "x86_64"), 0o755); err != nil {
		return err
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	u.key = &apktest.Key{Name: keyName, Private: private}
	if err := os.WriteFile(filepath.Join(u.repo, keyName), u.key.PublicPEM(), 0o644); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(repo, "x86_64", "*.apk"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, f := range files {
		to := filepath.Join(u.repo, "x86_64", filepath.Base(f))
		if err := os.Link(f, to); err != nil {
			return err
		}
		p, _, err := pack.ReadEntry(ctx, to)
		if err != nil {
			return err
		}
		u.files, u.index = append(u.files, to), append(u.index, *p)
	}
	return u.writeIndex(nil)
}

// writeIndex writes an index with all packages, one of them in a new version: where
// both are there, apko takes the old one of packages with siblings of that version.
func (u *bumping) writeIndex(newer *apk.Package) error {
	list := slices.Clone(u.index)
	for i := range list {
		if newer != nil && list[i].Name == newer.Name {
			list[i] = *newer
		}
	}
	r := apktest.Repository{Arch: "x86_64", Key: u.key}
	return os.WriteFile(filepath.Join(u.repo, "x86_64", "APKINDEX.tar.gz"), r.Index(list), 0o644)
}

// bump adds a new version of a package to the repository; undo takes it out again.
func (u *bumping) bump(ctx context.Context, i int) (undo func() error, err error) {
	old, err := tree.OpenPackage(ctx, u.files[i], tree.PackageOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	s := pack.Spec{Package: u.index[i], Scripts: map[string][]byte{}}
	at := strings.LastIndex(s.Package.Version, "-r")
	release, err := strconv.Atoi(s.Package.Version[at+2:])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u.files[i], err)
	}
	s.Package.Version = fmt.Sprintf("%s-r%d", s.Package.Version[:at], release+1)
	s.Package.BuildTime++
	for name, script := range old.Receipt.Scripts {
		if name = strings.TrimPrefix(name, "."); slices.Contains(pack.Scripts, name) {
			s.Scripts[name] = script
		}
	}
	file := filepath.Join(u.repo, "x86_64", s.Package.Filename())
	if _, err := pack.WriteFile(ctx, file, old.Tree, s, pack.Options{}); err != nil {
		return nil, err
	}
	p, _, err := pack.ReadEntry(ctx, file)
	if err != nil {
		return nil, err
	}
	if err := u.writeIndex(p); err != nil {
		return nil, err
	}
	return func() error { return errors.Join(os.Remove(file), u.writeIndex(nil)) }, nil
}

// measure builds the image, and once more for each package that is bumped.
func (u *bumping) measure(ctx context.Context, tool, config string) (*pulled, error) {
	lock := strings.TrimSuffix(config, ".yaml") + ".lock.json"
	cache := "--cache-dir=" + filepath.Join(u.dir, "cache-"+tool)
	if err := os.MkdirAll(filepath.Join(u.dir, "cache-"+tool), 0o755); err != nil {
		return nil, err
	}
	build := func(update string) (map[v1.Hash]int64, error) {
		out := filepath.Join(u.dir, "out")
		if err := os.RemoveAll(out); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(out, 0o755); err != nil {
			return nil, err
		}
		path := u.b.apko
		if tool == "cairn" {
			path = u.b.cairn
			args := []string{"lock", "--arch=x86_64", cache, config}
			if update != "" {
				args = slices.Insert(args, 1, "--update="+update)
			}
			if _, err := execute(ctx, path, args...); err != nil {
				return nil, err
			}
		}
		if _, err := execute(ctx, path, "build", "--arch=x86_64", "--vcs=false", "--sbom-path="+out, cache, config, "bench:latest", out+"/"); err != nil {
			return nil, err
		}
		return layersOf(out)
	}
	before, err := build("")
	if err != nil {
		return nil, err
	}
	locked, err := os.ReadFile(lock)
	if err != nil && tool == "cairn" {
		return nil, err
	}
	if u.in == nil {
		l, err := lockfile.ReadFile(lock)
		if err != nil {
			return nil, err
		}
		for i := range u.index {
			if slices.ContainsFunc(l.Contents.Packages, func(p lockfile.Package) bool { return p.Name == u.index[i].Name }) {
				u.in = append(u.in, i)
			}
		}
	}
	p := &pulled{}
	for _, size := range before {
		p.image += size
	}
	step := 1
	if tool == "apko" && u.b.bumped > 0 {
		step = max(1, len(u.in)/u.b.bumped)
	}
	for n := 0; n < len(u.in); n += step {
		i := u.in[n]
		undo, err := u.bump(ctx, i)
		if err != nil {
			return nil, err
		}
		after, err := build(u.index[i].Name)
		if err = errors.Join(err, undo()); err != nil {
			return nil, fmt.Errorf("%s: %w", u.index[i].Name, err)
		}
		bytes := int64(0)
		for digest, size := range after {
			if _, had := before[digest]; !had {
				bytes += size
			}
		}
		if bytes == 0 {
			return nil, fmt.Errorf("%s: a new version changed nothing", u.index[i].Name)
		}
		p.share = append(p.share, float64(bytes)/float64(p.image))
		if tool == "cairn" { // every bump is one from the same image
			if err := os.WriteFile(lock, locked, 0o644); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// layersOf are the layers of the image in a layout, with their sizes in bytes.
func layersOf(dir string) (map[v1.Hash]int64, error) {
	out := map[v1.Hash]int64{}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, err
	}
	for len(raw) > 0 {
		var m struct {
			Manifests []v1.Descriptor `json:"manifests"`
			Layers    []v1.Descriptor `json:"layers"`
		}
		if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&m); err != nil {
			return nil, err
		}
		for _, l := range m.Layers {
			out[l.Digest] = l.Size
		}
		if raw = nil; len(m.Manifests) > 0 {
			if raw, err = os.ReadFile(filepath.Join(dir, "blobs", "sha256", m.Manifests[0].Digest.Hex)); err != nil {
				return nil, err
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no layers", dir)
	}
	return out, nil
}

func (u *bumping) print(w io.Writer, name string, result map[string]*pulled) error {
	fmt.Fprintf(w, "\n%s: one package gets a new version: bytes pulled, as a share of the image (%d packages; apko: strategy origin, %d of them)\n",
		name, len(u.in), len(result["apko10"].share))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\tcairn\tapko\tapko / cairn\tcairn, worst\tapko, worst\t\n")
	for _, budget := range budgets {
		c, a := result[fmt.Sprint("cairn", budget)], result[fmt.Sprint("apko", budget)]
		fmt.Fprintf(t, "budget %d\t%.1f %%\t%.1f %%\t%.1f×\t%.1f %%\t%.1f %%\t\n", budget, 100*c.average(), 100*a.average(), a.average()/c.average(), 100*c.worst(), 100*a.worst())
	}
	return t.Flush()
}
