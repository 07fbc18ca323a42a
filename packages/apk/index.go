package apk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxEntry bounds one index or installed-database entry.
const maxEntry = 64 << 20

// ErrIndex is wrapped by the errors of [ParseIndex] that say what is wrong with
// the text; errors of the reader and of the callback are returned as they are.
var ErrIndex = errors.New("malformed index")

type indexError struct {
	line    int
	problem string
}

func (e *indexError) Error() string        { return fmt.Sprintf("index line %d: %s", e.line, e.problem) }
func (e *indexError) Is(target error) bool { return target == ErrIndex }

// ParseIndex reads the text of an APKINDEX file and calls fn for each entry in
// order. It stops at the first error of fn, which it returns unchanged. fn may
// keep the package; packages that were read together share memory.
//
// The text is read as apk-tools 2.14 reads it: the later of two equal keys wins,
// lists are joined, unknown lower-case keys are ignored. Stricter than apk-tools,
// which drops what it cannot read: an entry with a list or a number that cannot
// be read (the versions of provides need not be valid), or with an unknown upper-case key, is delivered with
// [Package.Uninstallable] set, and one whose name, version or architecture could
// not be part of a file name is an error.
func ParseIndex(r io.Reader, fn func(*Package) error) error {
	p := indexParser{fn: fn}
	return eachEntry(r, p.entry)
}

// eachEntry cuts the text into chunks of whole entries (which end with an empty
// line) and calls fn with each chunk and the number of its first line.
func eachEntry(r io.Reader, fn func(text string, line int) error) error {
	buf := make([]byte, 0, 256<<10)
	for line := 1; ; {
		var last bool
		var err error
		if buf, last, err = fill(r, buf); err != nil {
			return err
		}
		end := len(buf)
		if !last {
			if end = bytes.LastIndex(buf, []byte("\n\n")) + 2; end < 2 {
				if buf, err = grow(buf, line); err != nil {
					return err
				}
				continue
			}
		}
		text := string(buf[:end])
		if err := fn(text, line); err != nil || last {
			return err
		}
		line += strings.Count(text, "\n")
		buf = buf[:copy(buf, buf[end:])]
	}
}

// fill reads until buf is full or the reader has no more. (io.ReadFull would
// hide a truncated gzip stream behind its own io.ErrUnexpectedEOF.)
func fill(r io.Reader, buf []byte) (_ []byte, last bool, err error) {
	for empty := 0; len(buf) < cap(buf); {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == io.EOF:
			return buf, true, nil
		case err != nil:
			return buf, false, err
		case n > 0:
			empty = 0
		case empty == 100:
			return buf, false, io.ErrNoProgress
		default:
			empty++
		}
	}
	return buf, false, nil
}

func grow(buf []byte, line int) ([]byte, error) {
	if len(buf) >= maxEntry {
		return nil, &indexError{line, fmt.Sprintf("entry is longer than %d bytes", maxEntry)}
	}
	return append(make([]byte, 0, 2*cap(buf)), buf...), nil
}

// indexParser turns text into packages. It hands out packages and dependencies
// from slabs: 23,000 entries cost a few hundred allocations.
type indexParser struct {
	fn       func(*Package) error
	packages []Package
	atoms    []Dependency
}

// entry parses a chunk of whole entries.
func (x *indexParser) entry(text string, line int) error {
	var p *Package
	start := line
	for ; text != ""; line++ {
		var l string
		if n := strings.IndexByte(text, '\n'); n >= 0 {
			l, text = text[:n], text[n+1:]
		} else {
			l, text = text, ""
		}
		if l == "" {
			if p != nil {
				if err := x.finish(p, start); err != nil {
					return err
				}
				p = nil
			}
			continue
		}
		if p == nil {
			p, start = x.newPackage(), line
		}
		if len(l) < 2 || l[1] != ':' {
			return &indexError{line, fmt.Sprintf("%.60q: expected a letter, a colon and a value", l)}
		}
		if problem := x.field(p, l[0], l[2:]); problem != "" {
			return &indexError{line, problem}
		}
	}
	if p != nil {
		return x.finish(p, start)
	}
	return nil
}

