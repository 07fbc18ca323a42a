package config

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"chainguard.dev/apko/pkg/build/types"

	"github.com/cairn-dev/cairn/packages/apk"
)

// whole checks what only shows when all includes and overrides are merged.
type whole struct {
	*Config
	*report
}

func (w whole) check() {
	w.users()
	w.groups()
	w.packages()
	w.slices()
	w.repositories("repositories", w.Contents.Repositories)
	w.repositories("build_repositories", w.Contents.BuildRepositories)
	w.keyring()
	w.keyrings()
	w.names()
	w.files()
	w.apps()
	w.baseImage()
}

func (w whole) at(problem, detail, hint string, steps ...string) Problem {
	p, _ := w.marks.at(steps...)
	key := keyPath(steps...)
	if steps[0] == "keyrings" && len(steps) > 1 {
		key = joinPath(steps[0], redactURL(steps[1]))
	}
	if p.flag != "" {
		key = p.flag
	}
	return Problem{File: p.file, Line: p.line, Column: p.col, Key: key, Problem: problem, Detail: detail, Hint: hint}
}

// where names the place of an earlier value in a message.
func (w whole) where(steps ...string) string {
	p, _ := w.marks.at(steps...)
	switch {
	case p.flag != "":
		return "by " + p.flag
	case p.file == "":
		return "as " + keyPath(steps...)
	}
	return fmt.Sprintf("at %s:%d:%d", p.file, p.line, p.col)
}

func (w whole) users() {
	names := map[string]int{}
	for i, u := range w.Accounts.Users {
		first, seen := names[u.UserName]
		if u.UserName == "" {
			continue
		}
		if !seen {
			names[u.UserName] = i
			continue
		}
		earlier := w.where("accounts", "users", index(first))
		if sameUser(u, w.Accounts.Users[first]) {
			w.warn(w.at("duplicate user", u.UserName+" is the same "+earlier, "", "accounts", "users", index(i)))
			continue
		}
		w.add(w.at("duplicate user", "found "+strconv.Quote(u.UserName)+" again with other values, first "+earlier, "", "accounts", "users", index(i)))
	}
	w.ids("users", "uid", len(w.Accounts.Users), func(i int) (string, uint32) {
		return w.Accounts.Users[i].UserName, w.Accounts.Users[i].UID
	})
}

// ids warns about numbers that several accounts share.
func (w whole) ids(list, key string, n int, get func(int) (string, uint32)) {
	first := map[uint32]int{}
	for i := range n {
		name, id := get(i)
		if id == 0 || name == "" {
			continue
		}
		j, seen := first[id]
		if !seen {
			first[id] = i
			continue
		}
		if other, _ := get(j); other != name {
			w.warn(w.at("shared number", fmt.Sprintf("found %d for %s, which %s has too", id, name, other), "", "accounts", list, index(i), key))
		}
	}
}

func sameUser(a, b types.User) bool {
	a, b = completeUser(a), completeUser(b)
	return a.UID == b.UID && *a.GID == *b.GID && a.Shell == b.Shell && a.HomeDir == b.HomeDir
}

func (w whole) groups() {
	names := map[string]int{}
	for i, g := range w.Accounts.Groups {
		first, seen := names[g.GroupName]
		if g.GroupName == "" {
			continue
		}
		if !seen {
			names[g.GroupName] = i
			continue
		}
		earlier := w.where("accounts", "groups", index(first))
		if g.GID == w.Accounts.Groups[first].GID && slices.Equal(g.Members, w.Accounts.Groups[first].Members) {
			w.warn(w.at("duplicate group", g.GroupName+" is the same "+earlier, "", "accounts", "groups", index(i)))
			continue
		}
		w.add(w.at("duplicate group", "found "+strconv.Quote(g.GroupName)+" again with other values, first "+earlier, "", "accounts", "groups", index(i)))
	}
	w.ids("groups", "gid", len(w.Accounts.Groups), func(i int) (string, uint32) {
		return w.Accounts.Groups[i].GroupName, w.Accounts.Groups[i].GID
	})
}

// packages finds requests that no solution can meet.
func (w whole) packages() {
	wanted, banned, exact := map[string]int{}, map[string]int{}, map[string]int{}
	deps := make([]apk.Dependency, len(w.Contents.Packages))
	for i, p := range w.Contents.Packages {
		d, detail := parsePackage(p)
		if detail != "" {
			continue // reported where it stands
		}
		deps[i] = d
		other, bad := -1, false
		switch {
		case d.Conflict && d.Op == apk.OpAny:
			other, bad = lookup(wanted, d.Name)
			remember(banned, d.Name, i)
		case !d.Conflict:
			other, bad = lookup(banned, d.Name)
			remember(wanted, d.Name, i)
		}
		if d.Op == apk.OpEqual && !d.Conflict {
			if j, ok := lookup(exact, d.Name); ok && deps[j].Version != d.Version {
				other, bad = j, true
			}
			remember(exact, d.Name, i)
		}
		if bad {
			w.add(w.at("contradiction", fmt.Sprintf("found %q, but also %q %s", p, w.Contents.Packages[other],
				w.where("contents", "packages", index(other))), "", "contents", "packages", index(i)))
		}
	}
}

