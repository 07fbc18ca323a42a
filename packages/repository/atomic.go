package repository

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

const temporaryMark = ".tmp-"

func isTemporary(name string) bool { return strings.Contains(filepath.Base(name), temporaryMark) }

// writeAtomic puts content at name: after it, whatever happens, name is the old
// file or the new one. The mode does not depend on the umask.
func writeAtomic(name string, content []byte, mode os.FileMode) error {
	tmp, err := writeTemporary(name, content, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// writeNew is writeAtomic for a name that must not exist yet (fs.ErrExist).
func writeNew(name string, content []byte, mode os.FileMode) error {
	tmp, err := writeTemporary(name, content, mode)
	if err != nil {
		return err
	}
	return errors.Join(os.Link(tmp, name), os.Remove(tmp))
}

func writeTemporary(name string, content []byte, mode os.FileMode) (tmp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+temporaryMark+"*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
