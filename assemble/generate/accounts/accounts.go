// Package accounts merges users and groups of a configuration into the account
// files that packages brought: passwd(5), group(5) and shadow(5).
//
// It is pure: bytes in, bytes out. Lines that it does not have to change, and
// those that it does not understand, stay as they are, byte for byte. It creates
// no home directories and does not read the rest of the tree.
//
//	r, err := accounts.Merge(passwd, group, shadow,
//		[]accounts.User{{Name: "nonroot", UID: 65532}}, nil)
//	// r.Passwd ends with "nonroot:x:65532:65532:Account created by cairn:/home/nonroot:/bin/sh\n"
package accounts

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// DefaultComment is the GECOS field of a user that names none.
const DefaultComment = "Account created by cairn"

// ErrConflict is wrapped by errors that say that two accounts cannot both be
// there.
var ErrConflict = errors.New("accounts conflict")

// User is an account to add. The zero values of the optional fields are
// defaults for a new account; of an account that the image has already, they
// leave what it has.
type User struct {
	Name    string
	UID     uint32
	GID     *uint32 // nil: the UID
	Comment string  // empty: DefaultComment
	Home    string  // absolute; empty: /home/NAME
	Shell   string  // empty: /bin/sh
}

// Group is a group to add.
type Group struct {
	Name    string
	GID     uint32
	Members []string
}

// Home is a directory that must exist, because an account lives there.
type Home struct {
	User string
	Path string // clean, without leading slash
	UID  uint32
	GID  uint32
	Mode uint32 // 0700; missing parents get 0755 and belong to root
}

// Result holds the merged files. A file that needed no change is the slice that
// was passed in; nil stays nil.
type Result struct {
	Passwd, Group, Shadow []byte
	// Homes lists the home directories of all accounts, the image's own
	// included, in the order of the lines, each path once. Left out are
	// /dev/null, the root and what is not an absolute path.
	Homes []Home
	// Warnings are things that are allowed and rarely meant: two names for one
	// id.
	Warnings []string
}

// Merge adds the users and groups.
//
// A user or group that the file has with the same id is completed: the explicit
// fields of the user replace those of the line, members are added. One that the
// file has with another id is an error, as are two of the arguments with one
// name or one id (wrapping [ErrConflict]), and names and paths that would break
// the file. A new user gets a locked line in shadow ("!"); a line that is there
// stays, with all its nine fields.
func Merge(passwd, group, shadow []byte, users []User, groups []Group) (Result, error) {
	m := merger{passwd: parse(passwd), group: parse(group), shadow: parse(shadow)}
	if err := checkArguments(users, groups); err != nil {
		return Result{}, err
	}
	for i := range groups {
		if err := m.addGroup(&groups[i]); err != nil {
			return Result{}, err
		}
	}
	for i := range users {
		if err := m.addUser(&users[i]); err != nil {
			return Result{}, err
		}
	}
	return Result{
		Passwd:   m.passwd.bytes(passwd),
		Group:    m.group.bytes(group),
		Shadow:   m.shadow.bytes(shadow),
		Homes:    homes(m.passwd),
		Warnings: m.warnings,
	}, nil
}

type merger struct {
	passwd, group, shadow *file
	warnings              []string
}

func (m *merger) addGroup(g *Group) error {
	line := m.group.byName(g.Name)
	if line == nil {
		m.warnShared(m.group, "group", g.Name, g.GID)
		m.group.add(g.Name, "x", id(g.GID), strings.Join(g.Members, ","))
		return nil
	}
	if err := m.group.sameID(line, "group", 4, g.GID); err != nil {
		return err
	}
	members := strings.FieldsFunc(line.fields[3], func(r rune) bool { return r == ',' })
	for _, name := range g.Members {
		if !slices.Contains(members, name) {
			members = append(members, name)
		}
	}
	m.group.set(line, 3, strings.Join(members, ","))
	return nil
}

func (m *merger) addUser(u *User) error {
	line := m.passwd.byName(u.Name)
	if line != nil {
		return m.completeUser(line, u)
	}
	m.warnShared(m.passwd, "user", u.Name, u.UID)
	gid := u.UID
	if u.GID != nil {
		gid = *u.GID
	}
	m.passwd.add(u.Name, "x", id(u.UID), id(gid), or(u.Comment, DefaultComment), or(u.Home, "/home/"+u.Name), or(u.Shell, "/bin/sh"))
	m.lock(u.Name)
	return nil
}

// completeUser changes the fields of an existing line that u names.
func (m *merger) completeUser(line *line, u *User) error {
	if err := m.passwd.sameID(line, "user", 7, u.UID); err != nil {
		return err
	}
	if u.GID != nil {
		m.passwd.set(line, 3, id(*u.GID))
	}
	for i, value := range []string{u.Comment, u.Home, u.Shell} {
		if value != "" {
			m.passwd.set(line, 4+i, value)
		}
	}
	m.lock(u.Name)
	return nil
}

// lock adds a shadow line without a valid password, where there is none.
func (m *merger) lock(name string) {
	if m.shadow.byName(name) == nil {
		m.shadow.add(name, "!", "", "", "", "", "", "", "")
	}
}

func (m *merger) warnShared(f *file, what, name string, n uint32) {
	if other := f.byID(n); other != nil {
		m.warnings = append(m.warnings, fmt.Sprintf("%s %q: id %d is also that of %q", what, name, n, other.fields[0]))
	}
}

func id(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// homes lists the directories of all accounts that can be read.
func homes(passwd *file) []Home {
	var out []Home
	seen := map[string]bool{"": true, "dev/null": true}
	for _, l := range passwd.lines {
		if len(l.fields) != 7 || !strings.HasPrefix(l.fields[5], "/") {
			continue
		}
		uid, err1 := strconv.ParseUint(l.fields[2], 10, 32)
		gid, err2 := strconv.ParseUint(l.fields[3], 10, 32)
		p := strings.TrimPrefix(path.Clean(l.fields[5]), "/")
		if err1 != nil || err2 != nil || seen[p] {
			continue
		}
		seen[p] = true
		out = append(out, Home{User: l.fields[0], Path: p, UID: uint32(uid), GID: uint32(gid), Mode: 0o700})
	}
	return out
}

// ResolveUser returns the form of a run-as value ("name", "uid", "name:group",
// "uid:gid") that needs no account files: names that passwd and group have are
// replaced by their ids, others stay.
func ResolveUser(passwd, group []byte, runAs string) string {
	user, name, hasGroup := strings.Cut(runAs, ":")
	user = resolve(parse(passwd), user)
	if !hasGroup {
		return user
	}
	return user + ":" + resolve(parse(group), name)
}

func resolve(f *file, name string) string {
	l := f.byName(name)
	if l == nil || len(l.fields) < 3 {
		return name
	}
	n, err := strconv.ParseUint(l.fields[2], 10, 32)
	if err != nil {
		return name
	}
	return id(uint32(n))
}
