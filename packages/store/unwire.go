package store

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/cairn-dev/cairn/packages/apk"
)

// errReceipt is what is wrong with an undecodable receipt.
var errReceipt = errors.New("not a receipt")

// fields calls fn for each field of a message. Only the wire types that
// receipts use are accepted: v is set for integers, b for the rest.
func fields(m []byte, fn func(field protowire.Number, v uint64, b []byte) error) error {
	for len(m) > 0 {
		field, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return fmt.Errorf("%w: %w", errReceipt, protowire.ParseError(n))
		}
		m = m[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(m)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(m)
			if b == nil {
				b = []byte{}
			}
		default:
			return fmt.Errorf("%w: field %d has wire type %d", errReceipt, field, kind)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errReceipt, field, protowire.ParseError(n))
		}
		m = m[n:]
		if err := fn(field, v, b); err != nil {
			return err
		}
	}
	return nil
}

// parseReceipt reads the stored form. Package, Scripts, FileSize and
// DataOffset are left to [Receipt.complete]. Strings and byte slices of the
// receipt share memory with m and text, which must be equal and stay unchanged.
func parseReceipt(m []byte, text string) (*Receipt, error) {
	return parseBounded(m, text, math.MaxUint64)
}

// parseBounded is parseReceipt for a receipt of at most limit entries: an entry
// takes a few bytes in the message, and a few hundred in memory.
func parseBounded(m []byte, text string, limit uint64) (*Receipt, error) {
	d := receiptDecoder{r: &Receipt{}, all: m, text: text, limit: limit}
	if err := fields(m, d.field); err != nil {
		return nil, err
	}
	if d.format != ReceiptFormat {
		return nil, fmt.Errorf("receipt: format %d, this version reads %d", d.format, ReceiptFormat)
	}
	if uint64(len(d.r.Entries)) != d.count {
		return nil, fmt.Errorf("%w: %d entries, expected %d", errReceipt, len(d.r.Entries), d.count)
	}
	return d.r, nil
}

type receiptDecoder struct {
	r      *Receipt
	all    []byte
	text   string
	format uint64
	count  uint64
	limit  uint64 // of entries
	end    int64  // of the previous member
	elf    []apk.ELF
}

// str returns b, a part of d.all, as a string without copying.
func (d *receiptDecoder) str(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	start := cap(d.all) - cap(b)
	return d.text[start : start+len(b)]
}

func (d *receiptDecoder) field(field protowire.Number, v uint64, b []byte) (err error) {
	r := d.r
	switch field {
	case fieldFormat:
		d.format = v
	case fieldSignature:
		r.Signature = b
	case fieldControl:
		r.Control = b
	case fieldSignatureKey:
		r.SignatureKey = d.str(b)
	case fieldFileSHA256:
		return setSHA256(&r.FileSHA256, b)
	case fieldDataSize:
		return setInt(&r.DataSize, v)
	case fieldDataHash:
		return setSHA256(&r.DataHash, b)
	case fieldDiffID:
		return setSHA256(&r.DiffID, b)
	case fieldInflatedSize:
		return setInt(&r.InflatedSize, v)
	case fieldTarEnd:
		return setInt(&r.TarEnd, v)
	case fieldVerbatim:
		r.Verbatim = d.str(b)
	case fieldContent:
		if r.Contents == nil {
			r.Contents = map[string][]byte{}
		}
		var name string
		var data []byte
		if name, data, err = d.pair(b); err == nil {
			r.Contents[name] = data
		}
	case fieldEntryCount:
		if d.count = v; v > d.limit {
			return fmt.Errorf("%w: %d entries, at most %d are allowed", errReceipt, v, d.limit)
		}
		// An entry takes at least a few bytes: never allocate for more than
		// the message can hold.
		r.Entries = make([]apk.Entry, 0, min(v, uint64(len(d.all))/minEntry))
	case fieldEntry:
		if uint64(len(r.Entries)) >= d.limit {
			return fmt.Errorf("%w: more than %d entries", errReceipt, d.limit)
		}
		r.Entries = append(r.Entries, apk.Entry{})
		err = d.entry(&r.Entries[len(r.Entries)-1], b)
	default:
		err = fmt.Errorf("%w: field %d", errReceipt, field)
	}
	return err
}

// minEntry is the least size of an encoded entry: path, type, data offset and
// the field's own tag and length.
const minEntry = 2 + 3 + 2 + 3

func (d *receiptDecoder) pair(m []byte) (key string, value []byte, err error) {
	err = fields(m, func(field protowire.Number, _ uint64, b []byte) error {
		switch field {
		case 1:
			key = d.str(b)
		case 2:
			value = b
		default:
			return fmt.Errorf("%w: pair field %d", errReceipt, field)
		}
		return nil
	})
	return key, value, err
}

