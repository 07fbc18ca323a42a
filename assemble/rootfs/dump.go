package rootfs

import (
	"bufio"
	"fmt"
	"io"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Dump writes the tree as text for people and golden tests, one line per
// entry: path, type, mode, uid:gid, what it is (size and the first 8 digits of
// a file's SHA-256, "-> target" of a link, major,minor of a device), and the
// owner in brackets.
//
//	/etc/passwd f 0644 0:0 1172 6f1ad3f4 [package alpine-baselayout-data]
//	/bin/sh l 0777 0:0 -> /bin/busybox [package busybox-binsh]
func (t *Tree) Dump(w io.Writer) error {
	out := bufio.NewWriter(w)
	for i := range t.Entries {
		e := &t.Entries[i]
		fmt.Fprintf(out, "/%s %c %04o %d:%d", e.Path, e.Type, e.Mode, e.UID, e.GID)
		switch e.Type {
		case apk.TypeFile:
			fmt.Fprintf(out, " %d %s", e.Size, e.SHA256.Hex()[:8])
		case apk.TypeSymlink:
			fmt.Fprintf(out, " -> %s", e.Link)
		case apk.TypeHardlink:
			fmt.Fprintf(out, " -> /%s", e.Link)
		case apk.TypeChar, apk.TypeBlock:
			fmt.Fprintf(out, " %d,%d", e.DevMajor, e.DevMinor)
		}
		fmt.Fprintf(out, " [%s %s]\n", e.Owner.Kind, e.Owner.Name)
	}
	return out.Flush()
}
