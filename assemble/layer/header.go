package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
)

const blockSize = 512

// xattrPrefix marks extended attributes among PAX records.
const xattrPrefix = "SCHILY.xattr."

var zeroBlocks [2 * blockSize]byte

// padding returns the zeros that fill up a tar member's content of n bytes.
func padding(n int64) []byte { return zeroBlocks[:-n&(blockSize-1)] }

// tarHeader returns an entry's header blocks: ustar where everything fits,
// PAX where not; directories with a trailing slash; times in seconds.
func tarHeader(e *apk.Entry) ([]byte, error) {
	h := &tar.Header{
		Name: e.Path, Linkname: e.Link, Mode: int64(e.Mode),
		Uid: e.UID, Gid: e.GID, Uname: e.Uname, Gname: e.Gname,
		ModTime: time.Unix(e.MTime, 0),
	}
	switch e.Type {
	case apk.TypeFile:
		h.Typeflag, h.Size, h.Linkname = tar.TypeReg, e.Size, ""
	case apk.TypeDir:
		h.Typeflag, h.Linkname = tar.TypeDir, ""
		h.Name += "/"
		if e.Path == "" || e.Path == "." {
			h.Name = "./"
		}
	case apk.TypeSymlink:
		h.Typeflag = tar.TypeSymlink
	case apk.TypeHardlink:
		h.Typeflag = tar.TypeLink
	case apk.TypeChar:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, e.DevMajor, e.DevMinor
	case apk.TypeBlock:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, e.DevMajor, e.DevMinor
	case apk.TypeFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		return nil, fmt.Errorf("path %q: type %q: cannot stand in a tar archive", e.Path, e.Type)
	}
	for name, value := range e.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrPrefix+name] = value
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, fmt.Errorf("path %q: %w", e.Path, err)
	}
	return b.Bytes(), nil
}
