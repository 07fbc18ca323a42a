package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// tempPrefix begins the name of every temporary file beside an output.
const tempPrefix = ".cairn-tmp-"

// atomicFile is a file that appears under its name whole or not at all. What
// was there before stays until commit.
type atomicFile struct {
	*os.File
	path string // the final name
	temp string // the temporary name; empty while the file has none
	mode fs.FileMode
	done bool
	// direct is set when the output is a device or a pipe: there is nothing
	// to replace.
	direct bool
}

// createAtomic begins a new version of the file at path. A symbolic link is
// replaced, not followed; a device, a pipe or a socket is written to directly.
func createAtomic(path string, mode fs.FileMode) (*atomicFile, error) {
	if fi, err := os.Lstat(path); err == nil && !fi.Mode().IsRegular() && fi.Mode()&fs.ModeSymlink == 0 {
		if fi.IsDir() {
			return nil, &fs.PathError{Op: "create", Path: path, Err: errors.New("a directory is in its place")}
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &atomicFile{File: f, path: path, direct: true}, nil
	}
	if f := openNameless(filepath.Dir(path)); f != nil {
		return &atomicFile{File: f, path: path, mode: mode}, nil
	}
	return createNamed(path, mode)
}

// createNamed is createAtomic where files without a name cannot be had.
func createNamed(path string, mode fs.FileMode) (*atomicFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*")
	if err != nil {
		return nil, err
	}
	return &atomicFile{File: f, path: path, temp: f.Name(), mode: mode}, nil
}

// commit gives the file its mode and its name. After it, abort does nothing.
func (a *atomicFile) commit() error {
	if a.direct {
		a.done = true
		return a.Close()
	}
	if err := a.Chmod(a.mode); err != nil {
		return err
	}
	if a.temp == "" {
		temp, err := nameFile(a.File, filepath.Dir(a.path))
		if err != nil {
			return err
		}
		a.temp = temp
	}
	if err := a.Close(); err != nil {
		return err
	}
	if err := os.Rename(a.temp, a.path); err != nil {
		return err
	}
	a.done = true
	return nil
}

// abort removes what was written; it may be called after commit.
func (a *atomicFile) abort() {
	if a.done {
		return
	}
	a.done = true
	a.Close()
	if a.temp != "" {
		os.Remove(a.temp)
	}
}

// writeFile puts content at path, whole or not at all.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	f, err := createAtomic(path, mode)
	if err != nil {
		return err
	}
	defer f.abort()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.commit()
}

// mkdir makes a directory with exactly this mode, unless it is there already.
// It reports whether it made one.
func mkdir(path string, mode fs.FileMode) (bool, error) {
	switch err := os.Mkdir(path, mode); {
	case err == nil:
		return true, os.Chmod(path, mode)
	case !errors.Is(err, fs.ErrExist):
		return false, err
	}
	if !isDir(path) {
		return false, fmt.Errorf("mkdir %s: a file is in its place", path)
	}
	return false, nil
}
