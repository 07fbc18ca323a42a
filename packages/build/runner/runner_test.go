package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guest is a root directory with a static busybox, and nothing else.
func guest(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("no /bin/busybox here: install busybox-static")
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "home/build", "var/cache/cairn/sources", "var/cache/melange", "tmp", "dev", "proc", "sys", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), b, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "id", "ls", "mkdir", "touch", "chmod", "chown", "ln", "sleep", "env", "wget", "hostname"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func sandbox(t *testing.T, log *bytes.Buffer) *Sandbox {
	t.Helper()
	s := &Sandbox{Root: guest(t), Workspace: t.TempDir(), Sources: t.TempDir(), Scratch: t.TempDir(), Log: log}
	if err := os.WriteFile(filepath.Join(s.Sources, "sha256:abc"), []byte("source"), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func bubblewrap(t *testing.T) *Bubblewrap {
	t.Helper()
	b, err := NewBubblewrap()
	if err != nil {
		t.Skip(err)
	}
	var out bytes.Buffer
	if err := b.Run(t.Context(), sandbox(t, &out), []Step{{Script: "exit 0"}}); err != nil {
		t.Skipf("no sandbox can be made here: %v: %s", err, out.String())
	}
	return b
}

func TestSandbox(t *testing.T) {
	b := bubblewrap(t)
	var out bytes.Buffer
	s := sandbox(t, &out)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct{ name, script, want string }{
		{"user", "id -u; id -g", "0\n0\n"},
		{"environment", "env | sort 2>/dev/null || env", "A=b\nPATH="},
		{"directory", "pwd; hostname", "/home/build\ncairn\n"},
		{"sources", "cat /var/cache/cairn/sources/sha256:abc", "source"},
		{"sources are read-only", "touch /var/cache/cairn/sources/x 2>/dev/null || echo refused", "refused\n"},
		{"the guest can be changed", "mkdir /new && touch /new/file /bin/own; ls /new", "file\n"},
		{"and stays changed", "ls /new /bin/own", "/bin/own\n"},
		{"no network", fmt.Sprintf("wget -T 1 -q -O - http://%s/ 2>/dev/null || echo none", l.Addr()), "none\n"},
		{"the workspace", "mkdir -p melange-out/a && touch melange-out/a/file && chmod 4755 melange-out/a/file && ln melange-out/a/file melange-out/a/link && mkdir melange-out/a/t && chmod 1777 melange-out/a/t", ""},
	} {
		out.Reset()
		if err := b.Run(t.Context(), s, []Step{{Script: c.script, Env: map[string]string{"A": "b"}}}); err != nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %v: %q, expected %q", c.name, err, out.String(), c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Root, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the guest's own directory was changed")
	}
	// TestMelangeDefect: B9 and B10, special bits and hard links stay.
	fi, err := os.Stat(filepath.Join(s.Workspace, "melange-out/a/file"))
	if err != nil || fi.Mode() != 0o755|fs.ModeSetuid || fi.Sys().(*syscall.Stat_t).Nlink != 2 {
		t.Errorf("%v, %v", fi, err)
	}
	if fi, err := os.Stat(filepath.Join(s.Workspace, "melange-out/a/t")); err != nil || fi.Mode() != 0o777|fs.ModeSticky|fs.ModeDir {
		t.Errorf("%v, %v", fi, err)
	}
	s.User = &User{1000, 1001}
	out.Reset()
	if err := b.Run(t.Context(), s, []Step{{Script: "id -u; id -g; touch melange-out/mine; ls -ln melange-out/mine"}}); err != nil || !strings.Contains(out.String(), "1000\n1001\n-rw-r--r--    1 1000     1001") {
		t.Errorf("as another user: %v: %s", err, out.String())
	}
	if fi, err := os.Stat(filepath.Join(s.Workspace, "melange-out/mine")); err != nil || int(fi.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		t.Errorf("its files: %v, %v", fi, err)
	}
	if err := (Host{}).Run(t.Context(), s, []Step{{Script: "true"}}); !errors.Is(err, ErrRunner) || !strings.Contains(err.Error(), "user 1000") {
		t.Errorf("as another user, on the host: %v", err)
	}
	s.User = nil
	if err := b.Run(t.Context(), s, []Step{{Script: "exit 3"}}); !errors.Is(err, ErrStep) || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a step that fails: %v", err)
	}
	s.Network = true
	out.Reset()
	if err := b.Run(t.Context(), s, []Step{{Script: "ls /sys/class/net"}}); err != nil || !strings.Contains(out.String(), "lo") {
		t.Errorf("with the network: %v: %s", err, out.String())
	}
}

// TestCancelled: what a step started is gone when the context ends.
func TestCancelled(t *testing.T) {
	for name, r := range map[string]Runner{"bubblewrap": bubblewrap(t), "host": Host{}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			s := sandbox(t, &bytes.Buffer{})
			start := time.Now()
			err := r.Run(ctx, s, []Step{{Script: "(sleep 60; touch late) & sleep 60"}})
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	}
}

func TestHost(t *testing.T) {
	var out bytes.Buffer
	s := &Sandbox{Workspace: t.TempDir(), Sources: t.TempDir(), Log: &out}
	if err := os.WriteFile(filepath.Join(s.Sources, "sha256:abc"), []byte("source"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := "set -eo pipefail\nmkdir -p /home/build/melange-out/a\ncp /var/cache/cairn/sources/sha256:abc /home/build/melange-out/a/file\necho $HOME $X\n"
	if err := (Host{}).Run(t.Context(), s, []Step{{Name: "copy", Script: script, Env: map[string]string{"HOME": "/home/build", "X": "y"}}}); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if b, err := os.ReadFile(filepath.Join(s.Workspace, "melange-out/a/file")); err != nil || string(b) != "source" || out.String() != "--- copy\n"+s.Workspace+" y\n" {
		t.Errorf("%q, %v, %q", b, err, out.String())
	}
	if err := (Host{}).Run(t.Context(), s, []Step{{Script: "exit 7"}}); !errors.Is(err, ErrStep) {
		t.Errorf("%v", err)
	}
	s.Workspace = "/tmp/with space"
	if err := (Host{}).Run(t.Context(), s, []Step{{Script: "true"}}); !errors.Is(err, ErrRunner) {
		t.Errorf("%v", err)
	}
}
