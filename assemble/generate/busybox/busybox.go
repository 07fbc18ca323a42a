// Package busybox says which links to applets belong beside a busybox binary,
// the work of its install script ("busybox --install -s"), which is never run.
//
// It is pure and does not look at the tree: the caller leaves a path alone where
// something else stands, as busybox itself does.
//
//	links, err := busybox.Links("1.36.1-r15", map[string][]byte{"busybox": list})
//	// [{bin/ash /bin/busybox} …]
package busybox

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Link is a symbolic link to make.
type Link struct {
	Path   string // clean, without leading slash: bin/ls
	Target string // absolute: /bin/busybox
}

// PathsDir is where packages list their links, one file for each binary, named
// after the package: etc/busybox-paths.d/busybox. (Alpine since 1.36.0-r8, Wolfi
// since 1.36.0-r3.)
const PathsDir = "etc/busybox-paths.d"

// ErrVersion is wrapped when links must come from the table and the version
// cannot be read.
var ErrVersion = errors.New("not a busybox version")

const target = "/bin/busybox"

// applets is parsed when it is needed, which is for packages older than 2023.
//
//go:embed applets.txt
var applets string

// Links returns the links of busybox and of its kin, sorted by path, each path
// once.
//
// paths holds the files of [PathsDir] by name. The links of "busybox-extras" lead
// to its own binary, /bin/busybox-extras, those of every other file to
// /bin/busybox; where two files list a path, busybox's own applets come last, as
// in Alpine's trigger script. Without a file for /bin/busybox the links are those
// of a build of that version with every applet, from a table that knows 1.32 to
// 1.37 (older versions get the links of 1.32, newer ones those of 1.37).
func Links(version string, paths map[string][]byte) ([]Link, error) {
	found := map[string]string{}
	listed := false
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		to := target
		if name == "busybox-extras" {
			to = "/bin/" + name
		} else {
			listed = true
		}
		if err := addFile(found, paths[name], to); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", PathsDir, name, err)
		}
	}
	if !listed {
		if err := addTable(found, version); err != nil {
			return nil, err
		}
	}
	return sorted(found), nil
}

// SUIDLinks returns the links that /bin/bbsuid makes when it is installed (its
// applets need root; the package is Alpine's busybox-suid). They take precedence
// over those of [Links].
func SUIDLinks() []Link {
	found := map[string]string{}
	for _, p := range [...]string{"bin/mount", "bin/su", "bin/umount", "usr/bin/crontab", "usr/bin/passwd",
		"usr/bin/traceroute", "usr/bin/traceroute6", "usr/bin/vlock"} {
		found[p] = "/bin/bbsuid"
	}
	return sorted(found)
}

func sorted(found map[string]string) []Link {
	var out []Link
	for _, p := range slices.Sorted(maps.Keys(found)) {
		out = append(out, Link{p, found[p]})
	}
	return out
}

// addFile adds the paths of one list, a line each, with or without a leading
// slash. A path that is taken by another binary keeps it.
func addFile(found map[string]string, list []byte, to string) error {
	number := 0
	for line := range bytes.Lines(list) {
		number++
		text := string(bytes.TrimRight(line, "\r\n"))
		p := strings.TrimPrefix(text, "/")
		if p == "" || "/"+p == to {
			continue
		}
		if path.Clean(p) != p || p[0] == '/' || p == "." || strings.HasPrefix(p, "../") || p == ".." || strings.ContainsFunc(p, control) {
			return fmt.Errorf("line %d: %.100q: expected a clean path", number, text)
		}
		if other, taken := found[p]; !taken || other == target {
			found[p] = to
		}
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// addTable adds the applets of the table that the version has.
func addTable(found map[string]string, version string) error {
	if version == "" || !apk.ValidVersion(version) {
		return fmt.Errorf("busybox %q: %w", version, ErrVersion)
	}
	dir := ""
	for line := range strings.SplitSeq(applets, "\n") {
		if name, ok := strings.CutSuffix(line, ":"); ok {
			dir = name
		}
		if strings.HasPrefix(line, "#") || strings.HasSuffix(line, ":") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			name, since, _ := strings.Cut(word, "@")
			if p := path.Join(dir, name); since == "" || apk.Compare(version, since) >= 0 {
				if _, taken := found[p]; !taken {
					found[p] = target
				}
			}
		}
	}
	return nil
}
