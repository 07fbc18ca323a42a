package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cairn-dev/cairn/packages/definition"
)

// sourceDir is the directory beside a definition whose files are in the workspace when
// the first step runs: that of the package's name.
func sourceDir(d *definition.Build) string {
	if d.File == "" {
		return ""
	}
	dir := filepath.Join(filepath.Dir(d.File), d.Package.Name)
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return ""
	}
	return dir
}

// Inputs is a digest of the files beside the definition: names, modes and content.
func (b *Builder) Inputs(ctx context.Context, d *definition.Build) (string, error) {
	dir := sourceDir(d)
	if dir == "" {
		return "", nil
	}
	h := sha256.New()
	err := walk(ctx, dir, func(rel string, info fs.FileInfo) error {
		fmt.Fprintf(h, "%s\x00%s\x00%d\x00", rel, info.Mode()&(fs.ModeType|0o111), info.Size())
		switch {
		case info.Mode().IsRegular():
			f, err := os.Open(filepath.Join(dir, rel))
			if err != nil {
				return err
			}
			_, err = io.Copy(h, f)
			return errors.Join(err, f.Close())
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(filepath.Join(dir, rel))
			fmt.Fprintf(h, "%s\x00", to)
			return err
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// walk visits what is below a directory, in the order of names.
func walk(ctx context.Context, dir string, visit func(rel string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		return visit(rel, info)
	})
}

// makeDir makes a directory with the mode 0755, whatever the umask: steps copy modes.
func makeDir(name string) error {
	if err := os.Mkdir(name, 0o755); err != nil {
		return err
	}
	return os.Chmod(name, 0o755)
}

// copyTree copies the files beside a definition.
func copyTree(ctx context.Context, from, to string) error {
	return walk(ctx, from, func(rel string, info fs.FileInfo) error {
		src, dst := filepath.Join(from, rel), filepath.Join(to, rel)
		switch mode := info.Mode(); {
		case mode.IsDir():
			return makeDir(dst)
		case mode&fs.ModeSymlink != 0:
			link, err := os.Readlink(src)
			if err != nil {
				return err
			}
			return os.Symlink(link, dst)
		case mode.IsRegular():
			in, err := os.Open(src)
			if err != nil {
				return err
			}
			defer in.Close()
			out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = io.Copy(out, in)
			return errors.Join(err, out.Chmod(0o644|mode&0o111), out.Close())
		}
		return fmt.Errorf("%s: neither file, directory nor symbolic link", src)
	})
}
