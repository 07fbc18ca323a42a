package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/mirror"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
)

// mirrorFlags are the flags of mirror beside those of its input.
type mirrorFlags struct {
	inputFlags
	registryFlags
	keys signingKeys
}

func newMirror(a *app) *cobra.Command {
	var m mirrorFlags
	cmd := &cobra.Command{
		Use:   "mirror LOCK|CONFIG|MIRROR DIR|REF",
		Short: "Keep the packages that a lock needs",
		Long: `Keep the packages of a lock, of all its architectures, where an image can be built
from them for ever: in a directory (DIR/), as a static APK repository, or in a
registry, as one artifact under the reference REF. The lock is kept with them.

From a configuration it is the lock beside it, or one that is made now. MIRROR is a
mirror in turn, to copy out of a registry or into one. Package files are byte for
byte those of their repositories. What is there is not fetched, sent or written
again.

cairn build --mirror and cairn publish --mirror take packages from there. They hold
them against the lock, so that a mirror needs no trust and a directory's indexes no
signature; --signing-key signs them for apk and for other tools.`,
		Example: "  cairn mirror image.lock.json mirror/\n  cairn mirror image.yaml registry.example/team/app-packages:1\n" +
			"  cairn build --offline --mirror mirror/ image.yaml app:1 app.tar\n  cairn mirror registry.example/team/app-packages:1 mirror/",
		Args: args(2, 2, "LOCK|CONFIG|MIRROR and DIR|REF"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.run(cmd.Context(), a, args[0], args[1]) },
	}
	m.inputFlags.register(cmd)
	m.registryFlags.register(cmd)
	m.keys.register(cmd)
	return cmd
}

func (m *mirrorFlags) target() target.Options {
	return target.Options{Keychain: authn.DefaultKeychain, Insecure: m.plainHTTP, Create: true}
}

func (m *mirrorFlags) run(ctx context.Context, a *app, from, to string) (err error) {
	dir, toDir := mirror.IsDir(a.image(to))
	var ref target.Ref
	if !toDir {
		if ref, err = target.Parse(to); err != nil {
			return usageError{err}
		}
		if len(m.keys.files) > 0 {
			return usageError{errors.New("--signing-key: found a registry, expected a directory: an artifact has no index")}
		}
		if m.offline {
			return fmt.Errorf("mirror %s: %w", to, repository.ErrOffline)
		}
	}
	var o mirror.Options
	if o.Keys, err = m.keys.load(a); err != nil {
		return err
	}
	p := newProgress(a)
	defer p.stop()
	o.Progress = p.stage
	ws, err := m.inputFlags.open(a, p.event)
	if err != nil {
		return err
	}
	defer ws.Close()
	locks, err := m.locks(ctx, a, ws, from, &o)
	if err != nil {
		return err
	}
	if len(locks) > 1 && !toDir {
		return usageError{fmt.Errorf("mirror %s: found %d locks in it, expected one: an artifact holds one", from, len(locks))}
	}
	sum := &mirror.Result{}
	for _, name := range slices.Sorted(maps.Keys(locks)) {
		var r *mirror.Result
		if toDir {
			r, err = mirror.ToDir(ctx, ws, locks[name], dir, o)
		} else {
			var t *target.Target
			if t, err = target.Open(ctx, ref, m.target()); err != nil {
				return err
			}
			r, err = mirror.ToRegistry(ctx, ws, locks[name], t, o)
		}
		if err != nil {
			return err
		}
		sum.Packages, sum.Bytes, sum.Reference = sum.Packages+r.Packages, sum.Bytes+r.Bytes, r.Reference
		sum.Written.Blobs, sum.Written.Bytes = sum.Written.Blobs+r.Written.Blobs, sum.Written.Bytes+r.Written.Bytes
	}
	p.stop()
	return render(a.std.out, format(a.format), sum, nil, func(w io.Writer) error {
		where := sum.Reference
		if toDir {
			where = to
		}
		_, err := fmt.Fprintf(w, "%s: %d packages, %s, of which %s are new\n", where, sum.Packages, bytesText(sum.Bytes), bytesText(sum.Written.Bytes))
		return err
	})
}

// locks are those whose packages are to be kept, by name: of a mirror all that it has.
// A registry's artifact holds one.
func (m *mirrorFlags) locks(ctx context.Context, a *app, ws *packages.Workspace, from string, o *mirror.Options) (map[string]*lock.Lock, error) {
	ext := filepath.Ext(from)
	if ext != ".json" && ext != ".yaml" && ext != ".yml" && !strings.HasPrefix(from, "builtin://") {
		other, err := mirror.Open(ctx, a.image(from), m.target())
		if err != nil {
			return nil, err
		}
		o.Fetch.Open = other.Package
		locks, err := other.Locks(ctx)
		if err == nil && len(locks) == 0 {
			err = fmt.Errorf("mirror %s: no lock in it: %w", from, mirror.ErrNotMirror)
		}
		return locks, err
	}
	if ext == ".json" {
		l, err := lock.ReadFile(a.at(from))
		return map[string]*lock.Lock{"": l}, err
	}
	cfg, err := m.load(a, from)
	if err != nil {
		return nil, err
	}
	o.Fetch.Repositories = slices.Concat(cfg.Contents.BuildRepositories, cfg.Contents.Repositories)
	l, err := m.readLock(a, from)
	if err != nil {
		return nil, err
	}
	if l != nil {
		err = assemble.CheckLock(ctx, l, cfg)
	} else {
		l, err = assemble.Lock(ctx, ws, cfg, assemble.LockOptions{Unsafe: m.off})
	}
	return map[string]*lock.Lock{"": l}, err
}

// openMirror opens the mirror that a lock's packages are taken from.
func (b *buildFlags) openMirror(ctx context.Context, a *app, l *lock.Lock) (*mirror.Mirror, error) {
	if l == nil {
		return nil, usageError{errors.New("--mirror: found no lock, which says what is taken from a mirror\nhint: cairn lock writes one")}
	}
	if _, dir := mirror.IsDir(a.image(b.mirror)); !dir && b.offline {
		return nil, fmt.Errorf("mirror %s: %w", b.mirror, repository.ErrOffline)
	}
	return mirror.Open(ctx, a.image(b.mirror), target.Options{Keychain: authn.DefaultKeychain})
}
