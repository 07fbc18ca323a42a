package apk

import (
	"errors"
	"fmt"
	"strings"
)

// ErrPkgInfo is wrapped by every error of [ParsePkgInfo].
var ErrPkgInfo = errors.New("malformed .PKGINFO")

// ParsePkgInfo reads the text of a .PKGINFO file: lines "key = value", where
// lines that begin with "#", lines without " = " and unknown keys are ignored,
// as apk-tools does.
//
// Stricter than apk-tools, because a signature covers this text and a package
// must mean the same to everyone: name and version are required and must be fit
// to be part of a file name; pkgname, pkgver, arch and datahash may stand only
// once; numbers, dependencies and the datahash must be readable (the versions of
// provides need not be valid). The error wraps [ErrPkgInfo].
func ParsePkgInfo(b []byte) (*Package, error) {
	info := pkgInfo{text: string(b)}
	if err := info.parse(); err != nil {
		return nil, err
	}
	return &info.p, nil
}

type pkgInfo struct {
	text string
	p    Package
	once [4]bool
}

type pkgInfoError struct {
	line    int
	problem string
}

func (e *pkgInfoError) Error() string {
	if e.line == 0 {
		return ".PKGINFO: " + e.problem
	}
	return fmt.Sprintf(".PKGINFO line %d: %s", e.line, e.problem)
}

func (e *pkgInfoError) Is(target error) bool { return target == ErrPkgInfo }

func (x *pkgInfo) parse() error {
	number := 0
	for line := range strings.SplitSeq(x.text, "\n") {
		number++
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, " = ")
		if !ok {
			continue
		}
		if problem := x.field(key, value); problem != "" {
			return &pkgInfoError{number, problem}
		}
	}
	switch {
	case x.p.Name == "":
		return &pkgInfoError{0, "no pkgname"}
	case x.p.Version == "":
		return &pkgInfoError{0, "no pkgver"}
	}
	return nil
}

func (x *pkgInfo) field(key, value string) string {
	p := &x.p
	switch key {
	case "pkgname":
		p.Name = value
		return x.only(0, key, checkPackageName(value))
	case "pkgver":
		p.Version = value
		return x.only(1, key, checkFilePart("version", value))
	case "arch":
		p.Arch = value
		return x.only(2, key, checkFilePart("architecture", value))
	case "datahash":
		hash, err := ParseSHA256(value)
		p.DataHash = hash
		return x.only(3, key, problemOf(err))
	case "pkgdesc":
		p.Description = value
	case "url":
		p.URL = value
	case "license":
		p.License = value
	case "origin":
		p.Origin = value
	case "maintainer":
		p.Maintainer = value
	case "commit":
		p.Commit = value
	case "triggers": // the last line wins
		p.Triggers = strings.Fields(value)
	default:
		return x.typed(key, value)
	}
	return ""
}

// typed handles the keys whose values are numbers or dependencies.
func (x *pkgInfo) typed(key, value string) string {
	p := &x.p
	switch key {
	case "size":
		return setInt(&p.InstalledSize, key, value)
	case "builddate":
		return setInt(&p.BuildTime, key, value)
	case "provider_priority":
		return setInt(&p.ProviderPriority, key, value)
	case "replaces_priority":
		return setInt(&p.ReplacesPriority, key, value)
	case "depend":
		return addAtoms(&p.Depends, key, value, false)
	case "provides":
		return addAtoms(&p.Provides, key, value, true)
	case "install_if":
		return addAtoms(&p.InstallIf, key, value, false)
	case "replaces":
		return addAtoms(&p.Replaces, key, value, false)
	}
	return ""
}

func (x *pkgInfo) only(i int, key, problem string) string {
	if problem == "" && x.once[i] {
		problem = key + " is given twice"
	}
	x.once[i] = true
	return problem
}

func setInt(to *int64, key, value string) string {
	n, ok := parseInt(value)
	if !ok {
		return fmt.Sprintf("%s %.60q: expected a decimal number", key, value)
	}
	*to = n
	return ""
}

func addAtoms(to *[]Dependency, key, value string, loose bool) string {
	out, err := appendParsed(*to, value, loose)
	if err != nil {
		return key + ": " + err.Error()
	}
	*to = out
	return ""
}

func problemOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
