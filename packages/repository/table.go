package repository

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cairn-dev/cairn/packages/apk"
)

// FormatVersion is the version of the parsed form of an index. A cached file of
// another version is not used, and not an error.
//
// The form is a flat file, all numbers little-endian:
//
//	header    magic "cairnidx", version, SHA-256 and size of the index file it
//	          was made from, newest build time, number of elements per section
//	packages  one record of fixed size each, in the index's order
//	lists     dependency lists: positions in atoms
//	atoms     distinct dependencies: name, version, operator
//	provides  who is named or provides a name: names, hash slots, positions
//	installif who mentions a name in install_if: the same
//	strings   distinct strings: offsets, then the bytes
//	seal      HMAC-SHA-256 over the digests of everything before
//
// The whole file is read into memory and checked before any of it is used, so
// that what was checked is what is used, whatever happens to the file later.
const FormatVersion = 1

const (
	tableMagic = "cairnidx"
	headerSize = 128
	recordSize = 120
	atomSize   = 12
	sealSize   = sha256.Size
)

// Fields of a package record: ten strings, five list boundaries, five numbers
// and the checksum.
const (
	recName = 4 * iota
	recVersion
	recArch
	recDescription
	recURL
	recLicense
	recOrigin
	recMaintainer
	recCommit
	recUninstallable
	recLists // start of depends, provides, install_if, replaces; end
)

const (
	recSize             = recLists + 5*4
	recInstalledSize    = recSize + 8
	recBuildTime        = recSize + 16
	recProviderPriority = recSize + 24
	recReplacesPriority = recSize + 32
	recChecksum         = recSize + 40 // 20 bytes
)

// Flags of an atom: the operator, and whether it is a conflict.
const atomConflict = 1 << 8

// Positions of the header's fields.
const (
	hdrVersion     = 8
	hdrSHA256      = 16
	hdrSize        = 48
	hdrNewest      = 56
	hdrDescription = 64
	hdrCounts      = 68
)

// counts is the number of elements of each section.
type counts struct {
	packages, lists, atoms               uint32
	names, nameSlots, providers          uint32
	conditions, conditionSlots, installs uint32
	strings, stringBytes                 uint32
}

func (c *counts) fields() []*uint32 {
	return []*uint32{&c.packages, &c.lists, &c.atoms, &c.names, &c.nameSlots, &c.providers,
		&c.conditions, &c.conditionSlots, &c.installs, &c.strings, &c.stringBytes}
}

// table is the parsed form of an index, checked. It is immutable.
type table struct {
	raw     []byte
	counts  counts
	records []byte
	lists   u32s
	atoms   []byte
	names   nameTable // provides
	conds   nameTable // install_if
	offsets u32s
	text    string
}

// u32s is a sequence of 32-bit numbers in the file.
type u32s []byte

func (u u32s) len() int           { return len(u) / 4 }
func (u u32s) at(i int) uint32    { return binary.LittleEndian.Uint32(u[4*i:]) }
func le32(b []byte) uint32        { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) int64         { return int64(binary.LittleEndian.Uint64(b)) }
func (t *table) sha() []byte      { return t.raw[hdrSHA256 : hdrSHA256+32] }
func (t *table) size() int64      { return le64(t.raw[hdrSize:]) }
func (t *table) newest() int64    { return le64(t.raw[hdrNewest:]) }
func (t *table) describe() string { return t.str(le32(t.raw[hdrDescription:])) }

// nameTable maps a name to positions of packages. The positions of names[k] are
// list[start[k]:start[k+1]].
type nameTable struct {
	names u32s // strings
	start u32s // one more than names
	slots u32s // open addressing: 0 or position in names + 1
	list  u32s
}

// str returns the string at a checked position.
func (t *table) str(id uint32) string {
	return t.text[t.offsets.at(int(id)):t.offsets.at(int(id)+1)]
}

