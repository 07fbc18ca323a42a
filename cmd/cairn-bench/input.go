package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

const keyName = "bench.rsa.pub"

// closures are the Debian packages of the real cases.
var closures = map[string][]string{
	"flask": {"python3-flask", "python3", "ca-certificates", "tzdata", "base-files"},
	"java":  {"openjdk-17-jre-headless", "ca-certificates", "tzdata", "base-files"},
}

// buildPeer builds a peer, of chainguard.dev, in a module of its own.
func (b *bench) buildPeer(ctx context.Context, name, version string) (string, error) {
	dir := filepath.Join(b.work, name+"-module")
	bin := filepath.Join(dir, name)
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	mod := fmt.Sprintf(`module scratch

go 1.26.0

require chainguard.dev/%s %s

replace chainguard.dev/sdk => chainguard.dev/sdk v0.1.197
`, name, version)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644); err != nil {
		return "", err
	}
	fmt.Printf("building %s %s …\n", name, version)
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", bin, "chainguard.dev/"+name)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return bin, nil
}

// input makes, or finds, the repository of a case and says what to request.
func (b *bench) input(ctx context.Context, name string) (repo string, packages []string, err error) {
	repo = filepath.Join(b.work, "repo-"+name)
	request := closures[name]
	if name != "synthetic" && request == nil {
		return "", nil, fmt.Errorf("no such case")
	}
	done := filepath.Join(repo, "complete")
	if _, err := os.Stat(done); err != nil {
		if err := os.RemoveAll(repo); err != nil {
			return "", nil, err
		}
		if err := b.make(ctx, name, repo, request); err != nil {
			return "", nil, err
		}
		if err := os.WriteFile(done, nil, 0o644); err != nil {
			return "", nil, err
		}
	}
	if request != nil {
		return repo, request, nil
	}
	for i := range syntheticPackages {
		packages = append(packages, syntheticName(i))
	}
	return repo, packages, nil
}

func (b *bench) make(ctx context.Context, name, repo string, request []string) error {
	if name == "synthetic" {
		return synthesizeApart(ctx, repo)
	}
	for _, tool := range []string{"apt-get", "dpkg-deb", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	script, err := filepath.Abs(b.deb2apk)
	if err != nil {
		return err
	}
	if _, err := os.Stat(script); err != nil {
		return err
	}
	fmt.Printf("converting the closure of %s …\n", strings.Join(request, " "))
	cmd := exec.CommandContext(ctx, "python3", append([]string{script, repo}, request...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return index(repo)
}

const (
	syntheticPackages = 200
	syntheticBytes    = 1_240_000_000 // inflated, of all packages
)

func syntheticName(i int) string { return fmt.Sprintf("bench-%03d", i) }

// spread is the standard deviation of the logarithm of the packages' sizes. It
// is that of the 23,030 packages of Alpine 3.19: a few large packages hold most
// of the bytes.
const spread = 2.05

// quantile is the p-quantile of the normal distribution (by bisection of the
// error function; nothing here is hot).
func quantile(p float64) float64 {
	low, high := -8.0, 8.0
	for range 60 {
		middle := (low + high) / 2
		if 0.5*math.Erfc(-middle/math.Sqrt2) < p {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// synthesizeApart makes the synthetic repository in a process of its own: it
// takes memory, and the peak of a process that starts another one counts as the
// other's.
func synthesizeApart(ctx context.Context, repo string) error {
	fmt.Println("making the synthetic repository …")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, self, "-synthesize", repo).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// synthesize makes packages whose sizes are distributed as real ones are and
// whose content compresses to about 36 %, in two dozen files each.
func synthesize(repo string) error {
	if err := os.MkdirAll(filepath.Join(repo, "x86_64"), 0o755); err != nil {
		return err
	}
	weights := make([]float64, syntheticPackages)
	var sum float64
	for i := range weights {
		weights[i] = math.Exp(spread * quantile((float64(i)+0.5)/syntheticPackages))
		sum += weights[i]
	}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for i := range weights {
		size := int(weights[i] / sum * syntheticBytes)
		spec := apktest.Spec{
			Package: apk.Package{Name: syntheticName(i), Version: "1.0-r0", Arch: "x86_64", License: "MIT", BuildTime: 1700000000},
			Parents: true,
		}
		const files = 24
		for f := range files {
			spec.Files = append(spec.Files, apktest.File{
				Path: fmt.Sprintf("usr/lib/%s/file-%02d", syntheticName(i), f), Content: content(random, size/files), MTime: 1700000000,
			})
		}
		raw, p := apktest.BuildEntry(spec)
		if err := os.WriteFile(filepath.Join(repo, "x86_64", p.Filename()), raw, 0o644); err != nil {
			return err
		}
	}
	return index(repo)
}

// content mixes random bytes with words from a small vocabulary.
func content(random *mathrand.Rand, size int) string {
	words := []string{"library", "function", "return", "version", "symbol", "section", "dynamic", "public", "static", "const"}
	var b strings.Builder
	b.Grow(size + 64)
	for b.Len() < size {
		if random.IntN(100) < 20 {
			for range 8 {
				b.WriteByte(byte(random.Uint32()))
			}
			continue
		}
		b.WriteString(words[random.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.String()[:size]
}

// index writes a signed index over what is in the repository.
func index(repo string) error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	key := &apktest.Key{Name: keyName, Private: private}
	files, err := filepath.Glob(filepath.Join(repo, "x86_64", "*.apk"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, fmt.Errorf("%s: no packages", repo))
	}
	slices.Sort(files)
	var entries []apk.Package
	for _, f := range files {
		p, err := entryOf(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		entries = append(entries, *p)
	}
	r := apktest.Repository{Arch: "x86_64", Key: key}
	if err := os.WriteFile(filepath.Join(repo, "x86_64", "APKINDEX.tar.gz"), r.Index(entries), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(repo, keyName), key.PublicPEM(), 0o644)
}

// writeConfig writes the image configuration both programs build.
func writeConfig(path, url, key string, packages []string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "contents:\n  repositories:\n    - %s\n  keyring:\n    - %s\n  packages:\n", url, key)
	for _, p := range packages {
		fmt.Fprintf(&b, "    - %s\n", p)
	}
	b.WriteString("archs:\n  - x86_64\n")
	return os.WriteFile(path, b.Bytes(), 0o644)
}
