package rootfs

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/assemble/generate/accounts"
	"github.com/cairn-dev/cairn/packages/apk"
)

// accountFiles are passwd, group and shadow, as packages and files brought them.
type accountFiles struct {
	path    string
	mode    uint32 // of a new one
	content []byte
	node    *node // nil when there is none
}

// accounts adds the configuration's users and groups to the account files, and
// makes home directories.
func (b *builder) accounts() error {
	if b.in.Base != nil {
		return nil // the base's accounts and homes are kept
	}
	files := []accountFiles{{path: "etc/passwd", mode: 0o644}, {path: "etc/group", mode: 0o644}, {path: "etc/shadow", mode: 0o640}}
	for i := range files {
		var err error
		if files[i].content, files[i].node, err = b.readAt(files[i].path); err != nil {
			return err
		}
	}
	users, groups := b.wantedAccounts()
	merged, err := accounts.Merge(files[0].content, files[1].content, files[2].content, users, groups)
	if err != nil {
		return &ConfigError{generatorAccounts, err}
	}
	for i, content := range [][]byte{merged.Passwd, merged.Group, merged.Shadow} {
		if err := b.accountFile(&files[i], content); err != nil {
			return &ConfigError{generatorAccounts, err}
		}
	}
	b.user = accounts.ResolveUser(merged.Passwd, merged.Group, b.cfg.Accounts.RunAs)
	b.warnings = append(b.warnings, merged.Warnings...)
	return b.homes(merged)
}

// wantedAccounts returns the configuration's accounts. Included files may give
// one twice.
func (b *builder) wantedAccounts() (users []accounts.User, groups []accounts.Group) {
	for _, u := range b.cfg.Accounts.Users {
		user := accounts.User{Name: u.UserName, UID: u.UID, GID: u.GID, Home: u.HomeDir, Shell: u.Shell}
		if b.compat() {
			user.Comment = "Account created by apko"
		}
		if !slices.ContainsFunc(users, func(o accounts.User) bool { return sameUser(o, user) }) {
			users = append(users, user)
		}
	}
	for _, g := range b.cfg.Accounts.Groups {
		i := slices.IndexFunc(groups, func(o accounts.Group) bool { return o.Name == g.GroupName && o.GID == g.GID })
		if i < 0 {
			i, groups = len(groups), append(groups, accounts.Group{Name: g.GroupName, GID: g.GID})
		}
		for _, member := range g.Members {
			if !slices.Contains(groups[i].Members, member) {
				groups[i].Members = append(groups[i].Members, member)
			}
		}
	}
	return users, groups
}

func sameUser(a, b accounts.User) bool {
	sameGID := a.GID == b.GID || a.GID != nil && b.GID != nil && *a.GID == *b.GID
	a.GID = b.GID
	return sameGID && a == b
}

// accountFile stores a merged file if it is another than before.
func (b *builder) accountFile(f *accountFiles, content []byte) error {
	owner := Owner{OwnedByConfig, generatorAccounts}
	switch {
	case f.node != nil && bytes.Equal(f.content, content):
		return nil
	case f.node != nil:
		b.rewrite(f.node, content, owner, generatorAccounts)
		return nil
	case len(content) == 0 && !(b.compat() && f.path == "etc/passwd"):
		return nil
	}
	return b.configFile(f.path, generatorAccounts, f.mode, content, 0, 0)
}

// homes makes the home directories that are missing: root's, those of people
// (from uid 1000 on, but not nobody's), of the configuration's users and of the
// user that the image runs as. The homes of system users are the business of
// the packages that need them; apko makes them too.
func (b *builder) homes(merged accounts.Result) error {
	wanted := map[string]bool{}
	for _, u := range b.cfg.Accounts.Users {
		wanted[u.UserName] = true
	}
	runAs, _, _ := strings.Cut(b.cfg.Accounts.RunAs, ":")
	for _, h := range merged.Homes {
		named := wanted[h.User] || runAs != "" && (h.User == runAs || strconv.Itoa(int(h.UID)) == runAs)
		if !named && !b.compat() && (h.UID != 0 && h.UID < 1000 || h.UID == 65534) {
			continue
		}
		if err := b.home(h, named); err != nil {
			return &ConfigError{generatorAccounts, fmt.Errorf("home directory of %s: %w", h.User, err)}
		}
	}
	return nil
}

// home makes one home directory. One that is there stays as it is, unless it is
// only there because something is in it.
func (b *builder) home(h accounts.Home, named bool) error {
	at, err := b.lookup(h.Path, true)
	if err != nil {
		if named {
			return err
		}
		return nil // a system user's home that cannot be is left to its package
	}
	if at.node == nil {
		if at.node, err = b.mkdirAll(h.Path); err != nil {
			return err
		}
	}
	if !at.node.isDir() {
		if named {
			return fmt.Errorf("/%s: %w, %s has a file there", h.Path, errNotDir, b.ownerOf(at.node).Name)
		}
		return nil
	}
	if ino := at.node.ino; ino.owner.Name == generatorImplied {
		ino.owner = Owner{OwnedByConfig, generatorAccounts}
		ino.mode, ino.uid, ino.gid = h.Mode, int(h.UID), int(h.GID)
	}
	return nil
}

// identities reads the image's accounts.
func (b *builder) identities() (*identities, error) {
	if b.compat() {
		return &identities{root: true}, nil
	}
	passwd, _, err := b.readAt("etc/passwd")
	if err != nil {
		return nil, err
	}
	group, _, err := b.readAt("etc/group")
	if err != nil {
		return nil, err
	}
	ids := &identities{users: parseIDs(passwd), groups: parseIDs(group)}
	b.shadowGroup(ids)
	return ids, nil
}

// shadowGroup gives an /etc/shadow that no package brought to the group shadow.
func (b *builder) shadowGroup(ids *identities) {
	at, err := b.lookup("etc/shadow", true)
	if gid, ok := ids.groups["shadow"]; ok && err == nil && at.node != nil &&
		at.node.ino.typ == apk.TypeFile && at.node.ino.pkg < 0 && at.node.ino.owner.Name == generatorAccounts {
		at.node.ino.gid = gid
	}
}
