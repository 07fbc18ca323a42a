package packages

import (
	"context"
	"time"

	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// CacheInfo says what a workspace keeps.
type CacheInfo struct {
	Store store.Info           `json:"store"`
	Index repository.CacheInfo `json:"index"`
}

// CacheInfo counts what the workspace keeps.
func (w *Workspace) CacheInfo() (CacheInfo, error) {
	var info CacheInfo
	var err error
	if info.Store, err = w.store.Info(); err != nil {
		return info, err
	}
	info.Index, err = w.client.CacheInfo()
	return info, err
}

// CheckCache reads everything again and says what is wrong, a line each. What is
// damaged is removed. With full, each package is read as if it came in now.
func (w *Workspace) CheckCache(ctx context.Context, full bool) ([]string, error) {
	problems, err := w.store.Check(ctx, full)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range problems {
		out = append(out, p.String())
	}
	bad, err := w.client.CheckCache(ctx)
	return append(out, bad...), err
}

// PruneCache removes what was not used for long from the store, and with an age
// limit from the index cache too.
func (w *Workspace) PruneCache(ctx context.Context, o store.PruneOptions) (store.PruneReport, error) {
	r, err := w.store.Prune(ctx, o)
	if err != nil || o.KeepNewerThan.IsZero() || o.DryRun {
		return r, err
	}
	return r, w.pruneIndex(ctx, o.KeepNewerThan, &r)
}

// CleanCache removes everything.
func (w *Workspace) CleanCache(ctx context.Context) (store.PruneReport, error) {
	var r store.PruneReport
	info, err := w.store.Info()
	if err != nil {
		return r, err
	}
	if err := w.store.Clean(ctx); err != nil {
		return r, err
	}
	r.Removed.Bytes = info.Total
	r.Removed.Count = info.Data.Count + info.Receipts.Count + info.Garbage.Count
	for _, u := range info.Objects {
		r.Removed.Count += u.Count
	}
	return r, w.pruneIndex(ctx, time.Now().Add(time.Hour), &r)
}

func (w *Workspace) pruneIndex(ctx context.Context, before time.Time, r *store.PruneReport) error {
	files, size, err := w.client.PruneCache(ctx, before)
	r.Removed.Count += files
	r.Removed.Bytes += size
	return err
}
