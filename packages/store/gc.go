package store

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// PruneOptions say what may stay. Garbage is removed in any case.
type PruneOptions struct {
	// MaxSize is how many bytes may stay: the least recently used things go
	// until the rest fits. 0 means no limit.
	MaxSize int64
	// KeepNewerThan keeps what was used since, even above MaxSize. Without
	// MaxSize everything else goes. The zero time keeps nothing for its age.
	KeepNewerThan time.Time
	DryRun        bool // report only
}

// PruneReport says what was removed, or would be, and what stays.
type PruneReport struct {
	// Things: a package's data with its receipts, an object, a garbage file.
	Removed Usage `json:"removed"`
	Kept    Usage `json:"kept"`
}

// Prune removes what was not used for the longest time. It needs the store for
// itself: when other processes have it open the error is [ErrBusy].
func (s *Store) Prune(ctx context.Context, o PruneOptions) (PruneReport, error) {
	var report PruneReport
	err := s.alone(func() error {
		v, err := s.takeInventory()
		if err != nil {
			return err
		}
		return s.prune(ctx, v, o, &report)
	})
	return report, err
}

func (s *Store) prune(ctx context.Context, v *inventory, o PruneOptions, report *PruneReport) error {
	var total int64
	for _, i := range v.items {
		total += i.size()
	}
	var errs []error
	for path, size := range v.garbage {
		report.Removed.add(size)
		if !o.DryRun {
			errs = append(errs, removeFiles(path))
		}
	}
	for _, i := range v.sorted() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !o.drops(i, total) {
			report.Kept.add(i.size())
			continue
		}
		total -= i.size()
		report.Removed.add(i.size())
		if !o.DryRun {
			errs = append(errs, s.drop(i))
		}
	}
	return errors.Join(errs...)
}

// drops decides about one item when the items that are left take total bytes.
func (o *PruneOptions) drops(i *item, total int64) bool {
	switch {
	case !i.referred(), len(i.receipts) == 0 && i.blob < 0:
		return true
	case !o.KeepNewerThan.IsZero() && !i.used.Before(o.KeepNewerThan):
		return false
	case o.MaxSize > 0:
		return total > o.MaxSize
	}
	return !o.KeepNewerThan.IsZero()
}

// drop removes an item: what refers to the data before the data.
func (s *Store) drop(i *item) error {
	return removeFiles(slices.Concat(i.receipts, i.refs, i.marks, []string{s.blobPath(i.data)})...)
}

// Clean removes everything from the store; it needs the store for itself, like
// [Store.Prune].
func (s *Store) Clean(ctx context.Context) error {
	return s.alone(func() error {
		var errs []error
		for _, part := range []string{"receipts", "objects", "by-data", "blobs"} {
			if err := ctx.Err(); err != nil {
				return err
			}
			errs = append(errs, os.RemoveAll(s.path(part)), makeDir(s.path(part)))
		}
		return storageError("clean "+s.dir, errors.Join(errs...))
	})
}

// alone calls fn while nobody else uses the store: no other process, and no
// ingestion in this one.
func (s *Store) alone(fn func() error) (err error) {
	s.gc.Lock()
	defer s.gc.Unlock()
	if s.lock == nil {
		return &kindError{kind: ErrBusy, text: "store " + s.dir + ": cannot be locked"}
	}
	err = flock(s.lock, unix.LOCK_EX|unix.LOCK_NB)
	// A lock that cannot be strengthened is lost, and needs to be taken again.
	defer func() { err = errors.Join(err, storageError("lock "+s.dir, flock(s.lock, unix.LOCK_SH))) }()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return &kindError{kind: ErrBusy, text: "store " + s.dir + ": in use by another process"}
	}
	if err != nil {
		return storageError("lock "+s.dir, err)
	}
	return fn()
}
