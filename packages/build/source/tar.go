package source

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeTar packs a directory: in the order of names, owned by root, without times.
func writeTar(dir string, writers ...io.Writer) error {
	buffered := bufio.NewWriterSize(io.MultiWriter(writers...), 1<<20)
	w := tar.NewWriter(buffered)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(rel), Mode: 0o644, Format: tar.FormatPAX}
		switch mode := info.Mode(); {
		case mode.IsDir():
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
			h.Name += "/"
		case mode.IsRegular():
			h.Typeflag, h.Size = tar.TypeReg, info.Size()
			if mode&0o111 != 0 {
				h.Mode = 0o755
			}
		case mode&fs.ModeSymlink != 0:
			h.Typeflag = tar.TypeSymlink
			if h.Linkname, err = os.Readlink(name); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s: neither file, directory nor symbolic link", rel)
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			return nil
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return errors.Join(err, f.Close())
	})
	return errors.Join(err, w.Close(), buffered.Flush())
}
