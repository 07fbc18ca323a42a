// Package apktest builds real APK v2 packages and signed repositories for
// tests, byte for byte the same in every run, including packages that are
// wrong on purpose.
//
// It is for tests only: it panics where a specification makes no sense, keeps
// everything in memory, and its keys are public knowledge.
//
//	key := apktest.NewKey("test.rsa.pub")
//	raw := apktest.Build(apktest.Spec{
//		Package: apk.Package{Name: "hello", Version: "1.0-r0", Arch: "x86_64"},
//		Files:   []apktest.File{{Path: "usr/bin/hello", Mode: 0o755, Content: "#!/bin/sh\n"}},
//		Parents: true,
//		Sign:    key,
//	})
package apktest

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// File is one member of the data section. The zero Type is a regular file; the
// zero Mode is 0644 for files, 0755 for directories and 0777 for symlinks (use
// ModeZero for a mode of 0). The path is written as it is, however wrong.
type File struct {
	Path         string
	Type         apk.EntryType
	Mode         int64
	ModeZero     bool
	UID, GID     int
	Uname, Gname string // empty: "root" for 0
	Content      string
	Link         string
	Xattrs       map[string]string // name without SCHILY.xattr.
	MTime        int64
	Dev          [2]int64 // major, minor
	Checksum     string   // overrides the hexadecimal APK-TOOLS.checksum.SHA1
	NoChecksum   bool
}

// Spec describes one package. The zero value of every knob gives a well-formed
// package like melange's.
type Spec struct {
	Package apk.Package
	Files   []File
	Scripts map[string]string // "post-install" or ".post-install" → content
	Sign    *Key              // nil: no signature member
	// Algorithm of the signature: RSA (SHA-1, as abuild signs), RSA256
	// (default), RSA512.
	Algorithm string

	// Parents adds a directory entry (0755, root) for each missing parent.
	Parents bool
	// DirSlash writes directory names with a trailing slash, as GNU tar does.
	DirSlash bool
	// TrailingZeroBlocks is the number of 512-byte zero blocks after the last
	// member of the data tar; 0 means 2, abuild's GNU tar pads to 10,240 bytes.
	TrailingZeroBlocks int

	WrongDataHash   bool     // .PKGINFO names another digest
	NoDataHash      bool     // .PKGINFO names none
	NoEndOfArchive  bool     // the data tar ends after its last member
	OmitChecksums   bool     // no APK-TOOLS.checksum.SHA1 at all
	WrongChecksums  bool     // every one is wrong
	WrongSignature  bool     // the signature does not match
	EndOfControl    bool     // the control tar ends with two zero blocks
	TruncateAt      int      // > 0: the file ends after so many bytes
	RawTar          []byte   // the data tar, instead of one made from Files
	RawData         []byte   // the compressed data section, instead of gzip
	RawPkgInfo      string   // the text of .PKGINFO, instead of one from Package
	RawControl      []byte   // the compressed control member
	ExtraMembers    [][]byte // tars, each compressed and appended after the data
	ExtraSignatures []Key    // further signature files in the first member
}

// Build returns the bytes of the package file.
func Build(s Spec) []byte {
	raw, _ := BuildEntry(s)
	return raw
}

// BuildEntry returns the bytes of the package file and its index entry:
// Spec.Package completed with Checksum, DataHash, Size and InstalledSize.
func BuildEntry(s Spec) ([]byte, apk.Package) {
	data := s.RawData
	if data == nil {
		data = Gzip(dataTar(s))
	}
	for _, extra := range s.ExtraMembers {
		data = append(data, Gzip(extra)...)
	}
	p := s.Package
	p.DataHash = sha256.Sum256(data)
	if p.InstalledSize == 0 {
		p.InstalledSize = installedSize(s.Files)
	}
	control := s.RawControl
	if control == nil {
		control = Gzip(controlTar(s, p))
	}
	p.Checksum = sha1.Sum(control)
	raw := append(slices.Concat(signature(s, control), control), data...)
	if s.TruncateAt > 0 && s.TruncateAt < len(raw) {
		raw = raw[:s.TruncateAt]
	}
	p.Size = int64(len(raw))
	return raw, p
}

// Gzip compresses b into one gzip member without name or time.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err2 := w.Close(); err == nil {
		err = err2
	}
	if err != nil {
		panic(fmt.Sprintf("apktest: compress: %v", err))
	}
	return out.Bytes()
}

// CutTar returns a tar of regular files in the given order without an
// end-of-archive, the form of signature and control members.
func CutTar(files []File) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: 0o644, Size: int64(len(f.Content)),
			Uname: "root", Gname: "root", ModTime: time.Unix(f.MTime, 0), Format: tar.FormatUSTAR}
		mustWrite(w, h, f.Content)
	}
	if err := w.Flush(); err != nil {
		panic(fmt.Sprintf("apktest: tar: %v", err))
	}
	return out.Bytes()
}

func signature(s Spec, control []byte) []byte {
	if s.Sign == nil {
		return nil
	}
	return Gzip(CutTar(signatureFiles(s.Algorithm, s.Sign, s.ExtraSignatures, control, s.WrongSignature)))
}

