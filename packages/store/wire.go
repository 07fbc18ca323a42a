package store

import (
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/cairn-dev/cairn/packages/apk"
)

// The stored form of a receipt is one protocol buffers message, fields in
// ascending order, zero values left out, map entries sorted by key, so that one
// receipt has exactly one encoding. A receipt file is that message followed by
// its SHA-256 (32 bytes).
//
//	message Receipt {
//	  uint64 format         = 1;  // ReceiptFormat
//	  bytes  signature      = 2;  // raw gzip member
//	  bytes  control        = 3;  // raw gzip member; Package and Scripts are read from it
//	  string signature_key  = 4;
//	  bytes  file_sha256    = 5;
//	  uint64 data_size      = 6;
//	  bytes  data_hash      = 7;
//	  bytes  diff_id        = 8;
//	  uint64 inflated_size  = 9;
//	  uint64 tar_end        = 10;
//	  string verbatim       = 11;
//	  repeated Content contents = 12;
//	  uint64 entry_count    = 13;
//	  repeated Entry entries = 14;
//	}
//	message Content { string path = 1; bytes data = 2; }
//	message Entry {
//	  string path = 1;          uint64 type = 2;   // apk.EntryType
//	  uint64 mode = 3;          uint64 uid = 4;    uint64 gid = 5;
//	  string uname = 6;         string gname = 7;
//	  uint64 size = 8;          sint64 mtime = 9;  string link = 10;
//	  uint64 dev_major = 11;    uint64 dev_minor = 12;
//	  bytes sha256 = 13;        bytes sha1 = 14;
//	  repeated Xattr xattrs = 15;
//	  uint64 header_offset = 16; // minus the end of the previous member
//	  uint64 data_offset = 17;   // minus header_offset
//	  Elf elf = 18;
//	}
//	message Xattr { bytes name = 1; bytes value = 2; }
//	message Elf {
//	  uint64 ident = 1;   // class | data<<8 | osabi<<16
//	  uint64 kind = 2;    // type | machine<<16 | flags<<32
//	  string soname = 3;  string interp = 4;
//	  repeated string needed = 5; repeated string run_path = 6;
//	}
const (
	fieldFormat protowire.Number = iota + 1
	fieldSignature
	fieldControl
	fieldSignatureKey
	fieldFileSHA256
	fieldDataSize
	fieldDataHash
	fieldDiffID
	fieldInflatedSize
	fieldTarEnd
	fieldVerbatim
	fieldContent
	fieldEntryCount
	fieldEntry
)

const (
	entryPath protowire.Number = iota + 1
	entryType
	entryMode
	entryUID
	entryGID
	entryUname
	entryGname
	entrySize
	entryMTime
	entryLink
	entryDevMajor
	entryDevMinor
	entrySHA256
	entrySHA1
	entryXattr
	entryHeaderOffset
	entryDataOffset
	entryELF
)

const (
	elfIdent protowire.Number = iota + 1
	elfKind
	elfSONAME
	elfInterp
	elfNeeded
	elfRunPath
)

// appendReceipt appends the stored form of r, without the hash behind it.
func appendReceipt(b []byte, r *Receipt) []byte {
	b = appendUint(b, fieldFormat, ReceiptFormat)
	b = appendBytes(b, fieldSignature, r.Signature)
	b = appendBytes(b, fieldControl, r.Control)
	b = appendString(b, fieldSignatureKey, r.SignatureKey)
	b = appendSHA256(b, fieldFileSHA256, r.FileSHA256)
	b = appendUint(b, fieldDataSize, uint64(r.DataSize))
	b = appendSHA256(b, fieldDataHash, r.DataHash)
	b = appendSHA256(b, fieldDiffID, r.DiffID)
	b = appendUint(b, fieldInflatedSize, uint64(r.InflatedSize))
	b = appendUint(b, fieldTarEnd, uint64(r.TarEnd))
	b = appendString(b, fieldVerbatim, r.Verbatim)
	for _, name := range slices.Sorted(maps.Keys(r.Contents)) {
		b = appendPair(b, fieldContent, name, r.Contents[name])
	}
	b = appendUint(b, fieldEntryCount, uint64(len(r.Entries)))
	var scratch []byte
	var end int64
	for i := range r.Entries {
		e := &r.Entries[i]
		scratch = appendEntry(scratch[:0], e, end)
		b = protowire.AppendTag(b, fieldEntry, protowire.BytesType)
		b = protowire.AppendBytes(b, scratch)
		end = MemberEnd(e)
	}
	return b
}

func appendEntry(b []byte, e *apk.Entry, previousEnd int64) []byte {
	b = appendString(b, entryPath, e.Path)
	b = appendUint(b, entryType, uint64(e.Type))
	b = appendUint(b, entryMode, uint64(e.Mode))
	b = appendUint(b, entryUID, uint64(e.UID))
	b = appendUint(b, entryGID, uint64(e.GID))
	b = appendString(b, entryUname, e.Uname)
	b = appendString(b, entryGname, e.Gname)
	b = appendUint(b, entrySize, uint64(e.Size))
	b = appendUint(b, entryMTime, protowire.EncodeZigZag(e.MTime))
	b = appendString(b, entryLink, e.Link)
	b = appendUint(b, entryDevMajor, uint64(e.DevMajor))
	b = appendUint(b, entryDevMinor, uint64(e.DevMinor))
	b = appendSHA256(b, entrySHA256, e.SHA256)
	if !e.SHA1.IsZero() {
		b = appendBytes(b, entrySHA1, e.SHA1[:])
	}
	if len(e.Xattrs) > 0 {
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			b = appendPair(b, entryXattr, name, []byte(e.Xattrs[name]))
		}
	}
	b = appendUint(b, entryHeaderOffset, uint64(e.HeaderOffset-previousEnd))
	b = appendUint(b, entryDataOffset, uint64(e.DataOffset-e.HeaderOffset))
	if e.ELF != nil {
		b = protowire.AppendTag(b, entryELF, protowire.BytesType)
		b = protowire.AppendBytes(b, appendELF(nil, e.ELF))
	}
	return b
}

func appendELF(b []byte, e *apk.ELF) []byte {
	b = appendUint(b, elfIdent, uint64(e.Class)|uint64(e.Data)<<8|uint64(e.OSABI)<<16)
	b = appendUint(b, elfKind, uint64(e.Type)|uint64(e.Machine)<<16|uint64(e.Flags)<<32)
	b = appendString(b, elfSONAME, e.SONAME)
	b = appendString(b, elfInterp, e.Interp)
	b = appendStrings(b, elfNeeded, e.Needed)
	return appendStrings(b, elfRunPath, e.RunPath)
}

func appendUint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendString(b []byte, field protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// appendStrings keeps empty elements: they are part of the list.
func appendStrings(b []byte, field protowire.Number, list []string) []byte {
	for _, v := range list {
		b = protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
	}
	return b
}

func appendSHA256(b []byte, field protowire.Number, v apk.SHA256) []byte {
	if v.IsZero() {
		return b
	}
	return appendBytes(b, field, v[:])
}

// appendPair appends a message of a key (1) and a value (2).
func appendPair(b []byte, field protowire.Number, key string, value []byte) []byte {
	n := protowire.SizeTag(1)*2 + protowire.SizeBytes(len(key)) + protowire.SizeBytes(len(value))
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), key)
	return protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), value)
}

// clampInt is v as an int64, or false when it does not fit.
func clampInt(v uint64) (int64, bool) { return int64(v), v <= math.MaxInt64 }
