package repository

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be one of several processes.
func TestMain(m *testing.M) {
	switch os.Getenv("REPOSITORY_TEST_PROCESS") {
	case "":
		os.Exit(m.Run())
	case "update":
		exit(processUpdate())
	case "load":
		exit(processLoad())
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func process(kind string, env ...string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), append(env, "REPOSITORY_TEST_PROCESS="+kind)...)
	c.Stderr = os.Stderr
	return c
}

// processUpdate adds five packages to an index, one after the other.
func processUpdate() error {
	for i := range 5 {
		p := pkg(fmt.Sprintf("%s-%d", os.Getenv("NAME"), i), "1-r0")
		if err := UpdateIndex(ctx, os.Getenv("INDEX"), WriteOptions{}, add(p)); err != nil {
			return err
		}
	}
	return nil
}

// processLoad loads an index into a cache again and again, emptying the cache
// in between.
func processLoad() error {
	b, err := os.ReadFile(os.Getenv("KEY"))
	if err != nil {
		return err
	}
	k, err := ParseKey("test.rsa.pub", b)
	if err != nil {
		return err
	}
	for {
		c, err := NewClient(Options{CacheDir: os.Getenv("CACHE")})
		if err != nil {
			return err
		}
		ix, err := c.Load(ctx, Source{URL: os.Getenv("URL"), Arch: "x86_64", Keyring: NewKeyring(k)})
		if err != nil || ix.Len() != 300 {
			return fmt.Errorf("load: %w", err)
		}
		if err := errors.Join(os.RemoveAll(filepath.Join(os.Getenv("CACHE"), "parsed")), os.RemoveAll(filepath.Join(os.Getenv("CACHE"), "files"))); err != nil {
			return err
		}
	}
}

func TestUpdateIndexByProcesses(t *testing.T) {
	name := filepath.Join(t.TempDir(), IndexFile)
	var commands []*exec.Cmd
	for i := range 4 {
		c := process("update", "INDEX="+name, fmt.Sprintf("NAME=p%d", i))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, c)
	}
	for _, c := range commands {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	packages, _, err := readPackages(name)
	if err != nil || len(packages) != 20 {
		t.Errorf("%d packages, %v", len(packages), err)
	}
}

// kill -9 at any moment leaves a cache that the next load can use, and nothing
// that prune does not remove.
func TestKilledLoads(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	srv := serve(t, static(signedIndex(t, manyPackages(300)...)))
	key, dir := filepath.Join(t.TempDir(), "key"), t.TempDir()
	writeFile(t, key, testKey(t, "test.rsa.pub").PEM())
	rnd := rand.New(rand.NewSource(1))
	for range 20 {
		c := process("load", "CACHE="+dir, "KEY="+key, "URL="+srv.URL)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+rnd.Intn(60)) * time.Millisecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("ended by itself: %v", err)
		}
		cl := mustClient(t, fast(Options{CacheDir: dir}))
		src := srv.source(t)
		src.URL = srv.URL
		if ix, err := cl.Load(ctx, src); err != nil || ix.Len() != 300 {
			t.Fatal(err)
		}
		if bad, err := cl.CheckCache(ctx); err != nil || len(bad) != 0 {
			t.Errorf("%v, %v", bad, err)
		}
	}
	cl := mustClient(t, Options{CacheDir: dir})
	if _, _, err := cl.PruneCache(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if info, err := cl.CacheInfo(); err != nil || info != (CacheInfo{}) {
		t.Errorf("left: %+v, %v", info, err)
	}
}
