package assemble

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
)

// Lock resolves a configuration for all its architectures, fetches what it
// resolved to, and plans the layers, so that the assignment of packages to
// layers is part of the lock.
func Lock(ctx context.Context, ws *packages.Workspace, cfg *config.Config, o LockOptions) (*lock.Lock, error) {
	all, err := openBases(ctx, cfg, ws.Store())
	if err != nil {
		return nil, err
	}
	l, err := resolve(ctx, ws, cfg, all, o)
	if err != nil {
		return nil, err
	}
	for _, arch := range cfg.Architectures() {
		j := &job{source: fromWorkspace{ws}, cfg: cfg, lock: l, arch: arch, unsafe: o.Unsafe.packages(), base: all[arch.APK]}
		if o.Previous != nil && o.Previous.Cairn != nil && o.Previous.Cairn.Request.Layering == l.Cairn.Request.Layering {
			j.previous = o.Previous.Segments(arch.APK)
		}
		if err := j.healing(func() error { return j.plan(ctx) }); err != nil {
			return nil, err
		}
		l.Cairn.Slices = append(l.Cairn.Slices, j.sliced...)
		l.Cairn.Layers = append(l.Cairn.Layers, lock.Layers{Architecture: arch.APK, Segments: j.layers.Assignment().Segments})
	}
	return l, nil
}

func resolve(ctx context.Context, ws *packages.Workspace, cfg *config.Config, all bases, o LockOptions) (*lock.Lock, error) {
	r, err := request(cfg, all)
	if err != nil {
		return nil, err
	}
	r.Previous, r.Update, r.UpdateAll, r.AllowRollback = o.Previous, o.Update, o.UpdateAll, o.AllowRollback
	r.Unsafe = o.Unsafe.packages()
	return ws.Resolve(ctx, r)
}

// request is the part of a configuration that is resolved.
func request(cfg *config.Config, all bases) (packages.Request, error) {
	r := packages.Request{
		BuildRepositories: cfg.Contents.BuildRepositories,
		Repositories:      cfg.Contents.Repositories,
		Keyring:           cfg.Keyring(),
		Checksum:          cfg.ApkoChecksum,
	}
	if len(cfg.Sources) > 0 {
		r.Name = cfg.Sources[0].Name
	}
	world, err := cfg.World()
	if err != nil {
		return r, err
	}
	for _, d := range world {
		r.Packages = append(r.Packages, d.String())
	}
	if r.Keyrings, err = cfg.RepositoryKeys(); err != nil {
		return r, err
	}
	for _, a := range cfg.Architectures() {
		r.Architectures = append(r.Architectures, a.APK)
	}
	strategy, budget := cfg.Layers()
	r.Record = lock.Request{
		Packages:      r.Packages,
		Repositories:  redacted(slices.Concat(r.BuildRepositories, r.Repositories)),
		Keyring:       append(keyNames(r.Keyring), keyringNames(r.Keyrings)...),
		Architectures: r.Architectures,
		Layering:      fmt.Sprintf("%s/%d", strategy, budget),
	}
	for i := range cfg.Files {
		f := &cfg.Files[i]
		r.Record.Files = append(r.Record.Files, lock.File{Path: f.Path, SHA256: sha256.Sum256(f.Bytes), Size: int64(len(f.Bytes))})
	}
	if r.Record.Slices, err = slicesAsked(cfg); err != nil {
		return r, err
	}
	for i := range cfg.App {
		a := &cfg.App[i]
		if a.Tree == nil {
			return r, fmt.Errorf("app[%d]: %s: its source was not read", i, a.Path)
		}
		r.Record.App = append(r.Record.App, lock.File{Path: a.Path, SHA256: a.Tree.Digest(), Size: a.Tree.Size()})
	}
	all.describe(&r)
	return r, nil
}

func redacted(urls []string) []string {
	out := make([]string, len(urls))
	for i, u := range urls {
		tag := ""
		if strings.HasPrefix(u, "@") {
			if t, rest, ok := strings.Cut(u, " "); ok {
				tag, u = t+" ", rest
			}
		}
		out[i] = tag + repository.Redact(u)
	}
	return out
}

// keyNames spells keys for the record; an inline key stands by its digest.
func keyNames(keys []string) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		if strings.Contains(k, "-----BEGIN") {
			out[i] = "inline " + apk.SHA256(sha256.Sum256([]byte(k))).String()
			continue
		}
		out[i] = repository.Redact(k)
	}
	return out
}

// keyringNames spells the keys of single repositories for the record.
func keyringNames(keyrings map[string][]string) []string {
	var out []string
	for _, url := range slices.Sorted(maps.Keys(keyrings)) {
		for _, k := range keyNames(keyrings[url]) {
			out = append(out, repository.Redact(url)+": "+k)
		}
	}
	return out
}

// StaleError says that a lock was made for another configuration.
type StaleError struct {
	Name    string   // of the configuration
	Changes []string // one line each
}

// Error lists the changes and how to renew the lock.
func (e *StaleError) Error() string {
	return fmt.Sprintf("lock of %s: stale: the configuration changed since:\n%s\nhint: cairn lock %s",
		e.Name, strings.Join(e.Changes, "\n"), e.Name)
}

// checkLock refuses a lock that is not of this configuration. Architectures
// that the lock has beyond those wanted do not matter.
func checkLock(l *lock.Lock, r packages.Request) error {
	var changes []string
	if l.Cairn == nil {
		if l.StaleChecksum(r.Checksum) {
			changes = []string{"checksum: locked " + l.Config.Checksum + ", now " + r.Checksum}
		}
	} else {
		now := r.Record
		if subset(now.Architectures, l.Cairn.Request.Architectures) {
			now.Architectures = l.Cairn.Request.Architectures
		}
		changes = l.Stale(now)
	}
	have := l.Architectures()
	for _, a := range r.Architectures {
		if !subset([]string{a}, have) && len(changes) == 0 && wants(r, a) {
			changes = append(changes, "archs: "+a+" is not locked")
		}
	}
	changes = append(changes, lockedTwice(l, r)...)
	if len(changes) > 0 {
		return &StaleError{Name: r.Name, Changes: changes}
	}
	return nil
}

func subset(some, all []string) bool {
	in := map[string]bool{}
	for _, s := range all {
		in[s] = true
	}
	for _, s := range some {
		if !in[s] {
			return false
		}
	}
	return true
}

// CheckLock returns a [*StaleError] when l was made for another configuration
// than cfg, or for another base image.
func CheckLock(ctx context.Context, l *lock.Lock, cfg *config.Config) error {
	all, err := openBases(ctx, cfg, nil)
	if err != nil {
		return err
	}
	r, err := request(cfg, all)
	if err != nil {
		return err
	}
	return checkLock(l, r)
}
