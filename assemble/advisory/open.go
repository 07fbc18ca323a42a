package advisory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cairn-dev/cairn/packages/store"
)

// kindFeed is the kind of compiled feeds in a store.
const kindFeed = "advisory-feed"

// Open reads a feed from a file, or from the JSON files of a directory. With a store,
// which may be nil, the compiled form of a file is kept there, so that the next time it
// is not parsed again.
func Open(ctx context.Context, name string, st *store.Store) (*Feed, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	if fi.IsDir() {
		return openDir(ctx, name)
	}
	if limit := (Limits{}).withDefaults().Bytes; fi.Size() > limit {
		return nil, fmt.Errorf("feed %s: %w: %d bytes, at most %d are read", name, ErrFeed, fi.Size(), limit)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	return cached(ctx, name, data, st)
}

// cached reads a feed by way of the store.
func cached(ctx context.Context, name string, data []byte, st *store.Store) (*Feed, error) {
	if st == nil {
		return Read(name, data, Limits{})
	}
	key := magic + sumOf(data).Hex()
	compiled, err := st.ReadObject(ctx, kindFeed, key, 1<<30)
	if err == nil {
		if f, err := Read(name, compiled, Limits{}); err == nil {
			return f, nil
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	f, err := Read(name, data, Limits{})
	if err != nil {
		return nil, err
	}
	if compiled, err = f.Marshal(); err != nil {
		return nil, err
	}
	if _, err := st.PutObject(ctx, kindFeed, key, func(w io.Writer) error { _, err := w.Write(compiled); return err }); err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, err
	}
	return f, nil
}

func openDir(ctx context.Context, dir string) (*Feed, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	limits := (Limits{}).withDefaults()
	return ReadAll(dir, limits, func() (string, []byte, error) {
		if len(files) == 0 {
			return "", nil, io.EOF
		}
		if ctx.Err() != nil {
			return "", nil, context.Cause(ctx)
		}
		name := files[0]
		files = files[1:]
		f, err := os.Open(name)
		if err != nil {
			return "", nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, limits.Record+1))
		if err == nil && int64(len(b)) > limits.Record {
			err = fmt.Errorf("feed %s: %w: more than %d bytes", name, ErrFeed, limits.Record)
		}
		return filepath.Base(name), b, err
	})
}
