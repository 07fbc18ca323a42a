package apk

import "io/fs"

// EntryType is the kind of a file system entry. The values are stable: receipts
// store them.
type EntryType byte

// The kinds of entries a package or an image can hold.
const (
	TypeFile     EntryType = 'f'
	TypeDir      EntryType = 'd'
	TypeSymlink  EntryType = 'l'
	TypeHardlink EntryType = 'h' // Link names an earlier regular file of the same archive
	TypeChar     EntryType = 'c'
	TypeBlock    EntryType = 'b'
	TypeFIFO     EntryType = 'p'
)

// Entry is one member of a package's data section: everything about it but its
// bytes.
type Entry struct {
	// Path is relative to the root, clean, with "/" and without a leading or
	// trailing one.
	Path string
	Type EntryType
	// Mode holds the permission, setuid, setgid and sticky bits (07777).
	Mode         uint32
	UID, GID     int
	Uname, Gname string
	Size         int64  // of the content, regular files only, in bytes
	MTime        int64  // seconds since the Unix epoch
	Link         string // symlink: target as written; hard link: clean path of the target
	DevMajor     int64
	DevMinor     int64
	// SHA256 is the digest of a regular file's content, computed on ingestion.
	SHA256 SHA256
	// SHA1 is the checksum that the package declares for a regular file's
	// content or a symlink's target (APK-TOOLS.checksum.SHA1), or, where it
	// declares none, the computed one.
	SHA1   SHA1
	Xattrs map[string]string // name without SCHILY.xattr. → value

	// HeaderOffset and DataOffset are positions in the inflated tar: of the
	// entry's first header block (an extended header included) and of its
	// content. The entry ends at the next entry's HeaderOffset.
	HeaderOffset int64
	DataOffset   int64

	// ELF is set for regular files that are ELF objects.
	ELF *ELF
}

// ELF is what later stages need to know of an ELF file (ld.so.cache, lint).
type ELF struct {
	Class   byte   // 1: 32 bit, 2: 64 bit (EI_CLASS)
	Data    byte   // 1: little endian, 2: big endian (EI_DATA)
	Type    uint16 // ET_DYN, ET_EXEC… (e_type)
	Machine uint16 // e_machine
	Flags   uint32 // e_flags
	OSABI   byte   // EI_OSABI
	SONAME  string
	Interp  string
	Needed  []string
	RunPath []string // DT_RUNPATH or DT_RPATH, split
}

// FileMode is a mode of an [Entry] as Go has it: permission and special bits, no type.
func FileMode(mode uint32) fs.FileMode {
	out := fs.FileMode(mode & 0o777)
	if mode&0o4000 != 0 {
		out |= fs.ModeSetuid
	}
	if mode&0o2000 != 0 {
		out |= fs.ModeSetgid
	}
	if mode&0o1000 != 0 {
		out |= fs.ModeSticky
	}
	return out
}
