package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// unpackers are tools that apply an OCI image to a directory.
var unpackers = []struct {
	tool string
	run  func(t *testing.T, oci, dst string) (root string)
}{
	{"umoci", func(t *testing.T, oci, dst string) string {
		command(t, "umoci", "unpack", "--image", oci+":latest", dst)
		return filepath.Join(dst, "rootfs")
	}},
	{"skopeo", func(t *testing.T, oci, dst string) string {
		// skopeo checks every digest on the way, and converts to what umoci
		// reads back.
		command(t, "skopeo", "--insecure-policy", "copy", "--remove-signatures", "oci:"+oci+":latest", "oci:"+dst+"/copy:latest")
		command(t, "umoci", "unpack", "--image", dst+"/copy:latest", dst+"/bundle")
		return filepath.Join(dst, "bundle", "rootfs")
	}},
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// TestUnpackers lets real tools unpack what we write and compares with the
// tree on the real file system.
func TestUnpackers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("unpacking with owners and devices needs root")
	}
	for _, u := range unpackers {
		t.Run(u.tool, func(t *testing.T) {
			if _, err := exec.LookPath(u.tool); err != nil {
				t.Skipf("%s is not installed", u.tool)
			}
			st := openStore(t)
			for seed := range uint64(2) {
				w := newRealWorld(t, st, 7e6+seed, 10)
				for _, o := range []Options{{}, {Budget: 3}, {Strategy: Single}} {
					oci := filepath.Join(t.TempDir(), "oci")
					writeLayout(t, oci, mustWrite(t, mustPlan(t, w.tree, o), st))
					root := u.run(t, oci, t.TempDir())
					for _, d := range compareTree(w.tree, scanDisk(t, root)) {
						t.Error(d)
					}
					if t.Failed() {
						t.Fatalf("seed %d, %s/%d", seed, o.Strategy, o.Budget)
					}
				}
			}
		})
	}
}

func writeLayout(t testing.TB, dir string, layers []Layer) {
	t.Helper()
	img, err := mutate.ConfigFile(mutate.MediaType(imageOf(t, layers), types.OCIManifestSchema1), configOf(t, imageOf(t, layers)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(mutate.ConfigMediaType(img, types.OCIConfigJSON), layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": "latest",
	})); err != nil {
		t.Fatal(err)
	}
}

func configOf(t testing.TB, img v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c.Architecture, c.OS = "amd64", "linux"
	return c
}

// scanDisk reads an unpacked root as compareTree wants it.
func scanDisk(t *testing.T, root string) map[string]*vnode {
	t.Helper()
	got := map[string]*vnode{}
	inodes := map[uint64]*vnode{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		n, ino, err := readDisk(p)
		if err != nil {
			return err
		}
		if old := inodes[ino]; old != nil && n.typ != apk.TypeDir {
			n = old
		}
		inodes[ino] = n
		got[strings.TrimPrefix(p, root+"/")] = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readDisk(p string) (*vnode, uint64, error) {
	var s syscall.Stat_t
	if err := syscall.Lstat(p, &s); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", p, err)
	}
	e := apk.Entry{Mode: s.Mode & 0o7777, UID: int(s.Uid), GID: int(s.Gid), MTime: s.Mtim.Sec}
	var err error
	switch s.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		e.Type = apk.TypeDir
	case syscall.S_IFLNK:
		e.Type = apk.TypeSymlink
		e.Link, err = os.Readlink(p)
	case syscall.S_IFIFO:
		e.Type = apk.TypeFIFO
	case syscall.S_IFREG:
		e.Type, e.Size = apk.TypeFile, s.Size
		e.SHA256, err = hashFile(p)
		buf := make([]byte, 64)
		if n, xerr := syscall.Getxattr(p, "security.capability", buf); xerr == nil {
			e.Xattrs = map[string]string{"security.capability": string(buf[:n])}
		} else if !errors.Is(xerr, syscall.ENODATA) {
			err = errors.Join(err, xerr)
		}
	}
	n := &vnode{}
	n.set(&e)
	return n, s.Ino, err
}

func hashFile(p string) (apk.SHA256, error) {
	b, err := os.ReadFile(p)
	if err != nil {
		return apk.SHA256{}, err
	}
	w, err := wanted(&rootfs.Tree{}, &rootfs.Entry{Entry: apk.Entry{Type: apk.TypeFile}, Package: -1, Content: b})
	return w.SHA256, err
}