func signatureFiles(algorithm string, key *Key, more []Key, signed []byte, wrong bool) []File {
	if algorithm == "" {
		algorithm = "RSA256"
	}
	var files []File
	for _, k := range append([]Key{*key}, more...) {
		sig := k.Sign(algorithm, signed)
		if wrong {
			sig[len(sig)/2] ^= 0x10
		}
		files = append(files, File{Path: ".SIGN." + algorithm + "." + k.Name, Content: string(sig)})
	}
	return files
}

func controlTar(s Spec, p apk.Package) []byte {
	switch {
	case s.NoDataHash:
		p.DataHash = apk.SHA256{}
	case s.WrongDataHash:
		p.DataHash[7] ^= 0x40
	}
	info := s.RawPkgInfo
	if info == "" {
		info = string(apk.AppendPkgInfo([]byte("# Generated by apktest\n"), &p))
	}
	files := []File{{Path: ".PKGINFO", Content: info, MTime: p.BuildTime}}
	for name, body := range s.Scripts {
		files = append(files, File{Path: "." + strings.TrimPrefix(name, "."), Content: body, MTime: p.BuildTime})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	out := CutTar(files)
	if s.EndOfControl {
		out = append(out, make([]byte, 1024)...)
	}
	return out
}

func dataTar(s Spec) []byte {
	if s.RawTar != nil {
		return s.RawTar
	}
	files := s.Files
	if s.Parents {
		files = withParents(files)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		mustWrite(w, header(s, f), f.Content)
	}
	if err := w.Flush(); err != nil {
		panic(fmt.Sprintf("apktest: tar: %v", err))
	}
	if s.NoEndOfArchive {
		return out.Bytes()
	}
	blocks := s.TrailingZeroBlocks
	if blocks == 0 {
		blocks = 2
	}
	return append(out.Bytes(), make([]byte, 512*blocks)...)
}

func withParents(files []File) []File {
	var out []File
	have := map[string]bool{".": true, "/": true}
	for _, f := range files {
		var missing []File
		for dir := path.Dir(path.Clean(f.Path)); !have[dir] && !strings.HasPrefix(dir, ".."); dir = path.Dir(dir) {
			have[dir] = true
			missing = append(missing, File{Path: dir, Type: apk.TypeDir, MTime: f.MTime})
		}
		slices.Reverse(missing)
		out = append(append(out, missing...), f)
		have[path.Clean(f.Path)] = true
	}
	return out
}

func installedSize(files []File) (n int64) {
	for _, f := range files {
		n += int64(len(f.Content))
	}
	return n
}

func header(s Spec, f File) *tar.Header {
	h := &tar.Header{Name: f.Path, Linkname: f.Link, Mode: f.Mode, Uid: f.UID, Gid: f.GID, Uname: f.Uname, Gname: f.Gname,
		ModTime: time.Unix(f.MTime, 0), Devmajor: f.Dev[0], Devminor: f.Dev[1], Format: tar.FormatPAX, PAXRecords: map[string]string{}}
	if h.Uname == "" && h.Uid == 0 {
		h.Uname = "root"
	}
	if h.Gname == "" && h.Gid == 0 {
		h.Gname = "root"
	}
	setType(s, f, h)
	for name, value := range f.Xattrs {
		h.PAXRecords["SCHILY.xattr."+name] = value
	}
	if sum := checksum(s, f, h.Typeflag); sum != "" {
		h.PAXRecords["APK-TOOLS.checksum.SHA1"] = sum
	}
	return h
}

func setType(s Spec, f File, h *tar.Header) {
	mode := int64(0o644)
	switch f.Type {
	case 0, apk.TypeFile:
		h.Typeflag, h.Size = tar.TypeReg, int64(len(f.Content))
	case apk.TypeDir:
		h.Typeflag, mode = tar.TypeDir, 0o755
		if s.DirSlash {
			h.Name += "/"
		}
	case apk.TypeSymlink:
		h.Typeflag, mode = tar.TypeSymlink, 0o777
	case apk.TypeHardlink:
		h.Typeflag = tar.TypeLink
	case apk.TypeChar:
		h.Typeflag = tar.TypeChar
	case apk.TypeBlock:
		h.Typeflag = tar.TypeBlock
	case apk.TypeFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		panic(fmt.Sprintf("apktest: %s: entry type %q", f.Path, f.Type))
	}
	if f.Mode == 0 && !f.ModeZero {
		h.Mode = mode
	}
}

// checksum returns what APK-TOOLS.checksum.SHA1 says of f: regular files by
// content, symlinks by target, nothing for the rest.
func checksum(s Spec, f File, flag byte) string {
	var of string
	switch flag {
	case tar.TypeReg:
		of = f.Content
	case tar.TypeSymlink:
		of = f.Link
	default:
		return ""
	}
	if s.OmitChecksums || f.NoChecksum {
		return ""
	}
	if f.Checksum != "" {
		return f.Checksum
	}
	sum := sha1.Sum([]byte(of))
	if s.WrongChecksums {
		sum[3] ^= 0x04
	}
	return hex.EncodeToString(sum[:])
}

func mustWrite(w *tar.Writer, h *tar.Header, content string) {
	if err := w.WriteHeader(h); err != nil {
		panic(fmt.Sprintf("apktest: %s: %v", h.Name, err))
	}
	if h.Typeflag != tar.TypeReg {
		return
	}
	if _, err := w.Write([]byte(content)); err != nil {
		panic(fmt.Sprintf("apktest: %s: %v", h.Name, err))
	}
}
