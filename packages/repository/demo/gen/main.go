// Command gen makes the packages of builtin://demo from the definitions in src, with
// cairn. It needs Debian's C compilers of both architectures (x86_64-linux-gnu-gcc and
// aarch64-linux-gnu-gcc) and runs by `make demo`; it is not part of cairn.
//
//	go run ./packages/repository/demo/gen -demo packages/repository/demo -cairn bin/cairn
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cairn-dev/cairn/packages/repository/demo"
	"github.com/cairn-dev/cairn/packages/repository/demo/sources"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("demo", ".", "directory of the package demo")
	cairn := flag.String("cairn", "", "the program to build with (default: that of this module)")
	flag.Parse()
	if err := generate(context.Background(), *dir, *cairn); err != nil {
		log.Fatal("gen: ", err)
	}
}

// generate replaces the directory repo when all of it is made. Every run makes a new
// key, whose private half is removed.
func generate(ctx context.Context, dir, cairn string) (err error) {
	work, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	definitions, built := filepath.Join(work, "definitions"), filepath.Join(work, "built")
	if err := sources.Write(ctx, dir, definitions); err != nil {
		return err
	}
	if cairn == "" {
		cairn = filepath.Join(work, "cairn")
		if err := command(ctx, "go", "build", "-o", cairn, "github.com/cairn-dev/cairn/cmd/cairn"); err != nil {
			return err
		}
	}
	key := filepath.Join(work, "cairn-demo.rsa")
	if err := command(ctx, cairn, "key", "generate", "--apk", "--output", key); err != nil {
		return err
	}
	for _, arch := range demo.Architectures {
		if err := command(ctx, cairn, "package", "build", "--runner", "host", "--arch", arch, "--namespace", "cairn-demo",
			"--build-date", sources.Epoch, "--signing-key", key, "--out", built, definitions); err != nil {
			return err
		}
	}
	leave := []string{filepath.Join(built, ".cairn")}
	for _, arch := range demo.Architectures {
		leave = append(leave, filepath.Join(built, arch, "APKINDEX.tar.gz.lock"))
	}
	for _, path := range leave {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.Rename(key+".pub", filepath.Join(built, demo.KeyName)); err != nil {
		return err
	}
	repo := filepath.Join(dir, "repo")
	if err := os.RemoveAll(repo); err != nil {
		return err
	}
	return os.Rename(built, repo)
}

func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
