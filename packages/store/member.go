package store

import (
	"crypto/sha1"
	"math"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store/internal/multisha"
)

// member takes the header block of a real member.
func (s *scanner) member(h *header, start int64) error {
	x := s.ext
	e, err := s.entryOf(h)
	if err != nil {
		return err
	}
	e.HeaderOffset, e.DataOffset = start, start+blockSize
	if x.start >= 0 {
		e.HeaderOffset = x.start
	}
	s.end = e.DataOffset
	if err := s.checkHeader(h, &e); err != nil {
		return err
	}
	if e.Path == "" {
		return s.rootEntry(h, &e)
	}
	if err := s.typed(h, &e); err != nil {
		return err
	}
	added, err := s.add(h, &e)
	if err != nil || !added {
		return err
	}
	s.noteEntry(&e)
	if e.Type == apk.TypeFile {
		return s.beginFile(&s.entries[len(s.entries)-1])
	}
	s.state = atHeader
	return nil
}

// entryOf makes an entry of a header block and the extended headers before it.
func (s *scanner) entryOf(h *header) (apk.Entry, error) {
	x := s.ext
	s.ext = noExtended()
	x.overlay(h)
	kind, ok := entryTypes[h.flag]
	if !ok {
		return apk.Entry{}, s.refuse(h.name, "unsupported member type %q", h.flag)
	}
	name, err := cleanName(h.name)
	if err != nil {
		return apk.Entry{}, s.refuse(h.name, "%v", err)
	}
	e := apk.Entry{Path: name, Type: kind, Mode: h.mode, UID: int(h.uid), GID: int(h.gid), Uname: h.uname, Gname: h.gname,
		MTime: h.mtime, DevMajor: h.major, DevMinor: h.minor, SHA1: x.sha1, Xattrs: x.xattrs}
	switch kind {
	case apk.TypeFile:
		e.Size = h.size
	case apk.TypeSymlink, apk.TypeHardlink:
		e.Link = h.link
	}
	return e, nil
}

var entryTypes = map[byte]apk.EntryType{
	flagFile: apk.TypeFile, flagHardlink: apk.TypeHardlink, flagSymlink: apk.TypeSymlink, flagChar: apk.TypeChar,
	flagBlock: apk.TypeBlock, flagDir: apk.TypeDir, flagFIFO: apk.TypeFIFO,
}

// checkHeader checks numbers and texts that every member has.
func (s *scanner) checkHeader(h *header, e *apk.Entry) error {
	switch {
	case h.size < 0 || h.size > s.limits.DataInflated:
		return s.refuse(h.name, "size %d, at most %d are allowed", h.size, s.limits.DataInflated)
	case h.size != 0 && e.Type != apk.TypeFile:
		return s.refuse(h.name, "content of %d bytes in a member that is not a regular file", h.size)
	case h.uid < 0 || h.uid >= math.MaxUint32 || h.gid < 0 || h.gid >= math.MaxUint32:
		return s.refuse(h.name, "owner %d:%d", h.uid, h.gid)
	case h.major < 0 || h.minor < 0 || h.major > math.MaxUint32 || h.minor > math.MaxUint32:
		return s.refuse(h.name, "device number %d:%d", h.major, h.minor)
	case indexControl(h.uname) >= 0 || indexControl(h.gname) >= 0 || len(h.uname)+len(h.gname) > maxComponent:
		return s.refuse(h.name, "owner %.60q, group %.60q", h.uname, h.gname)
	case e.Type == apk.TypeFile && strings.HasSuffix(h.name, "/"):
		return s.refuse(h.name, "regular file with a directory's name")
	case int64(len(s.entries)) >= s.limits.Entries:
		return s.refuse("", "more than %d members", s.limits.Entries)
	}
	s.metadata += int64(len(h.name) + len(h.link))
	for name, value := range e.Xattrs {
		s.metadata += int64(len(name) + len(value))
	}
	if s.metadata > s.limits.Metadata {
		return s.refuse("", "names and attributes take more than %d bytes", s.limits.Metadata)
	}
	return nil
}

// rootEntry passes over a directory entry for the root itself, as apk does.
func (s *scanner) rootEntry(h *header, e *apk.Entry) error {
	if e.Type != apk.TypeDir {
		return s.refuse(h.name, "the root as a member that is not a directory")
	}
	if e.Mode != 0o755 || e.UID != 0 || e.GID != 0 || len(e.Xattrs) > 0 {
		s.note("entry for the root directory with mode %#o, owner %d:%d", e.Mode, e.UID, e.GID)
	}
	s.state = atHeader
	return nil
}

// typed fills in and checks what depends on the entry's type.
func (s *scanner) typed(h *header, e *apk.Entry) error {
	switch e.Type {
	case apk.TypeFile:
		e.Size = h.size
	case apk.TypeSymlink:
		e.Link = h.link
		if err := checkTarget(h.link); err != nil {
			return s.refuse(h.name, "%v", err)
		}
		return s.linkChecksum(h, e)
	case apk.TypeHardlink:
		target, err := cleanName(h.link)
		if err != nil {
			return s.refuse(h.name, "hard link to %.200q: %v", h.link, err)
		}
		e.Link, err = s.hardlinkTarget(h.name, target)
		return err
	}
	return nil
}

