package definition

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Files returns the definitions of a directory, sorted: what ends in .yaml or
// .yml and does not begin with a dot. Directories in it are not looked into:
// they hold what belongs to one definition, or reusable pipelines.
func Files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		if ext := filepath.Ext(name); e.IsDir() || strings.HasPrefix(name, ".") || ext != ".yaml" && ext != ".yml" {
			continue
		}
		out = append(out, filepath.Join(dir, name))
	}
	return out, nil
}

// LoadAll reads and compiles many definitions, several at a time. The results
// are in the order of the paths; definitions that are not for the architecture
// are left out. The error is an *[Errors] with the problems of all files when
// they can be read.
func LoadAll(ctx context.Context, paths []string, o Options, co CompileOptions) ([]*Build, error) {
	builds := make([]*Build, len(paths))
	errs := make([]error, len(paths))
	each(ctx, len(paths), func(i int) {
		d, err := ReadFile(paths[i], o)
		if err == nil {
			builds[i], err = Compile(d, co)
		}
		if errors.Is(err, ErrArch) {
			err = nil
		}
		errs[i] = err
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := collect(errs); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(builds, func(b *Build) bool { return b == nil }), nil
}

// collect makes one error of many: an *Errors when all are.
func collect(errs []error) error {
	all := &Errors{}
	for _, err := range errs {
		var e *Errors
		switch {
		case err == nil:
		case errors.As(err, &e):
			all.Problems = append(all.Problems, e.Problems...)
		default:
			return errors.Join(errs...)
		}
	}
	if len(all.Problems) == 0 {
		return nil
	}
	all.Problems = sorted(all.Problems)
	return all
}

// each calls do for 0 to n-1, on as many goroutines as there are processors,
// until the context ends.
func each(ctx context.Context, n int, do func(int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	group.Wait()
}
