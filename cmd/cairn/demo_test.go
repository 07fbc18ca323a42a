package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository/demo"
	"github.com/cairn-dev/cairn/packages/repository/demo/sources"
)

// The packages of builtin://demo come out of their definitions again, to the byte but
// for the signature; wherever they are built, by whom, with whatever mask, time zone and
// number of processors.
func TestDemoIsBuiltAgain(t *testing.T) {
	definitions := t.TempDir()
	if err := sources.Write(t.Context(), "../../packages/repository/demo", definitions); errors.Is(err, sources.ErrVersion) {
		t.Skipf("the packages are of other data than is here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "new.rsa")
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"key", "generate", "--apk", "--output", key}, streams{strings.NewReader(""), &out, &errs}); code != 0 {
		t.Fatal(errs.String())
	}
	for _, arch := range demo.Architectures {
		places := []buildPlace{{name: "here", dir: t.TempDir()}}
		if arch == demo.Architectures[0] {
			places = append(places, elsewhere(t, definitions, key))
		}
		names := []string{"ca-certificates-bundle", "cairn-baselayout", "tzdata"}
		if err := sameCompiler(arch); err != nil {
			t.Logf("%s: hello-http is left out: %v", arch, err)
		} else {
			names = append(names, "hello-http")
		}
		for _, p := range places {
			args := []string{"package", "build", "--runner", "host", "--arch", arch, "--namespace", "cairn-demo", "--build-date", sources.Epoch,
				"--signing-key", key, "--cache-dir", filepath.Join(p.dir, "cache"), "--out", filepath.Join(p.dir, "out")}
			for _, name := range names {
				args = append(args, filepath.Join(definitions, name+".yaml"))
			}
			if output, err := p.command(args...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", p.name, err, output)
			}
			for _, name := range names {
				found, err := filepath.Glob(filepath.Join(p.dir, "out", arch, name+"-[0-9]*.apk"))
				if err != nil || len(found) != 1 {
					t.Fatalf("%s: packages %v, %v", name, found, err)
				}
				file := arch + "/" + filepath.Base(found[0])
				b, err := os.ReadFile(found[0])
				if err != nil {
					t.Fatal(err)
				}
				want, err := demo.FS().Open(file)
				if err != nil {
					t.Errorf("%s: is not embedded: %v\nhint: make demo", file, err)
					continue
				}
				if got, want := unsigned(t, bytes.NewReader(b)), unsigned(t, want); !bytes.Equal(got, want) {
					t.Errorf("%s: built %s: other bytes than those embedded\nhint: make demo", file, p.name)
				}
			}
		}
	}
}

// buildPlace is where, and as whom, packages are built.
type buildPlace struct {
	name, dir string
	prepare   func(*exec.Cmd)
}

func (p buildPlace) command(args ...string) *exec.Cmd {
	cmd := exec.Command("cairn", args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=")
	if p.prepare != nil {
		p.prepare(cmd)
	}
	return cmd
}

// elsewhere is another file system, another user where the test may become one, another
// time zone, locale and umask, and one processor.
func elsewhere(t *testing.T, definitions, key string) buildPlace {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cairn-test-")
	if err != nil {
		t.Logf("no second file system: %v", err)
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	place := buildPlace{name: "elsewhere", dir: dir}
	self, err := exec.LookPath("cairn")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Open(self) // whose directory the other user cannot read
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	other := os.Geteuid() == 0
	if other {
		for _, path := range []string{definitions, filepath.Dir(definitions), filepath.Dir(key)} {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Chmod(key, 0o644), os.Chown(dir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Log("not root: the second build is the same user's")
	}
	place.prepare = func(cmd *exec.Cmd) {
		// argv[0] tells the test binary to be cairn.
		cmd.Args = append([]string{"sh", "-c", `umask 077; exec bash -c 'exec -a cairn /proc/self/fd/3 "$@"' bash "$@"`, "sh"}, cmd.Args[1:]...)
		cmd.Path, cmd.ExtraFiles = "/bin/sh", []*os.File{program}
		cmd.Env = append(cmd.Env, "GOMAXPROCS=1", "TZ=Pacific/Kiritimati", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "HOME="+dir, "TMPDIR="+dir)
		if other {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
	}
	return place
}

// unsigned is a package without its signature.
func unsigned(t *testing.T, r io.Reader) []byte {
	t.Helper()
	buffered := bufio.NewReader(r)
	head, err := apk.ReadHead(buffered, apk.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(buffered)
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(head.Control), data...)
}

// sameCompiler tells whether the compiler here is the one that the embedded program
// names, in ELF's section .comment.
func sameCompiler(arch string) error {
	cc := arch + "-linux-gnu-gcc"
	out, err := exec.Command(cc, "--version").Output()
	if err != nil {
		return err
	}
	here, _, _ := strings.Cut(string(out), "\n") // "NAME (Debian …) 12.2.0"
	_, here, _ = strings.Cut(here, " ")
	r, err := demo.FS().Open(arch + "/hello-http-1.0-r0.apk")
	if err != nil {
		return err
	}
	defer r.Close()
	buffered := bufio.NewReader(r)
	if _, err := apk.ReadHead(buffered, apk.Limits{}); err != nil {
		return err
	}
	z, err := gzip.NewReader(buffered)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err != nil {
			return err
		}
		if path.Base(h.Name) != "hello-http" {
			continue
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		program, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			return err
		}
		comment, err := program.Section(".comment").Data()
		if err != nil {
			return err
		}
		if there := strings.TrimPrefix(strings.TrimRight(string(comment), "\x00"), "GCC: "); there != here {
			return fmt.Errorf("%s is %s, and the embedded program is of %s", cc, here, there)
		}
		return nil
	}
}