// linkChecksum checks the declared checksum of a symlink's target, or sets it.
func (s *scanner) linkChecksum(h *header, e *apk.Entry) error {
	sum := apk.SHA1(sha1.Sum([]byte(h.link)))
	if !e.SHA1.IsZero() && e.SHA1 != sum {
		return &MismatchError{Package: s.id, What: "sha1 of the symlink target of " + e.Path, Found: sum.Hex(), Wanted: e.SHA1.Hex()}
	}
	e.SHA1 = sum
	return nil
}

// hardlinkTarget returns the path of the regular file that a hard link to
// target stands for: it must have come before.
func (s *scanner) hardlinkTarget(member, target string) (string, error) {
	at, known := s.names.at[target]
	if !known || at == implicit {
		return "", s.refuse(member, "hard link to %.200q, which is not an earlier member of this package", target)
	}
	switch t := &s.entries[at]; t.Type {
	case apk.TypeFile:
		return t.Path, nil
	case apk.TypeHardlink:
		return t.Link, nil
	default:
		return "", s.refuse(member, "hard link to %.200q, which is not a regular file", target)
	}
}

// add appends the entry unless it repeats a directory word for word.
func (s *scanner) add(h *header, e *apk.Entry) (bool, error) {
	isDir := func(at int32) bool { return s.entries[at].Type == apk.TypeDir }
	if err := s.names.parents(e.Path, isDir); err != nil {
		return false, s.refuse(h.name, "%v", err)
	}
	at, known := s.names.at[e.Path]
	switch {
	case known && at == implicit && e.Type != apk.TypeDir:
		return false, s.refuse(h.name, "not a directory, but earlier members lie below it")
	case known && at != implicit:
		if e.Type == apk.TypeDir && sameDir(&s.entries[at], e) {
			s.state = atHeader
			return false, nil
		}
		return false, s.refuse(h.name, "the path appears twice")
	}
	s.names.at[e.Path] = int32(len(s.entries))
	s.entries = append(s.entries, *e)
	return true, nil
}

func sameDir(a, b *apk.Entry) bool {
	return a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.MTime == b.MTime &&
		len(a.Xattrs) == 0 && len(b.Xattrs) == 0
}

// noteEntry notes what keeps the data section from being a layer as it is.
func (s *scanner) noteEntry(e *apk.Entry) {
	switch {
	case whiteout(e.Path):
		s.note("whiteout name %s", e.Path)
	case e.Path[0] == '.':
		s.note("dot-file in the root: %s", e.Path)
	case e.Type == apk.TypeChar || e.Type == apk.TypeBlock:
		s.note("device node %s", e.Path)
	}
}

// beginFile prepares for the content of a regular file.
func (s *scanner) beginFile(e *apk.Entry) error {
	s.current, s.left = len(s.entries)-1, e.Size
	s.pad = -e.Size & (blockSize - 1)
	s.end = MemberEnd(e)
	s.sum.Reset()
	s.want1 = e.SHA1
	s.sum1.Reset()
	s.keeping = ContentWanted(e.Path, e.Size) && s.kept+e.Size <= maxContents
	if s.keeping {
		s.kept += e.Size
		s.keep = make([]byte, 0, min(e.Size, 1<<20))
	}
	s.elf.begin(e.Size)
	s.state = inContent
	if e.Size == 0 {
		s.state = atHeader
		return s.fileDone()
	}
	return nil
}

// content takes a part of the current file's bytes. The tar's own hash goes on
// by as many, which are never too many: it is behind by the headers since then.
func (s *scanner) content(b []byte) {
	multisha.Write2(s.sum, b, s.tar, s.unhashed[:len(b)])
	s.unhashed = s.unhashed[len(b):]
	s.sum1.Write(b)
	if s.keeping {
		s.keep = append(s.keep, b...)
	}
	s.elf.write(b)
}

// fileDone completes the entry of the current file.
func (s *scanner) fileDone() error {
	e := &s.entries[s.current]
	s.sum.Sum(e.SHA256[:0])
	s.sum1.Sum(e.SHA1[:0])
	if !s.want1.IsZero() && e.SHA1 != s.want1 {
		return &MismatchError{Package: s.id, What: "sha1 of " + e.Path, Found: e.SHA1.Hex(), Wanted: s.want1.Hex()}
	}
	if s.keeping {
		if s.contents == nil {
			s.contents = map[string][]byte{}
		}
		s.contents[e.Path], s.keep = s.keep, nil
	}
	if e.ELF = s.elf.done(); s.elf.missed {
		s.again = append(s.again, s.current)
	}
	return nil
}
