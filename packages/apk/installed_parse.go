package apk

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrInstalled is wrapped by the errors of [ParseInstalled] that say what is
// wrong with the text; errors of the reader are returned as they are.
var ErrInstalled = errors.New("malformed installed database")

type installedError struct {
	line    int
	problem string
}

func (e *installedError) Error() string {
	return fmt.Sprintf("installed database line %d: %s", e.line, e.problem)
}

func (e *installedError) Is(target error) bool { return target == ErrInstalled }

// ParseInstalled reads an installed database (lib/apk/db/installed) as apk-tools
// 2.14 does: keys that it does not know are an error, as are file keys out of
// place. [AppendInstalled] gives back the text that apk-tools wrote.
//
// The databases that apko wrote, with lists in brackets, are read too. Stricter
// than apk-tools: lists, numbers and checksums must be
// readable, and names and paths must stay below the root.
func ParseInstalled(r io.Reader) ([]InstalledPackage, error) {
	var x installedParser
	if err := eachEntry(r, x.chunk); err != nil {
		var wrong *indexError
		if errors.As(err, &wrong) {
			return nil, &installedError{wrong.line, wrong.problem}
		}
		return nil, err
	}
	return x.out, nil
}

type installedParser struct {
	index indexParser
	out   []InstalledPackage
	p     *InstalledPackage // nil between entries
	dirs  map[string]int    // of p
	dir   int               // position in p.Dirs; -1: none yet
	file  int               // position in p.Dirs[dir].Files; -1: none yet
}

func (x *installedParser) chunk(text string, line int) error {
	start := line
	for ; text != ""; line++ {
		var l string
		l, text, _ = strings.Cut(text, "\n")
		if l == "" {
			if err := x.end(start); err != nil {
				return err
			}
			continue
		}
		if x.p == nil {
			x.begin()
			start = line
		}
		if len(l) < 2 || l[1] != ':' {
			return &installedError{line, fmt.Sprintf("%.60q: expected a letter, a colon and a value", l)}
		}
		if problem := x.field(l[0], l[2:]); problem != "" {
			return &installedError{line, problem}
		}
	}
	return x.end(start)
}

func (x *installedParser) begin() {
	x.out = append(x.out, InstalledPackage{})
	x.p = &x.out[len(x.out)-1]
	x.dirs, x.dir, x.file = map[string]int{}, -1, -1
}

func (x *installedParser) end(line int) error {
	p := x.p
	x.p = nil
	switch {
	case p == nil:
		return nil
	case p.Name == "":
		return &installedError{line, "entry has no name (P:)"}
	case p.Version == "":
		return &installedError{line, "entry " + p.Name + " has no version (V:)"}
	}
	return nil
}

func (x *installedParser) field(key byte, value string) string {
	p := x.p
	switch key {
	case 'F':
		return x.directory(value)
	case 'M':
		if x.dir < 0 {
			return "M: stands before the first F:"
		}
		d := &p.Dirs[x.dir]
		return parseACL(value, &d.Mode, &d.UID, &d.GID, &d.Xattrs)
	case 'R':
		return x.newFile(value)
	case 'a':
		if x.file < 0 {
			return "a: stands before the first R:"
		}
		f := &p.Dirs[x.dir].Files[x.file]
		return parseACL(value, &f.Mode, &f.UID, &f.GID, &f.Xattrs)
	case 'Z':
		if x.file < 0 {
			return "Z: stands before the first R:"
		}
		if !p.Dirs[x.dir].Files[x.file].SHA1.parse(value) {
			return fmt.Sprintf("Z: checksum %.64q: expected \"Q1\" and 28 base64 characters", value)
		}
		return ""
	case 'r':
		return addAtoms(&p.Replaces, "r:", value, false)
	case 'q':
		return setInt(&p.ReplacesPriority, "q:", value)
	case 's':
		p.Tag = value
		return ""
	case 'f':
		p.Broken = value
		return x.checkBroken(value)
	}
	return x.indexField(key, value)
}

// indexField sets a key that index entries have too. What makes an index entry
// uninstallable makes a database unreadable.
func (x *installedParser) indexField(key byte, value string) string {
	if !strings.ContainsRune("CPVASITULomtckDpi", rune(key)) {
		return fmt.Sprintf("key %q is not known to this version", key)
	}
	if rest, ok := strings.CutPrefix(value, "["); ok && key == 'i' { // apko's spelling of a list
		value = strings.TrimSuffix(rest, "]")
	}
	if problem := x.index.field(&x.p.Package, key, value); problem != "" {
		return problem
	}
	return x.p.Uninstallable
}

func (x *installedParser) checkBroken(value string) string {
	if i := strings.IndexFunc(value, func(r rune) bool { return !strings.ContainsRune("fsxS", r) }); i >= 0 {
		return fmt.Sprintf("f: %.60q: expected letters of \"fsxS\"", value)
	}
	return ""
}

func (x *installedParser) directory(name string) string {
	if name != "" {
		if problem := checkBelowRoot(name); problem != "" {
			return "F: " + problem
		}
	}
	x.file = -1
	i, ok := x.dirs[name]
	if !ok {
		i = len(x.p.Dirs)
		x.dirs[name] = i
		x.p.Dirs = append(x.p.Dirs, InstalledDir{Path: name, Mode: defaultDirMode})
	}
	x.dir = i
	return ""
}

func (x *installedParser) newFile(name string) string {
	if x.dir < 0 {
		return "R: stands before the first F:"
	}
	if problem := checkBelowRoot(name); problem != "" {
		return "R: " + problem
	}
	if strings.Contains(name, "/") {
		return fmt.Sprintf("R: %.100q: expected a name without directory", name)
	}
	d := &x.p.Dirs[x.dir]
	d.Files = append(d.Files, InstalledFile{Name: name, Mode: defaultFileMode})
	x.file = len(d.Files) - 1
	return ""
}

// checkBelowRoot refuses paths that are empty, absolute or not clean.
func checkBelowRoot(name string) string {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Sprintf("%.100q: expected a clean path below the root", name)
		}
	}
	return ""
}

// parseACL reads "uid:gid:mode" and, after another colon, the checksum of the
// extended attributes.
func parseACL(value string, mode *uint32, uid, gid *int, xattrs *SHA1) string {
	parts := strings.SplitN(value, ":", 4)
	if len(parts) >= 3 {
		u, err1 := strconv.ParseUint(parts[0], 10, 32)
		g, err2 := strconv.ParseUint(parts[1], 10, 32)
		m, err3 := strconv.ParseUint(parts[2], 8, 32)
		if err1 == nil && err2 == nil && err3 == nil && m <= 0o7777 {
			*uid, *gid, *mode, *xattrs = int(u), int(g), uint32(m), SHA1{}
			if len(parts) == 3 || xattrs.parse(parts[3]) {
				return ""
			}
		}
	}
	return fmt.Sprintf("%.80q: expected uid:gid:mode with an octal mode", value)
}
