package baseimage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// The list of files is what unpacking an image on paper gives, as one protocol
// buffers message, fields in this order, so that one image has one list:
//
//	message List {
//	  uint64 format            = 1; // listFormat
//	  bytes  entries           = 2; // store.AppendEntries, with the contents
//	  bytes  root              = 3; // the same, of the root directory; absent: no layer describes it
//	  repeated uint64 places   = 4; // packed: of each entry layer and member
//	  repeated uint64 inflated = 5; // packed: of each layer the bytes of its tar
//	}
const (
	fieldFormat protowire.Number = iota + 1
	fieldEntries
	fieldRoot
	fieldPlaces
	fieldInflated
)

// listFormat is the version of the list of files, and so of what its digest in a
// lock covers.
const listFormat = 1

// errList is wrapped by what is wrong with a list of files.
var errList = errors.New("not the list of files of an image")

// Files returns the list of the image's files: everything that unpacking its
// layers gives, encoded. Equal images give equal lists. Do not change it.
func (b *Base) Files() []byte { return b.files }

// FilesDigest is the SHA-256 of [Base.Files], which a lock records: the image's
// digest pins its layers, this what is in them, without reading them.
func (b *Base) FilesDigest() apk.SHA256 { return sha256.Sum256(b.files) }

// encode makes the list of files of what was unpacked.
func (b *Base) encode() []byte {
	out := appendVarint(nil, fieldFormat, listFormat)
	out = appendBytes(out, fieldEntries, store.AppendEntries(nil, b.Entries, b.Contents))
	if b.Root != nil {
		out = appendBytes(out, fieldRoot, store.AppendEntries(nil, []apk.Entry{*b.Root}, nil))
	}
	var packed []byte
	for _, p := range b.places {
		packed = protowire.AppendVarint(protowire.AppendVarint(packed, uint64(p.layer)), uint64(p.member))
	}
	out = appendBytes(out, fieldPlaces, packed)
	packed = packed[:0]
	for i := range b.Layers {
		packed = protowire.AppendVarint(packed, uint64(b.Layers[i].Inflated))
	}
	return appendBytes(out, fieldInflated, packed)
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// take reads a list of files into b, whose layers are described already but for
// their inflated sizes. It may come from anywhere: what everything after relies on
// is checked, that it is true of the image is not.
func (b *Base) take(list []byte) error {
	if err := b.decode(list); err != nil {
		return fmt.Errorf("%w: %w", errList, err)
	}
	if err := b.checkList(); err != nil {
		return fmt.Errorf("%w: %w", errList, err)
	}
	b.files = list
	return nil
}

func (b *Base) decode(list []byte) error {
	var format uint64
	var places, inflated []uint64
	err := fields(list, func(field protowire.Number, v uint64, m []byte) (err error) {
		switch field {
		case fieldFormat:
			format = v
		case fieldEntries:
			b.Entries, b.Contents, err = store.ParseEntries(m, maxMembers)
		case fieldRoot:
			var root []apk.Entry
			if root, _, err = store.ParseEntries(m, 1); err == nil && len(root) == 1 {
				b.Root = &root[0]
			}
		case fieldPlaces:
			places, err = varints(m)
		case fieldInflated:
			inflated, err = varints(m)
		default:
			err = fmt.Errorf("field %d", field)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case format != listFormat:
		return fmt.Errorf("format %d, this version reads %d", format, listFormat)
	case len(inflated) != len(b.Layers):
		return fmt.Errorf("of %d layers, the image has %d", len(inflated), len(b.Layers))
	case len(places) != 2*len(b.Entries):
		return fmt.Errorf("%d places for %d entries", len(places)/2, len(b.Entries))
	}
	if b.Contents == nil {
		b.Contents = map[string][]byte{}
	}
	for i, n := range inflated {
		b.Layers[i].Inflated = int64(n)
	}
	b.places = make([]place, len(b.Entries))
	for i := range b.places {
		layer, member := places[2*i], places[2*i+1]
		if layer >= uint64(len(b.Layers)) || member > maxMembers {
			return fmt.Errorf("member %d of layer %d, the image has %d layers", member, layer, len(b.Layers))
		}
		b.places[i] = place{int(layer), int(member)}
	}
	return nil
}

// fields calls fn for each field of a message.
func fields(m []byte, fn func(field protowire.Number, v uint64, b []byte) error) error {
	for len(m) > 0 {
		field, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return protowire.ParseError(n)
		}
		m = m[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(m)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(m)
		default:
			return fmt.Errorf("field %d has wire type %d", field, kind)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		m = m[n:]
		if err := fn(field, v, b); err != nil {
			return err
		}
	}
	return nil
}

func varints(m []byte) ([]uint64, error) {
	out := make([]uint64, 0, len(m))
	for len(m) > 0 {
		v, n := protowire.ConsumeVarint(m)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		if v > math.MaxInt64 {
			return nil, fmt.Errorf("number %d", v)
		}
		out, m = append(out, v), m[n:]
	}
	return out, nil
}

// checkList checks that entries are such as flattening gives.
func (b *Base) checkList() error {
	if b.Root != nil && (b.Root.Type != apk.TypeDir || b.Root.Path != "") {
		return fmt.Errorf("root %q of type %q", b.Root.Path, b.Root.Type)
	}
	seen := make(map[string]*apk.Entry, len(b.Entries))
	for i := range b.Entries {
		e := &b.Entries[i]
		if i > 0 && !comesAfter(e.Path, b.Entries[i-1].Path) {
			return fmt.Errorf("path %.200q: after %.200q", e.Path, b.Entries[i-1].Path)
		}
		if err := checkEntry(e, seen); err != nil {
			return fmt.Errorf("path %.200q: %w", e.Path, err)
		}
		seen[e.Path] = e
	}
	for _, name := range slices.Sorted(maps.Keys(b.Contents)) {
		e, content := seen[name], b.Contents[name]
		if e == nil || e.Type != apk.TypeFile || e.Size != int64(len(content)) || e.SHA256 != sha256.Sum256(content) {
			return fmt.Errorf("path %.200q: its content is another", name)
		}
	}
	return nil
}

// comesAfter compares paths component by component.
func comesAfter(p, q string) bool {
	for {
		a, restA, moreA := strings.Cut(p, "/")
		b, restB, moreB := strings.Cut(q, "/")
		switch {
		case a != b:
			return a > b
		case !moreB:
			return moreA
		case !moreA:
			return false
		}
		p, q = restA, restB
	}
}

func checkEntry(e *apk.Entry, seen map[string]*apk.Entry) error {
	clean, err := clean(e.Path)
	if err != nil {
		return err
	}
	parent := seen[parentOf(e.Path)]
	switch {
	case clean != e.Path || e.Path == "":
		return errors.New("not a clean path")
	case strings.HasPrefix(e.Path[strings.LastIndexByte(e.Path, '/')+1:], whiteout):
		return errors.New("a name that means deletion")
	case strings.Contains(e.Path, "/") && (parent == nil || parent.Type != apk.TypeDir):
		return errors.New("not in a directory")
	case e.Uname != "" || e.Gname != "":
		return errors.New("an owner's name")
	case e.UID < 0 || e.UID > math.MaxUint32 || e.GID < 0 || e.GID > math.MaxUint32:
		return fmt.Errorf("owner %d:%d", e.UID, e.GID)
	}
	switch e.Type {
	case apk.TypeFile, apk.TypeDir, apk.TypeChar, apk.TypeBlock, apk.TypeFIFO:
		return nil
	case apk.TypeSymlink:
		if e.Link != "" && len(e.Link) <= maxPath && strings.IndexByte(e.Link, 0) < 0 {
			return nil
		}
	case apk.TypeHardlink:
		if to := seen[e.Link]; to != nil && to.Type == apk.TypeFile {
			return nil
		}
	}
	return fmt.Errorf("type %q with link %.200q", e.Type, e.Link)
}

// What the store keeps of images.
const (
	kindFiles = "base-files"
	maxList   = 1 << 30 // bytes
)

func (b *Base) key() string { return fmt.Sprintf("files %d of %s", listFormat, b.Digest) }

// cached takes the list of files from the store, and reports whether it did. It
// is found by the digest of the image's manifest, which pins the layers, and is
// hashed as everything in the store is; a damaged or strange one counts as none.
func (b *Base) cached(ctx context.Context, st *store.Store) (bool, error) {
	list, err := st.ReadObject(ctx, kindFiles, b.key(), maxList)
	if err != nil {
		return false, ctx.Err()
	}
	if err := b.describe(); err != nil {
		return false, err
	}
	if err := b.take(list); err != nil {
		b.Layers, b.Entries, b.Contents, b.Root, b.places, b.files = nil, nil, nil, nil, nil, nil
		return false, nil
	}
	return true, nil
}

// keep puts the list of files into the store. A store that cannot take it is no
// reason not to go on: the list is at hand.
func (b *Base) keep(ctx context.Context, st *store.Store) error {
	_, _ = st.PutObject(ctx, kindFiles, b.key(), func(w io.Writer) error {
		_, err := w.Write(b.files)
		return err
	})
	return ctx.Err()
}