func (x *indexParser) newPackage() *Package {
	if len(x.packages) == 0 {
		x.packages = make([]Package, 64)
	}
	p := &x.packages[0]
	x.packages = x.packages[1:]
	return p
}

func (x *indexParser) finish(p *Package, line int) error {
	switch {
	case p.Name == "":
		return &indexError{line, "entry has no name (P:)"}
	case p.Version == "":
		return &indexError{line, "entry " + p.Name + " has no version (V:)"}
	}
	return x.fn(p)
}

// field sets one key of p. It returns what makes the whole index unusable; what
// makes only this entry unusable goes to p.Uninstallable.
func (x *indexParser) field(p *Package, key byte, value string) string {
	ok := true
	switch key {
	case 'P':
		p.Name = value
		return checkPackageName(value)
	case 'V':
		p.Version = value
		return checkFilePart("version", value)
	case 'A':
		p.Arch = value
		return checkFilePart("architecture", value)
	case 'C':
		ok = p.Checksum.parse(value)
	case 'S':
		p.Size, ok = parseInt(value)
	case 'I':
		p.InstalledSize, ok = parseInt(value)
	case 't':
		p.BuildTime, ok = parseInt(value)
	case 'k':
		p.ProviderPriority, ok = parseInt(value)
	case 'D':
		x.list(p, &p.Depends, value, false)
	case 'p':
		x.list(p, &p.Provides, value, true)
	case 'i':
		x.list(p, &p.InstallIf, value, false)
	default:
		return x.text(p, key, value)
	}
	if !ok {
		p.Uninstallable = fmt.Sprintf("value %.60q of %c: cannot be read", value, key)
	}
	return ""
}

func (x *indexParser) text(p *Package, key byte, value string) string {
	switch key {
	case 'T':
		p.Description = value
	case 'U':
		p.URL = value
	case 'L':
		p.License = value
	case 'o':
		p.Origin = value
	case 'm':
		p.Maintainer = value
	case 'c':
		p.Commit = value
	case 'F', 'M', 'R', 'Z': // installed database only
	default:
		if !isLower(key) {
			p.Uninstallable = fmt.Sprintf("key %q is not known to this version", key)
		}
	}
	return ""
}

// list appends the atoms of value to *to, in the parser's slab.
func (x *indexParser) list(p *Package, to *[]Dependency, value string, loose bool) {
	if cap(x.atoms)-len(x.atoms) < 64 {
		x.atoms = make([]Dependency, 0, 1024)
	}
	if *to != nil {
		x.atoms = append(x.atoms, *to...)
		x.atoms = x.atoms[len(x.atoms)-len(*to):]
	} else {
		x.atoms = x.atoms[len(x.atoms):]
	}
	out, err := appendParsed(x.atoms, value, loose)
	if err != nil {
		p.Uninstallable = err.Error()
		return
	}
	if len(out) > 0 {
		*to = out[:len(out):len(out)]
	}
	x.atoms = out
}

// parseInt reads a non-negative decimal number.
func parseInt(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// checkPackageName refuses names that could not be part of a file name.
func checkPackageName(name string) string {
	if name != "" && !isAlnum(name[0]) && name[0] != '_' {
		return fmt.Sprintf("package name %.100q begins with %q", name, name[0])
	}
	return checkFilePart("package name", name)
}

func checkFilePart(what, s string) string {
	if s == "" || s == "." || s == ".." {
		return fmt.Sprintf("%s is %q", what, s)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlnum(c) && c != '.' && c != '-' && c != '_' && c != '+' && c != '~' {
			return fmt.Sprintf("%s %.100q: unexpected character %q", what, s, firstRune(s[i:]))
		}
	}
	return ""
}

func isAlnum(c byte) bool { return isDigit(c) || isLower(c|0x20) }
