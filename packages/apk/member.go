package apk

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/gzip"
)

// MemberFile is a file of a signature or control section, or of an index.
type MemberFile struct {
	Name  string
	Body  []byte
	Mode  int64 // 0 means 0644
	MTime int64 // seconds since the Unix epoch
}

// Member returns a gzip member of a tar of the files in the given order, root's,
// without a name or a time in its header. end says whether the tar has its
// end-of-archive blocks: only the last member of a file has, so that all of them
// together are one tar.
func Member(files []MemberFile, end bool) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Body)), Typeflag: tar.TypeReg,
			ModTime: time.Unix(f.MTime, 0), Uname: "root", Gname: "root"}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := t.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if _, err := t.Write(f.Body); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	finish := t.Flush
	if end {
		finish = t.Close
	}
	err = errors.Join(finish(), z.Close())
	return out.Bytes(), err
}
