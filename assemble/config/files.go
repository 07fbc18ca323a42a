package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// readFiles fills in the content of the files that one configuration names.
func (l *loader) readFiles(name string, c *Config) {
	for i := range c.Files {
		l.readFile(name, c, i)
	}
}

func (l *loader) readFile(name string, c *Config, i int) {
	f := &c.Files[i]
	fail := func(key, problem, detail, hint string, err error) {
		l.addAt(c, Problem{Problem: problem, Detail: detail, Hint: hint, Err: err}, "files", index(i), key)
	}
	switch {
	case f.Content != nil:
		f.Bytes = []byte(*f.Content)
	case f.Source == "" || strings.Contains(f.Source, "://"):
		return // reported already
	default:
		f.Opened = beside(name, f.Source)
		data, err := l.readLocal(f.Opened)
		if err != nil {
			fail("source", "not readable", notReadable(f.Opened, err), "", err)
			return
		}
		f.Bytes = data
	}
	found := apk.SHA256(sha256.Sum256(f.Bytes))
	if f.SHA256 == "" {
		if f.Source != "" && f.Content == nil {
			fail("sha256", "missing", "expected the digest of "+f.Opened, "its content now has sha256: "+found.Hex(), nil)
		}
		return
	}
	want, err := apk.ParseSHA256(f.SHA256)
	if err == nil && want != found {
		fail("sha256", "content differs", "found "+found.Hex()+", expected "+want.Hex(), "", nil)
	}
}

// addAt adds a problem of a value of a configuration, with its place.
func (l *loader) addAt(c *Config, p Problem, key ...string) {
	at, _ := c.marks.at(key...)
	p.File, p.Line, p.Column, p.Key = at.file, at.line, at.col, keyPath(key...)
	l.add(p)
}

// beside is where a file is that a configuration names: relative to the configuration.
func beside(config, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(filepath.Dir(config), file)
}

func notReadable(file string, err error) string {
	return "found " + strconv.Quote(shorten(file)) + ": " + pathCause(err).Error()
}

func (l *loader) readLocal(name string) ([]byte, error) {
	f, err := l.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := readAll(f, l.MaxFileSize, true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(err.Error(), "too large") {
		return nil, fmt.Errorf("%w; make a package of it", err)
	}
	return data, err
}
