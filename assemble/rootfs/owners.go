package rootfs

import (
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// identities maps the names of an image's users and groups to numbers.
type identities struct {
	users, groups map[string]int
	root          bool // everything is root's, as in apko's images
}

// settleOwners fixes owner and mode of everything the packages brought, now
// that the image's accounts are known. A name that the image knows decides, not
// the number beside it: that is the number of the machine the package was built
// on (apk_resolve_uid of apk-tools).
func (b *builder) settleOwners() error {
	ids, err := b.identities()
	if err != nil {
		return err
	}
	b.ids = ids
	b.settle(b.root, ids)
	return nil
}

// settle does the node and everything below it.
func (b *builder) settle(n *node, ids *identities) {
	for _, kid := range n.ino.kids {
		ino := kid.ino
		switch {
		case ino.typ == apk.TypeDir:
			b.settleDirectory(ino, ids)
			b.settle(kid, ids)
		case ino.pkg >= 0 && !ino.own:
			b.settleFile(ino, ids)
		}
	}
}

// settleDirectory merges what several packages say about one directory: the
// lowest owner has it, and of that owner's modes only the common bits
// (apk_db_dir_apply_diri_permissions).
func (b *builder) settleDirectory(ino *inode, ids *identities) {
	if len(ino.refs) == 0 || ino.own {
		return
	}
	for i, r := range ino.refs {
		e := b.member(r.pkg, r.member)
		uid, gid, mode := ids.uid(e), ids.gid(e), e.Mode&0o7777
		switch {
		case i == 0 || uid < ino.uid || uid == ino.uid && gid < ino.gid:
			ino.uid, ino.gid, ino.mode = uid, gid, mode
		case uid == ino.uid && gid == ino.gid:
			ino.mode &= mode
		}
		ino.mtime = e.MTime
	}
	if ids.root { // apko: the first package's permission bits, nothing else
		ino.mode = b.member(ino.refs[0].pkg, ino.refs[0].member).Mode & 0o777
	}
	if ino.initdb != 0 && (ino.mode != ino.initdb || ino.uid != 0 || ino.gid != 0) {
		ino.mode, ino.uid, ino.gid, ino.owner = ino.initdb, 0, 0, Owner{OwnedByGenerator, generatorBase}
	}
}

// settleFile sets a file's owner. Hard links are files to apk-tools, which
// chowns each (so the last counts), and chmods it only when it has special bits
// to restore after that.
func (b *builder) settleFile(ino *inode, ids *identities) {
	e := b.member(ino.pkg, ino.member)
	ino.uid, ino.gid = ids.uid(e), ids.gid(e)
	if ino.typ == apk.TypeSymlink {
		return
	}
	ino.mode, ino.mtime = e.Mode&0o7777, e.MTime
	for _, m := range ino.links {
		l := b.member(ino.pkg, m)
		ino.uid, ino.gid, ino.mtime = ids.uid(l), ids.gid(l), l.MTime
		if l.Mode&0o7000 != 0 {
			ino.mode = l.Mode & 0o7777
		} else {
			ino.mode &^= 0o6000
		}
	}
}

func (ids *identities) uid(e *apk.Entry) int {
	if ids.root {
		return 0
	}
	if id, ok := ids.users[e.Uname]; ok {
		return id
	}
	return e.UID
}

func (ids *identities) gid(e *apk.Entry) int {
	if ids.root {
		return 0
	}
	if id, ok := ids.groups[e.Gname]; ok {
		return id
	}
	return e.GID
}

// parseIDs reads the names and numbers of a passwd or group file; the first
// line with a name counts.
func parseIDs(file []byte) map[string]int {
	ids := map[string]int{}
	for line := range strings.Lines(string(file)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < 3 || fields[0] == "" {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 31)
		if _, ok := ids[fields[0]]; ok || err != nil {
			continue
		}
		ids[fields[0]] = int(id)
	}
	return ids
}
