//go:build e2e

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// node is a path as an unpacked image has it. The JSON names are those of
// shared/tools/tree.py; NLink is 0 for a file of one name.
type node struct {
	Path, Type, Mode, Link, SHA256 string
	UID, GID, NLink                int
	Size                           int64
	Device                         string // "c 1:3", with type special
	Xattrs                         string // "name=hex" each, sorted
}

func (n node) String() string {
	if n.Type == "" {
		return "nothing"
	}
	return fmt.Sprintf("%s %s %d:%d size %d links %d %s%.12s%s %s", n.Type, n.Mode, n.UID, n.GID, n.Size, n.NLink, n.Link, n.SHA256, n.Device, n.Xattrs)
}

// nodes is an unpacked image by path.
type nodes map[string]node

// compareNodes reports every path in which the trees differ and that may not,
// and returns how many paths there are.
func compareNodes(t *testing.T, got, want nodes, may func(path string) bool) {
	t.Helper()
	paths := slices.Sorted(maps.Keys(got))
	for p := range want {
		if _, ok := got[p]; !ok {
			paths = append(paths, p)
		}
	}
	bad, passed := 0, 0
	for _, p := range paths {
		switch {
		case got[p] == want[p]:
		case may(p):
			passed++
		default:
			if bad++; bad <= 20 {
				t.Errorf("/%s:\n got  %v\n want %v", p, got[p], want[p])
			}
		}
	}
	t.Logf("%d paths compared, %d differ, %d on purpose", len(paths), bad, passed)
}

// diskNodes reads an unpacked image.
func diskNodes(t *testing.T, root string) nodes {
	t.Helper()
	out := nodes{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		path, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		n, err := diskNode(name)
		n.Path = path
		out[path] = n
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func diskNode(name string) (n node, err error) {
	var s syscall.Stat_t
	if err := syscall.Lstat(name, &s); err != nil {
		return n, err
	}
	n = node{Mode: fmt.Sprintf("%04o", s.Mode&0o7777), UID: int(s.Uid), GID: int(s.Gid), Type: "special"}
	switch s.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		n.Type = "dir"
	case syscall.S_IFLNK:
		n.Type = "symlink"
		n.Link, err = os.Readlink(name)
	case syscall.S_IFREG:
		n.Type, n.Size = "file", s.Size
		if s.Nlink > 1 {
			n.NLink = int(s.Nlink)
		}
		n.SHA256, err = fileDigest(name)
	case syscall.S_IFCHR:
		n.Device = fmt.Sprintf("c %d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev))
	case syscall.S_IFBLK:
		n.Device = fmt.Sprintf("b %d:%d", unix.Major(s.Rdev), unix.Minor(s.Rdev))
	}
	if err == nil {
		n.Xattrs, err = diskXattrs(name)
	}
	return n, err
}

func fileDigest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func diskXattrs(name string) (string, error) {
	var list [4096]byte
	n, err := unix.Llistxattr(name, list[:])
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	all := map[string]string{}
	for _, x := range strings.FieldsFunc(string(list[:n]), func(r rune) bool { return r == 0 }) {
		var value [4096]byte
		n, err := unix.Lgetxattr(name, x, value[:])
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", name, x, err)
		}
		all[x] = string(value[:n])
	}
	return xattrText(all), nil
}

func xattrText(all map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, fmt.Sprintf("%s=%x", name, all[name]))
	}
	return strings.Join(out, " ")
}

// tarNodes reads what docker export writes.
func tarNodes(r io.Reader) (nodes, error) {
	out := nodes{}
	target := map[string]string{} // of hard links
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		path := strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")
		if h.Typeflag == tar.TypeLink {
			target[path] = strings.Trim(h.Linkname, "/")
			continue
		}
		n, err := tarNode(h, tr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		n.Path = path
		out[path] = n
	}
	return out, joinLinks(out, target)
}

func tarNode(h *tar.Header, r io.Reader) (node, error) {
	n := node{Mode: fmt.Sprintf("%04o", h.Mode&0o7777), UID: h.Uid, GID: h.Gid, Type: "special"}
	xattrs := map[string]string{}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			xattrs[name] = v
		}
	}
	n.Xattrs = xattrText(xattrs)
	switch h.Typeflag {
	case tar.TypeDir:
		n.Type = "dir"
	case tar.TypeSymlink:
		n.Type, n.Link = "symlink", h.Linkname
	case tar.TypeReg:
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			return n, err
		}
		n.Type, n.Size, n.SHA256 = "file", h.Size, fmt.Sprintf("%x", sum.Sum(nil))
	case tar.TypeChar:
		n.Device = fmt.Sprintf("c %d:%d", h.Devmajor, h.Devminor)
	case tar.TypeBlock:
		n.Device = fmt.Sprintf("b %d:%d", h.Devmajor, h.Devminor)
	}
	return n, nil
}

// joinLinks makes every name of a file the same, with the number of names.
func joinLinks(all nodes, target map[string]string) error {
	names := map[string][]string{}
	for path, to := range target {
		names[to] = append(names[to], path)
	}
	for to, paths := range names {
		n, ok := all[to]
		if !ok {
			return fmt.Errorf("%s: hard link to %s, which is not there", paths[0], to)
		}
		n.NLink = len(paths) + 1
		for _, p := range append(paths, to) {
			n.Path = p
			all[p] = n
		}
	}
	return nil
}

// export gives the tree of an image as a container sees it, before it runs.
func (e engine) export(image string) nodes {
	e.t.Helper()
	container := strings.TrimSpace(e.docker("create", "--network", "none", "--entrypoint", "/none", image))
	defer e.docker("rm", container)
	cmd := exec.Command("docker", "export", container)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		e.t.Fatal(err)
	}
	got, err := tarNodes(out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		e.t.Fatalf("docker export: %v: %s", err, stderr.String())
	}
	return got
}

// engineMakes tells the paths that a Docker engine puts into every container.
func engineMakes(path string) bool {
	switch path {
	case ".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "proc", "sys":
		return true
	}
	return false
}

// umociUnpack unpacks an OCI layout as root and returns the root file system.
func umociUnpack(t *testing.T, layout, tag string) string {
	t.Helper()
	needTool(t, "umoci")
	if os.Getuid() != 0 {
		t.Skip("owners need root")
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	mustRun(t, "umoci", "unpack", "--image", layout+":"+tag, bundle)
	return filepath.Join(bundle, "rootfs")
}

// plannedNodes is the tree that cairn show files promises, and who owns each
// path.
func (w *world) plannedNodes(config string) (nodes, map[string]string) {
	w.t.Helper()
	var rows []fileRow
	if err := json.Unmarshal([]byte(w.cairn("show", "files", "--format=json", config)), &rows); err != nil {
		w.t.Fatal(err)
	}
	out, links, owners := nodes{}, map[string]string{}, map[string]string{}
	types := map[string]string{"d": "dir", "f": "file", "l": "symlink"}
	for _, r := range rows {
		owners[r.Path] = r.Owner
		if r.Type == "h" {
			links[r.Path] = r.Link
			continue
		}
		n := node{Path: r.Path, Type: types[r.Type], Mode: r.Mode, Link: r.Link, SHA256: r.SHA256, UID: r.UID, GID: r.GID, Size: r.Size}
		if n.Type == "" {
			n.Type = "special"
		}
		out[r.Path] = n
	}
	if err := joinLinks(out, links); err != nil {
		w.t.Fatal(err)
	}
	return out, owners
}