func lookup(m map[string]int, k string) (int, bool) { i, ok := m[k]; return i, ok }

// remember keeps the first position of a name.
func remember(m map[string]int, k string, i int) {
	if _, ok := m[k]; !ok {
		m[k] = i
	}
}

// repositories warns about one repository under several tags: which packages
// it offers then depends on the tag.
func (w whole) repositories(list string, lines []string) {
	first := map[string]int{}
	for i, line := range lines {
		r := parseRepository(line)
		j, seen := first[r.URL]
		if !seen {
			first[r.URL] = i
			continue
		}
		if other := parseRepository(lines[j]); other.Tag != r.Tag {
			w.warn(w.at("repository twice", fmt.Sprintf("found %s, which stands %s with another tag", redactLine(line),
				w.where("contents", list, index(j))), "", "contents", list, index(i)))
		}
	}
}

// keyring warns about keys of the same file name: apk knows keys by it.
func (w whole) keyring() {
	first := map[string]int{}
	for i, k := range w.Contents.Keyring {
		name := path.Base(k)
		if strings.Contains(k, "-----BEGIN") {
			continue
		}
		j, seen := first[name]
		if !seen {
			first[name] = i
			continue
		}
		if w.Contents.Keyring[j] != k {
			w.warn(w.at("key name twice", fmt.Sprintf("found %s, but a key %s is also named %s", redactURL(k),
				w.where("contents", "keyring", index(j)), name), "", "contents", "keyring", index(i)))
		}
	}
}

// keyrings refuses repositories that would trust no key at all.
func (w whole) keyrings() {
	for _, name := range slices.Sorted(maps.Keys(w.Keyrings)) {
		if len(w.Keyrings[name]) == 0 {
			w.add(w.at("empty", "expected at least one key", "", "keyrings", name))
		}
	}
}

// names refuses names given twice where files are made of them.
func (w whole) names() {
	keys := make([]string, len(w.Contents.RuntimeKeyring))
	for i, k := range w.Contents.RuntimeKeyring {
		keys[i] = k.Name
	}
	w.unique(keys, "name", "contents", "runtime_keyring")
	if w.Certificates == nil {
		return
	}
	certs := make([]string, len(w.Certificates.Additional))
	for i, c := range w.Certificates.Additional {
		certs[i] = c.Name + "\x00" + c.Content
	}
	w.unique(certs, "name", "certificates", "additional")
}

func (w whole) files() {
	paths := make([]string, len(w.Config.Files))
	for i, f := range w.Config.Files {
		paths[i] = f.Path
	}
	w.unique(paths, "path", "files")
}

// apps refuses entries of app that are put into each other: each is a layer, and
// what is in it must not depend on another.
func (w whole) apps() {
	for i := range w.App {
		for j := range i {
			a, b := w.App[i].Path, w.App[j].Path
			if a != "" && b != "" && (a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")) {
				w.add(w.at("conflict", fmt.Sprintf("found %q, which overlaps %q %s", a, b, w.where("app", index(j), "path")), "", "app", index(i), "path"))
			}
		}
	}
}

func (w whole) unique(values []string, key string, list ...string) {
	first := map[string]int{}
	for i, v := range values {
		shown, _, _ := strings.Cut(v, "\x00")
		if j, seen := first[v]; seen && shown != "" {
			w.add(w.at("duplicate", fmt.Sprintf("found %q again, first %s", shown, w.where(append(slices.Clone(list), index(j), key)...)),
				"", append(slices.Clone(list), index(i), key)...))
			continue
		}
		first[v] = i
	}
}

// baseImage refuses what apko refuses on top of a base image.
func (w whole) baseImage() {
	if w.Contents.BaseImage == nil {
		return
	}
	explicit := w.Layering != nil && (w.Layering.Strategy != "" || w.Layering.Budget != 0)
	for _, k := range []struct {
		key string
		set bool
	}{
		{"entrypoint", w.Entrypoint.Type != "" || w.Entrypoint.Command != "" || w.Entrypoint.ShellFragment != "" || w.Entrypoint.Services != nil},
		{"cmd", w.Cmd != ""},
		{"stop-signal", w.StopSignal != ""},
		{"work-dir", w.WorkDir != ""},
		{"accounts", w.Accounts.RunAs != "" || w.Accounts.Users != nil || w.Accounts.Groups != nil},
		{"environment", len(w.Environment) != 0},
		{"paths", len(w.Paths) != 0},
		{"annotations", len(w.Annotations) != 0},
		{"files", len(w.Config.Files) != 0},
		{"app", len(w.App) != 0},
		{"layering", explicit},
	} {
		if k.set {
			w.add(w.at("not possible on a base image", "expected contents, archs, include, volumes and certificates only", "", k.key))
		}
	}
}