// hashName is FNV-1a; the file depends on it.
func hashName(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// find returns the position of name in n.names.
func (t *table) find(n *nameTable, name string) (int, bool) {
	size := n.slots.len()
	if size == 0 {
		return 0, false
	}
	for i, tries := int(hashName(name))&(size-1), 0; tries < size; i, tries = (i+1)&(size-1), tries+1 {
		k := n.slots.at(i)
		if k == 0 {
			return 0, false
		}
		if t.str(n.names.at(int(k-1))) == name {
			return int(k - 1), true
		}
	}
	return 0, false
}

// positions returns the packages of names[k].
func (n *nameTable) positions(k int) []int {
	from, to := int(n.start.at(k)), int(n.start.at(k+1))
	out := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		out = append(out, int(n.list.at(i)))
	}
	return out
}

// pkg decodes one package. Its strings lie in the table's memory.
func (t *table) pkg(i int) *apk.Package {
	r := t.records[i*recordSize : (i+1)*recordSize]
	s := func(field int) string { return t.str(le32(r[field:])) }
	p := &apk.Package{
		Name: s(recName), Version: s(recVersion), Arch: s(recArch), Description: s(recDescription), URL: s(recURL),
		License: s(recLicense), Origin: s(recOrigin), Maintainer: s(recMaintainer), Commit: s(recCommit),
		Size: le64(r[recSize:]), InstalledSize: le64(r[recInstalledSize:]), BuildTime: le64(r[recBuildTime:]),
		ProviderPriority: le64(r[recProviderPriority:]), ReplacesPriority: le64(r[recReplacesPriority:]), Uninstallable: s(recUninstallable),
	}
	copy(p.Checksum[:], r[recChecksum:])
	var b [5]int
	for k := range b {
		b[k] = int(le32(r[recLists+4*k:]))
	}
	deps := t.dependencies(b[0], b[4])
	cut := func(k int) []apk.Dependency {
		if b[k] == b[k+1] {
			return nil
		}
		from, to := b[k]-b[0], b[k+1]-b[0]
		return deps[from:to:to]
	}
	p.Depends, p.Provides, p.InstallIf, p.Replaces = cut(0), cut(1), cut(2), cut(3)
	return p
}

func (t *table) dependencies(from, to int) []apk.Dependency {
	if from == to {
		return nil
	}
	out := make([]apk.Dependency, to-from)
	for k := range out {
		a := t.atoms[int(t.lists.at(from+k))*atomSize:]
		flags := le32(a[8:])
		out[k] = apk.Dependency{Name: t.str(le32(a)), Version: t.str(le32(a[4:])),
			Op: apk.Op(flags), Conflict: flags&atomConflict != 0}
	}
	return out
}

// sealChunk is how much of a file is hashed at a time. Chunks are hashed in
// parallel, which halves the time to open a large index.
const sealChunk = 256 << 10

// seal returns the authenticator of a table's bytes: an HMAC over the digests of
// its chunks. Without a secret it tells damage; with one, forgery too.
func seal(secret, body []byte) []byte {
	chunks := (len(body) + sealChunk - 1) / sealChunk
	digests := make([][sha256.Size]byte, chunks)
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < chunks; i = int(next.Add(1)) - 1 {
			digests[i] = sha256.Sum256(body[i*sealChunk : min((i+1)*sealChunk, len(body))])
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), chunks, 8) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "cairn parsed index of %d bytes\n", len(body))
	for i := range digests {
		m.Write(digests[i][:])
	}
	return m.Sum(nil)
}

// errTable is wrapped by every refusal of a parsed file.
var errTable = errors.New("parsed index")

// openTable checks b, all of it, and takes it over: b must not change after.
func openTable(b, secret []byte) (*table, error) {
	if len(b) < headerSize+sealSize || string(b[:len(tableMagic)]) != tableMagic {
		return nil, fmt.Errorf("%w: not one: %d bytes, found %s", errTable, len(b), sniff(b))
	}
	if v := le32(b[hdrVersion:]); v != FormatVersion {
		return nil, fmt.Errorf("%w: version %d: expected %d", errTable, v, FormatVersion)
	}
	body := b[:len(b)-sealSize]
	if !hmac.Equal(seal(secret, body), b[len(body):]) {
		return nil, fmt.Errorf("%w: seal does not fit: damaged, or sealed with another secret", errTable)
	}
	return newTable(b, body)
}