// entry is the hot loop of decoding: no closures, one pass.
func (d *receiptDecoder) entry(e *apk.Entry, m []byte) error {
	for len(m) > 0 {
		tag, n := protowire.ConsumeVarint(m)
		if n < 0 {
			return fmt.Errorf("%w: entry: %w", errReceipt, protowire.ParseError(n))
		}
		m = m[n:]
		field, kind := protowire.Number(tag>>3), protowire.Type(tag&7)
		var err error
		switch kind {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(m); n > 0 {
				err = d.entryInt(e, field, v)
			}
		case protowire.BytesType:
			var b []byte
			if b, n = protowire.ConsumeBytes(m); n > 0 {
				err = d.entryBytes(e, field, b)
			}
		default:
			return fmt.Errorf("%w: entry field %d has wire type %d", errReceipt, field, kind)
		}
		if n < 0 {
			return fmt.Errorf("%w: entry field %d: %w", errReceipt, field, protowire.ParseError(n))
		}
		if err != nil {
			return err
		}
		m = m[n:]
	}
	return d.place(e)
}

// place turns relative offsets into positions and checks that members follow
// each other.
func (d *receiptDecoder) place(e *apk.Entry) error {
	const limit = 1 << 60
	if e.HeaderOffset > limit || e.DataOffset > limit || e.Size > limit {
		return fmt.Errorf("%w: entry %.100q: offset out of range", errReceipt, e.Path)
	}
	e.HeaderOffset += d.end
	e.DataOffset += e.HeaderOffset
	d.end = MemberEnd(e)
	if d.end > limit {
		return fmt.Errorf("%w: entry %.100q: offset out of range", errReceipt, e.Path)
	}
	return nil
}

func (d *receiptDecoder) entryInt(e *apk.Entry, field protowire.Number, v uint64) error {
	n, ok := clampInt(v)
	switch field {
	case entryType:
		e.Type, ok = apk.EntryType(v), v <= 0xff
	case entryMode:
		e.Mode, ok = uint32(v), v <= 0o7777
	case entryUID:
		e.UID = int(n)
	case entryGID:
		e.GID = int(n)
	case entrySize:
		e.Size = n
	case entryMTime:
		e.MTime, ok = protowire.DecodeZigZag(v), true
	case entryDevMajor:
		e.DevMajor = n
	case entryDevMinor:
		e.DevMinor = n
	case entryHeaderOffset:
		e.HeaderOffset = n
	case entryDataOffset:
		e.DataOffset = n
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("%w: entry field %d is %d", errReceipt, field, v)
	}
	return nil
}

func (d *receiptDecoder) entryBytes(e *apk.Entry, field protowire.Number, b []byte) error {
	switch field {
	case entryPath:
		e.Path = d.str(b)
	case entryUname:
		e.Uname = d.str(b)
	case entryGname:
		e.Gname = d.str(b)
	case entryLink:
		e.Link = d.str(b)
	case entrySHA256:
		return setSHA256(&e.SHA256, b)
	case entrySHA1:
		if len(b) != len(e.SHA1) {
			return fmt.Errorf("%w: sha1 of %d bytes", errReceipt, len(b))
		}
		copy(e.SHA1[:], b)
	case entryXattr:
		name, value, err := d.pair(b)
		if err != nil {
			return err
		}
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[name] = d.str(value)
	case entryELF:
		return d.elfFacts(e, b)
	default:
		return fmt.Errorf("%w: entry field %d", errReceipt, field)
	}
	return nil
}

func (d *receiptDecoder) elfFacts(e *apk.Entry, m []byte) error {
	if len(d.elf) == 0 {
		d.elf = make([]apk.ELF, 16)
	}
	x := &d.elf[0]
	d.elf = d.elf[1:]
	e.ELF = x
	return fields(m, func(field protowire.Number, v uint64, b []byte) error {
		switch field {
		case elfIdent:
			x.Class, x.Data, x.OSABI = byte(v), byte(v>>8), byte(v>>16)
		case elfKind:
			x.Type, x.Machine, x.Flags = uint16(v), uint16(v>>16), uint32(v>>32)
		case elfSONAME:
			x.SONAME = d.str(b)
		case elfInterp:
			x.Interp = d.str(b)
		case elfNeeded:
			x.Needed = append(x.Needed, d.str(b))
		case elfRunPath:
			x.RunPath = append(x.RunPath, d.str(b))
		default:
			return fmt.Errorf("%w: elf field %d", errReceipt, field)
		}
		return nil
	})
}

func setSHA256(d *apk.SHA256, b []byte) error {
	if len(b) != len(d) {
		return fmt.Errorf("%w: sha256 of %d bytes", errReceipt, len(b))
	}
	copy(d[:], b)
	return nil
}

func setInt(d *int64, v uint64) error {
	n, ok := clampInt(v)
	if !ok {
		return fmt.Errorf("%w: integer out of range", errReceipt)
	}
	*d = n
	return nil
}
