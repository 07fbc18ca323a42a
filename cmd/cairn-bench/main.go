// Command cairn-bench measures cairn and apko, and cairn and melange, side by side, on
// the same packages, in one run, and prints ratios. It is not part of the product.
//
//	make bench
//
// It makes its inputs below --work (kept between runs): a synthetic repository
// of 200 packages and 1.2 GB, and, where apt and python3 are there, the Flask
// and Java closures of Debian's packages, and environments to build a package in. apko
// and melange are built from the module proxy in modules of their own below --work,
// never in this one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	b := bench{}
	cases := flag.String("cases", "synthetic,flask,java,bump-flask,bump-java,package-trivial,package-gcc", "cases to run")
	flag.StringVar(&b.work, "work", filepath.Join(os.TempDir(), "cairn-bench"), "directory for inputs and caches")
	flag.StringVar(&b.cairn, "cairn", "bin/cairn", "the cairn program")
	flag.StringVar(&b.apko, "apko", "", "the apko program (default: built from the module proxy)")
	flag.StringVar(&b.melange, "melange", "", "the melange program (default: built from the module proxy)")
	flag.StringVar(&b.deb2apk, "deb2apk", "../shared/tools/deb2apk.py", "converter of Debian packages")
	flag.IntVar(&b.bumped, "bumped", 0, "number of packages that apko is measured with in bump cases; 0 for all")
	flag.IntVar(&b.runs, "runs", 3, "warm runs; the median counts")
	reference := flag.String("reference", "", "internal: hash and inflate the packages below this directory")
	synthetic := flag.String("synthesize", "", "internal: make the synthetic repository in this directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *reference != "" {
		if err := referencePass(*reference); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *synthetic != "" {
		if err := synthesize(*synthetic); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := b.run(ctx, strings.Split(*cases, ",")); err != nil {
		log.Fatal(err)
	}
}

type bench struct {
	work    string
	cairn   string
	apko    string
	melange string
	deb2apk string
	runs    int
	bumped  int
}

func (b *bench) run(ctx context.Context, cases []string) error {
	var err error
	if b.cairn, err = filepath.Abs(b.cairn); err != nil {
		return err
	}
	if b.work, err = filepath.Abs(b.work); err != nil {
		return err
	}
	if err := os.MkdirAll(b.work, 0o755); err != nil {
		return err
	}
	for _, name := range cases {
		if environments[name] != nil {
			if err := b.packages(ctx, name); errors.Is(err, errSkip) {
				fmt.Printf("%s: %v\n\n", name, err)
			} else if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		if b.apko == "" {
			if b.apko, err = b.buildPeer(ctx, "apko", "v1.2.36"); err != nil {
				return err
			}
		}
		of, bumps := strings.CutPrefix(name, "bump-")
		repo, packages, err := b.input(ctx, of)
		if err != nil {
			fmt.Printf("%s: skipped: %v\n\n", name, err)
			continue
		}
		measure := b.measure
		if bumps {
			measure = b.bumps
		}
		if err := measure(ctx, of, repo, packages); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// measure runs both programs cold and warm on one repository.
func (b *bench) measure(ctx context.Context, name, repo string, packages []string) error {
	url, stop, err := serve(repo)
	if err != nil {
		return err
	}
	defer stop()
	dir := filepath.Join(b.work, "run-"+name)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	config := filepath.Join(dir, "image.yaml")
	if err := writeConfig(config, url, filepath.Join(repo, keyName), packages); err != nil {
		return err
	}
	size, err := repositorySize(repo)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ref, err := execute(ctx, self, "-reference", repo)
	if err != nil {
		return err
	}
	report := newReport(name, len(packages), size, ref)
	for _, tool := range []struct {
		name string
		path string
	}{{"cairn", b.cairn}, {"apko", b.apko}} {
		cache := filepath.Join(dir, "cache-"+tool.name)
		cold, err := b.build(ctx, tool.path, config, cache, filepath.Join(dir, "cold-"+tool.name))
		if err != nil {
			return fmt.Errorf("%s cold: %w", tool.name, err)
		}
		var warm []usage
		for i := range b.runs {
			u, err := b.build(ctx, tool.path, config, cache, filepath.Join(dir, fmt.Sprintf("warm%d-%s", i, tool.name)))
			if err != nil {
				return fmt.Errorf("%s warm: %w", tool.name, err)
			}
			warm = append(warm, u)
		}
		slices.SortFunc(warm, func(x, y usage) int { return int(x.cpu() - y.cpu()) })
		report.add(tool.name, cold, warm[len(warm)/2])
	}
	return report.print(os.Stdout)
}

// build runs one build into a fresh OCI layout, which is removed again.
func (b *bench) build(ctx context.Context, tool, config, cache, out string) (usage, error) {
	for _, d := range []string{cache, out} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return usage{}, err
		}
	}
	defer os.RemoveAll(out)
	return execute(ctx, tool, "build", "--arch=x86_64", "--vcs=false", "--sbom-path="+out, "--cache-dir="+cache, config, "bench:latest", out+"/")
}
