package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestMain(m *testing.M) {
	program := func() {
		os.Exit(run(context.Background(), containerdArgs(os.Args[0], os.Args[1:]), streams{os.Stdin, os.Stdout, os.Stderr}))
	}
	testscript.Main(m, map[string]func(){"cairn": program, "cairn-verifier": program})
}

// TestScripts runs the program as a user does; every file below testdata/script
// is one story.
func TestScripts(t *testing.T) {
	testscript.Run(t, scriptParams(filepath.Join("testdata", "script")))
}

// scriptParams says how the scripts of a directory run.
func scriptParams(dir string) testscript.Params {
	return testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, ".cache"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
			env.Setenv("CAIRN_VCS", "false")
			env.Setenv("CAIRN_CACHE_DIR", filepath.Join(env.WorkDir, "cache"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"apkrepo":   cmdRepository,
			"exitcode":  cmdExitCode,
			"flip":      cmdFlip,
			"damage":    cmdDamage,
			"registry":  cmdRegistry,
			"push":      cmdPush,
			"key":       cmdKey,
			"attach":    cmdAttach,
			"nosockets": cmdNoSockets,
			"alone":     cmdAlone,
		},
	}
}

// cmdExitCode runs a program that must fail with the given code: exitcode 3
// cairn build x.yaml.
func cmdExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE PROGRAM [ARG…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("found exit code %s, expected %s", code, args[0])
	}
}

// cmdAlone leaves the program alone on PATH, without any other of this machine.
func cmdAlone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: alone")
	}
	first, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	ts.Setenv("PATH", first)
}

// cmdFlip inverts one bit of a file: flip FILE OFFSET; a negative offset counts
// from the end.
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	name := ts.MkAbs(args[0])
	matches, err := filepath.Glob(name)
	ts.Check(err)
	if len(matches) != 1 {
		ts.Fatalf("%s: %d files match", args[0], len(matches))
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b, err := os.ReadFile(matches[0])
	ts.Check(err)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	ts.Check(os.Chmod(matches[0], 0o644))
	ts.Check(os.WriteFile(matches[0], b, 0o644))
}

// cmdDamage flips a bit in the first file below a directory: damage DIR.
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage DIR")
	}
	var first string
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d os.DirEntry, err error) error {
		if err == nil && first == "" && d.Type().IsRegular() {
			first = path
		}
		return err
	}))
	cmdFlip(ts, false, []string{first, "30"})
}

// cmdRepository makes a signed repository: apkrepo DIR SPEC [ARCH…]. SPEC is a
// file of lines:
//
//	package NAME VERSION
//	depends|provides|install_if|replaces|origin|license TEXT
//	builddate SECONDS
//	nodatahash
//	wrongsignature
//	dir PATH MODE
//	file PATH MODE CONTENT…
//	link PATH TARGET
//	hardlink PATH TARGET
func cmdRepository(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: apkrepo DIR SPEC [ARCH…]")
	}
	dir := ts.MkAbs(args[0])
	specs, err := parseSpecs(ts.ReadFile(args[1]))
	ts.Check(err)
	archs := args[2:]
	if len(archs) == 0 {
		archs = []string{"x86_64"}
	}
	key := apktest.NewKey("test.rsa.pub")
	for _, arch := range archs {
		ts.Check(writeRepository(dir, arch, key, specs))
	}
	ts.Check(os.WriteFile(filepath.Join(dir, key.Name), key.PublicPEM(), 0o644))
}

func writeRepository(dir, arch string, key *apktest.Key, specs []apktest.Spec) error {
	if err := os.MkdirAll(filepath.Join(dir, arch), 0o755); err != nil {
		return err
	}
	var entries []apk.Package
	for _, s := range specs {
		s.Package.Arch, s.Parents, s.Sign = arch, true, key
		raw, p := apktest.BuildEntry(s)
		entries = append(entries, p)
		if err := os.WriteFile(filepath.Join(dir, arch, p.Filename()), raw, 0o644); err != nil {
			return err
		}
	}
	r := apktest.Repository{Arch: arch, Key: key}
	return os.WriteFile(filepath.Join(dir, arch, "APKINDEX.tar.gz"), r.Index(entries), 0o644)
}

func parseSpecs(text string) ([]apktest.Spec, error) {
	var out []apktest.Spec
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		key, rest, _ := strings.Cut(strings.TrimSpace(s.Text()), " ")
		if key == "" || strings.HasPrefix(key, "#") {
			continue
		}
		if key == "package" {
			name, version, _ := strings.Cut(rest, " ")
			out = append(out, apktest.Spec{Package: apk.Package{Name: name, Version: version, License: "MIT", BuildTime: 1700000000}})
			continue
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("%q stands before the first package", s.Text())
		}
		if err := addToSpec(&out[len(out)-1], key, rest); err != nil {
			return nil, fmt.Errorf("%q: %w", s.Text(), err)
		}
	}
	return out, nil
}

func addToSpec(s *apktest.Spec, key, rest string) (err error) {
	path, more, _ := strings.Cut(rest, " ")
	p := &s.Package
	switch key {
	case "depends":
		p.Depends, err = apk.ParseDependencies(rest)
	case "provides":
		p.Provides, err = apk.ParseDependencies(rest)
	case "install_if":
		p.InstallIf, err = apk.ParseDependencies(rest)
	case "replaces":
		p.Replaces, err = apk.ParseDependencies(rest)
	case "origin":
		p.Origin = rest
	case "license":
		p.License = rest
	case "nodatahash":
		s.NoDataHash = true
	case "wrongsignature":
		s.WrongSignature = true
	case "builddate":
		p.BuildTime, err = strconv.ParseInt(rest, 10, 64)
	case "dir":
		var mode int64
		mode, err = strconv.ParseInt(more, 8, 64)
		s.Files = append(s.Files, apktest.File{Path: path, Type: apk.TypeDir, Mode: mode})
	case "file":
		octal, content, _ := strings.Cut(more, " ")
		var mode int64
		mode, err = strconv.ParseInt(octal, 8, 64)
		s.Files = append(s.Files, apktest.File{Path: path, Mode: mode, Content: content + "\n"})
	case "link":
		s.Files = append(s.Files, apktest.File{Path: path, Type: apk.TypeSymlink, Link: more})
	case "hardlink":
		s.Files = append(s.Files, apktest.File{Path: path, Type: apk.TypeHardlink, Link: more})
	default:
		err = fmt.Errorf("unknown word %q", key)
	}
	return err
}