// newTable lays out and checks the sections without looking at the seal.
func newTable(raw, body []byte) (*table, error) {
	t := &table{raw: raw}
	for i, f := range t.counts.fields() {
		*f = le32(body[hdrCounts+4*i:])
	}
	if err := t.layOut(body); err != nil {
		return nil, err
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", errTable, err)
	}
	return t, nil
}

// layOut cuts body into its sections.
func (t *table) layOut(body []byte) error {
	c := t.counts
	rest, ok := body[headerSize:], true
	take := func(n, size uint32) []byte {
		want := uint64(n) * uint64(size)
		if want > uint64(len(rest)) {
			ok = false
			return nil
		}
		out := rest[:want:want]
		rest = rest[want:]
		return out
	}
	takeNames := func(names, slots, list uint32) nameTable {
		if names == math.MaxUint32 {
			ok = false
		}
		return nameTable{take(names, 4), take(names+1, 4), take(slots, 4), take(list, 4)}
	}
	t.records = take(c.packages, recordSize)
	t.lists = take(c.lists, 4)
	t.atoms = take(c.atoms, atomSize)
	t.names = takeNames(c.names, c.nameSlots, c.providers)
	t.conds = takeNames(c.conditions, c.conditionSlots, c.installs)
	if c.strings == 0 || c.strings == math.MaxUint32 {
		ok = false
	}
	t.offsets = take(c.strings+1, 4)
	text := take(c.stringBytes, 1)
	if !ok || len(rest) != 0 {
		return fmt.Errorf("%w: sections do not fill the file", errTable)
	}
	t.text = unsafe.String(unsafe.SliceData(text), len(text)) // raw never changes
	return nil
}

// check makes every position in the file point into the file.
func (t *table) check() error {
	c := t.counts
	if !ascending(t.offsets, c.stringBytes) {
		return errors.New("strings out of range")
	}
	for r := t.records; len(r) > 0; r = r[recordSize:] {
		for f := 0; f < recLists; f += 4 {
			if le32(r[f:]) >= c.strings {
				return errors.New("package record: string out of range")
			}
		}
		last := uint32(0)
		for k := range 5 {
			n := le32(r[recLists+4*k:])
			if n < last || n > c.lists {
				return errors.New("package record: list out of range")
			}
			last = n
		}
	}
	for a := t.atoms; len(a) > 0; a = a[atomSize:] {
		if le32(a) >= c.strings || le32(a[4:]) >= c.strings {
			return errors.New("dependency out of range")
		}
	}
	if !below(t.lists, c.atoms) || le32(t.raw[hdrDescription:]) >= c.strings {
		return errors.New("list out of range")
	}
	if !t.names.valid(c) || !t.conds.valid(c) {
		return errors.New("name table out of range")
	}
	return nil
}

func (n *nameTable) valid(c counts) bool {
	slots := n.slots.len()
	return slots&(slots-1) == 0 &&
		below(n.names, c.strings) && below(n.list, c.packages) &&
		below(n.slots, uint32(n.names.len())+1) &&
		ascending(n.start, uint32(n.list.len()))
}

// below reports whether every number is less than limit.
func below(u u32s, limit uint32) bool {
	if len(u) == 0 {
		return true
	}
	var a, b uint32
	for ; len(u) >= 8; u = u[8:] {
		a, b = max(a, le32(u)), max(b, le32(u[4:]))
	}
	if len(u) >= 4 {
		a = max(a, le32(u))
	}
	return max(a, b) < limit
}

// ascending reports whether the numbers go from 0 to end and never fall.
func ascending(u u32s, end uint32) bool {
	if len(u) == 0 || u.at(0) != 0 {
		return len(u) == 0 && end == 0
	}
	last, ok := uint32(0), true
	for ; len(u) >= 4; u = u[4:] {
		n := le32(u)
		ok = ok && n >= last
		last = n
	}
	return ok && last == end
}
