package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/disk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Kept is how many guests stay in a directory of [Shared] when nobody uses them.
const Kept = 16

// Shared is a guest that others with the same tree use too, and that stays for those to
// come: in dir, below a name that follows from the tree; made as by [Make] when it is not
// there. Nobody may write to it. cache and dir are on one file system.
//
// release gives it up; until then no other process removes it.
func Shared(ctx context.Context, tree *rootfs.Tree, st *store.Store, cache, dir string) (root string, release func() error, err error) {
	if tree.Base != nil {
		return "", nil, errBase
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	name := filepath.Join(dir, identity(tree))
	root = filepath.Join(name, "root")
	for {
		lock, err := disk.Lock(ctx, name+".lock", unix.LOCK_SH)
		if err != nil {
			return "", nil, err
		}
		if whole(ctx, tree, root) == nil {
			now := time.Now()
			_ = os.Chtimes(lock.Name(), now, now) // for clean, which removes the oldest
			if err := clean(dir); err != nil {
				return "", nil, errors.Join(err, lock.Close())
			}
			return root, lock.Close, nil
		}
		// It is made by whoever is alone with it, and looked at again.
		if err := lock.Close(); err != nil {
			return "", nil, err
		}
		if lock, err = disk.Lock(ctx, name+".lock", unix.LOCK_EX); err != nil {
			return "", nil, err
		}
		if whole(ctx, tree, root) != nil {
			if err = remake(ctx, tree, st, cache, name); err == nil {
				err = whole(ctx, tree, root)
			}
		}
		if err = errors.Join(err, lock.Close()); err != nil {
			return "", nil, err
		}
	}
}

// remake makes a guest beside its place, and puts it there when it is complete.
func remake(ctx context.Context, tree *rootfs.Tree, st *store.Store, cache, name string) error {
	temp, err := os.MkdirTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return err
	}
	err = os.Chmod(temp, 0o755)
	if err == nil {
		err = Make(ctx, tree, st, cache, filepath.Join(temp, "root"))
	}
	if err == nil {
		err = disk.RemoveAll(name)
	}
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, disk.RemoveAll(temp))
	}
	return nil
}

// identity names a tree by everything that a guest has of it.
func identity(tree *rootfs.Tree) string {
	h := sha256.New()
	fmt.Fprintf(h, "guest 1 %t\n", os.Geteuid() == 0)
	for i := range tree.Entries {
		e := &tree.Entries[i]
		fmt.Fprintf(h, "%q %d %o %d %d %q %x %t\n", e.Path, e.Type, e.Mode, e.UID, e.GID, e.Link, e.SHA256, e.Package >= 0)
		if e.Content != nil {
			sum := sha256.Sum256(e.Content)
			h.Write(sum[:])
		}
		for _, k := range slices.Sorted(maps.Keys(e.Xattrs)) {
			fmt.Fprintf(h, "%q %q\n", k, e.Xattrs[k])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// whole checks that every entry of a tree is there with its kind, and files with their
// size and mode: it finds what a machine that stopped leaves.
func whole(ctx context.Context, tree *rootfs.Tree, root string) error {
	dir, err := unix.Open(root, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	g, ctx := errgroup.WithContext(ctx)
	for part := range slices.Chunk(tree.Entries, 1024) {
		g.Go(func() error {
			for i := range part {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				e := &part[i]
				var st unix.Stat_t
				if err := unix.Fstatat(dir, e.Path, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
					return err
				}
				size := e.Size
				if e.Content != nil {
					size = int64(len(e.Content))
				}
				if st.Mode&unix.S_IFMT != kindOf(e.Type) || e.Type == apk.TypeFile && (st.Size != size || st.Mode&0o7777 != uint32(e.Mode)&0o7777) {
					return fmt.Errorf("guest: %s: is not what it was made as", e.Path)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// kindOf is the kind of file that an entry is on the disk.
func kindOf(t apk.EntryType) uint32 {
	switch t {
	case apk.TypeDir:
		return unix.S_IFDIR
	case apk.TypeSymlink:
		return unix.S_IFLNK
	}
	return unix.S_IFREG
}

// clean removes the guests that nobody has used for the longest time.
func clean(dir string) error {
	locks, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err != nil || len(locks) <= Kept {
		return err
	}
	used := map[string]time.Time{}
	for _, l := range locks {
		if fi, err := os.Stat(l); err == nil {
			used[l] = fi.ModTime()
		}
	}
	slices.SortFunc(locks, func(a, b string) int { return used[b].Compare(used[a]) })
	for _, l := range locks[Kept:] {
		f, err := os.OpenFile(l, os.O_RDWR, 0o600)
		if err != nil {
			continue // another process removed it
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = errors.Join(disk.RemoveAll(strings.TrimSuffix(l, ".lock")), os.Remove(l))
		}
		if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
