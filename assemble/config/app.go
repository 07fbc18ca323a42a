package config

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/cairn-dev/cairn/assemble/apptree"
	"github.com/cairn-dev/cairn/packages/apk"
)

// DefaultDirMode is the mode of directories of an app entry that gives none.
const DefaultDirMode = 0o755

// noApp is the App of options that have another Open.
func noApp(path string) ([]byte, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

// ModeOf is the mode that something of the tree has in the image.
func (a *App) ModeOf(e *apptree.Entry) uint32 {
	special := e.Mode & 0o7000 // kept on request only
	switch {
	case e.Type == apk.TypeSymlink:
		return e.Mode
	case e.Type == apk.TypeDir && a.DirMode != nil:
		return *a.DirMode
	case e.Type == apk.TypeDir:
		return special | DefaultDirMode
	case a.Mode == nil:
		return e.Mode
	}
	mode := *a.Mode | special
	if e.Mode&0o100 != 0 {
		mode |= mode & 0o444 >> 2 // who may read may execute
	}
	return mode
}

// readApps reads what one configuration's app key names.
func (l *loader) readApps(name string, c *Config) {
	for i := range c.App {
		l.readApp(name, c, i)
	}
}

func (l *loader) readApp(name string, c *Config, i int) {
	a := &c.App[i]
	if a.Source == "" || a.Path == "" || strings.Contains(a.Source, "://") {
		return // reported already
	}
	fail := func(key, problem, detail, hint string, err error) {
		l.addAt(c, Problem{Problem: problem, Detail: detail, Hint: hint, Err: err}, "app", index(i), key)
	}
	a.Opened = beside(name, a.Source)
	for _, p := range a.Exclude {
		if apptree.CheckPattern(p) != nil {
			return // reported already
		}
	}
	tree, err := l.openApp(a)
	if err != nil {
		fail("source", "not readable", notReadable(a.Opened, err), appHint(err), err)
		return
	}
	a.Tree = tree
	l.apps += int64(len(tree.Archive()))
	if a.SHA256 == "" {
		return
	}
	if want, err := apk.ParseSHA256(a.SHA256); err == nil && want != tree.Digest() {
		fail("sha256", "content differs", a.Opened+": found "+tree.Digest().Hex()+", expected "+want.Hex(), "", nil)
	}
}

func (l *loader) openApp(a *App) (*apptree.Tree, error) {
	o := apptree.Options{Exclude: a.Exclude, KeepSetuid: a.KeepSetuid, MaxSize: l.MaxAppSize - l.apps}
	if o.MaxSize <= 0 {
		return nil, apptree.ErrTooLarge
	}
	if l.Options.App == nil {
		return apptree.Open(a.Opened, o)
	}
	b, err := l.Options.App(a.Path)
	if err != nil {
		return nil, err
	}
	return apptree.ParseArchive(b, o)
}

// appHint says what helps against an error of a source.
func appHint(err error) string {
	switch {
	case errors.Is(err, apptree.ErrEscapes):
		return "leave it out with exclude, or make the link with paths"
	case errors.Is(err, apptree.ErrTooLarge):
		return "make a package of it"
	case errors.Is(err, apptree.ErrType):
		return "leave it out with exclude"
	}
	return ""
}
