package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// installed is a repository with a package that has what only some have: a trigger, a
// capability, hard links, special bits, a script that runs when it is installed, needs
// that another package satisfies by a name it provides.
func installed(t *testing.T) (repository, keys string) {
	t.Helper()
	dir := t.TempDir()
	definitions := filepath.Join(dir, "definitions")
	for name, text := range map[string]string{"layout.yaml": `package:
  name: layout
  version: 1.0
  epoch: 0
  description: directories
  copyright: [{license: MIT}]
  dependencies: {provides: [greetings-home=2]}
pipeline:
  - working-directory: ${{targets.contextdir}}
    runs: |
      mkdir -p etc dev proc tmp usr/share
      chmod 1777 tmp
      echo root:x:0:0:root:/:/bin/sh > etc/passwd
`, "greet-net.yaml": `package:
  name: greet-net
  version: 1.0
  epoch: 2
  description: greets on a port below 1024
  copyright: [{license: MIT}]
  dependencies: {runtime: [greetings-home>1]}
  scriptlets:
    trigger: {script: "#!/bin/sh\ntrue\n", paths: [/usr/share/greetings]}
    post-install: "#!/bin/sh\ntrue\n"
  setcap: [{path: /usr/bin/greet-net, add: {cap_net_bind_service: "+ep"}, reason: listens on port 80}]
pipeline:
  - working-directory: ${{targets.contextdir}}
    runs: |
      mkdir -p usr/bin usr/share/greetings var/spool/greetings
      printf '#!/bin/sh\necho hello, port "$1"\n' > usr/bin/greet-net
      chmod 0755 usr/bin/greet-net
      echo hello > usr/share/greetings/en
      ln usr/share/greetings/en usr/share/greetings/en_GB
      ln -s en usr/share/greetings/default
      chmod 1777 var/spool/greetings
`} {
		if err := os.MkdirAll(definitions, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(definitions, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	keys = filepath.Join(dir, "keys")
	if err := os.Mkdir(keys, 0o755); err != nil {
		t.Fatal(err)
	}
	repository = filepath.Join(dir, "repository")
	for _, args := range [][]string{
		{"key", "generate", "--apk", "--output", filepath.Join(dir, "test.rsa")},
		{"package", "build", "--runner", "host", "--arch", "x86_64", "--signing-key", filepath.Join(dir, "test.rsa"), "--out", repository, "--cache-dir", filepath.Join(dir, "cache"), definitions},
	} {
		if err := runCairn(t, args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "test.rsa.pub"), filepath.Join(keys, "test.rsa.pub")); err != nil {
		t.Fatal(err)
	}
	return repository, keys
}

// apk-tools, of each version that CAIRN_APK_TOOLS names, or the one of this machine,
// installs what is built here.
func TestInstalledByApkTools(t *testing.T) {
	programs := filepath.SplitList(os.Getenv("CAIRN_APK_TOOLS"))
	if len(programs) == 0 {
		path, err := exec.LookPath("apk")
		if err != nil {
			t.Skip("no apk here: set CAIRN_APK_TOOLS to programs of apk-tools")
		}
		programs = []string{path}
	}
	repository, keys := installed(t)
	for _, program := range programs {
		version, err := exec.Command(program, "--version").Output()
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSpace(string(version)), func(t *testing.T) {
			root := t.TempDir()
			out, err := exec.Command(program, "add", "--root", root, "--initdb", "--no-cache", "--no-scripts", "--arch", "x86_64", "--keys-dir", keys,
				"--repositories-file", os.DevNull, "--repository", repository, "greet-net").CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			installedTree(t, os.DirFS(root), fs.ModeSticky)
			first, err1 := os.Stat(filepath.Join(root, "usr/share/greetings/en"))
			second, err2 := os.Stat(filepath.Join(root, "usr/share/greetings/en_GB"))
			if err1 != nil || err2 != nil || !os.SameFile(first, second) {
				t.Errorf("hard links are two files: %v, %v", err1, err2)
			}
			if os.Geteuid() == 0 {
				value := make([]byte, 64)
				if n, err := unix.Lgetxattr(filepath.Join(root, "usr/bin/greet-net"), "security.capability", value); err != nil || n != 20 {
					t.Errorf("the capability is lost: %d bytes, %v", n, err)
				}
			}
			files, err := filepath.Glob(filepath.Join(repository, "x86_64", "*.apk"))
			if err != nil || len(files) != 2 {
				t.Fatal(files, err)
			}
			if out, err := exec.Command(program, append([]string{"verify", "--root", root, "--keys-dir", keys}, files...)...).CombinedOutput(); err != nil {
				t.Errorf("verify: %v\n%s", err, out)
			}
			triggers, err := os.ReadFile(dbFile(root, "triggers"))
			if err != nil || !strings.Contains(string(triggers), " /usr/share/greetings") {
				t.Errorf("triggers: %q, %v", triggers, err)
			}
		})
	}
}

// dbFile is a file of apk's database, whose place moved with version 3.
func dbFile(root, name string) string {
	for _, dir := range []string{"usr/lib/apk/db", "lib/apk/db"} {
		path := filepath.Join(root, dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(root, "lib/apk/db", name)
}

// apko, that of CAIRN_E2E or of this machine, installs what is built here.
func TestInstalledByApko(t *testing.T) {
	program := filepath.Join(os.Getenv("CAIRN_E2E"), "bin", "apko")
	if os.Getenv("CAIRN_E2E") == "" {
		var err error
		if program, err = exec.LookPath("apko"); err != nil {
			t.Skip("no apko here: make e2e-packages builds it")
		}
	}
	repository, keys := installed(t)
	dir := t.TempDir()
	config, archive := filepath.Join(dir, "apko.yaml"), filepath.Join(dir, "root.tar")
	text := fmt.Sprintf("contents:\n  repositories: [%s]\n  keyring: [%s/test.rsa.pub]\n  packages: [greet-net]\n", repository, keys)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "build-minirootfs", "--build-arch", "x86_64", config, archive).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "--exclude=dev/*", "-xpf", archive, "-C", root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	installedTree(t, os.DirFS(root), 0) // apko drops special bits of directories
	b, err := os.ReadFile(dbFile(root, "installed"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"P:greet-net\nV:1.0-r2\n", "P:layout\nV:1.0-r0\n", "D:greetings-home>1\n", "p:greetings-home=2\n"} {
		if !strings.Contains(string(b), line) {
			t.Errorf("installed: no %q in %s", line, b)
		}
	}
}

// installedTree looks at the files; directories that have it keep the bit sticky.
func installedTree(t *testing.T, root fs.FS, sticky fs.FileMode) {
	t.Helper()
	for path, want := range map[string]string{"usr/bin/greet-net": "#!/bin/sh\necho hello, port \"$1\"\n", "usr/share/greetings/en_GB": "hello\n", "etc/passwd": "root:x:0:0:root:/:/bin/sh\n"} {
		if b, err := fs.ReadFile(root, path); err != nil || !bytes.Equal(b, []byte(want)) {
			t.Errorf("%s: %q, %v, expected %q", path, b, err, want)
		}
	}
	for path, want := range map[string]fs.FileMode{"usr/bin/greet-net": 0o755, "var/spool/greetings": fs.ModeDir | sticky | 0o777} {
		if fi, err := fs.Stat(root, path); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v, expected %v", path, fi, err, want)
		}
	}
}
