package repository

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cairn-dev/cairn/packages/apk"
)

// builder collects packages and writes a table. Strings and dependencies are
// kept once.
type builder struct {
	ids     map[string]uint32
	texts   []string
	size    uint64 // of all texts
	atomIDs map[atom]uint32
	atoms   []atom

	records []byte
	lists   []uint32
	names   pairs
	conds   pairs
	newest  int64
	count   int
}

type atom struct{ name, version, flags uint32 }

// pairs is a relation of names and packages, in ascending order of packages.
type pairs struct {
	name, pkg []uint32
	last      []uint32 // string → package + 1 that it was last paired with
}

func newBuilder() *builder {
	b := &builder{ids: map[string]uint32{}, atomIDs: map[atom]uint32{}}
	b.intern("")
	return b
}

func (b *builder) intern(s string) uint32 {
	if id, ok := b.ids[s]; ok {
		return id
	}
	id := uint32(len(b.texts))
	b.ids[s] = id
	b.texts = append(b.texts, s)
	b.size += uint64(len(s))
	return id
}

func (p *pairs) add(name uint32, pkg int) {
	for int(name) >= len(p.last) {
		p.last = append(p.last, make([]uint32, 1+int(name)-len(p.last))...)
	}
	if p.last[name] == uint32(pkg)+1 {
		return
	}
	p.last[name] = uint32(pkg) + 1
	p.name = append(p.name, name)
	p.pkg = append(p.pkg, uint32(pkg))
}

// add appends one package. Repository tags of dependencies mean nothing in an
// index (apk-world(5) has them only there) and are dropped.
func (b *builder) add(p *apk.Package) {
	le := binary.LittleEndian
	for _, s := range [...]string{p.Name, p.Version, p.Arch, p.Description, p.URL, p.License, p.Origin, p.Maintainer, p.Commit, p.Uninstallable} {
		b.records = le.AppendUint32(b.records, b.intern(s))
	}
	for _, list := range [...][]apk.Dependency{p.Depends, p.Provides, p.InstallIf, p.Replaces} {
		b.records = le.AppendUint32(b.records, uint32(len(b.lists)))
		b.list(list)
	}
	b.records = le.AppendUint32(b.records, uint32(len(b.lists)))
	for _, n := range [...]int64{p.Size, p.InstalledSize, p.BuildTime, p.ProviderPriority, p.ReplacesPriority} {
		b.records = le.AppendUint64(b.records, uint64(n))
	}
	b.records = append(b.records, p.Checksum[:]...)
	b.relate(p)
	b.newest = max(b.newest, p.BuildTime)
	b.count++
}

func (b *builder) list(list []apk.Dependency) {
	for _, d := range list {
		a := atom{b.intern(d.Name), b.intern(d.Version), uint32(d.Op)}
		if d.Conflict {
			a.flags |= atomConflict
		}
		id, ok := b.atomIDs[a]
		if !ok {
			id = uint32(len(b.atoms))
			b.atomIDs[a] = id
			b.atoms = append(b.atoms, a)
		}
		b.lists = append(b.lists, id)
	}
}

func (b *builder) relate(p *apk.Package) {
	b.names.add(b.intern(p.Name), b.count)
	for _, d := range p.Provides {
		if !d.Conflict {
			b.names.add(b.intern(d.Name), b.count)
		}
	}
	for _, d := range p.InstallIf {
		b.conds.add(b.intern(d.Name), b.count)
	}
}

// finish returns the table's bytes, sealed.
func (b *builder) finish(source [32]byte, size int64, description string, secret []byte) ([]byte, error) {
	desc := b.intern(description)
	if b.size > math.MaxUint32 || len(b.lists) > math.MaxUint32-1 {
		return nil, fmt.Errorf("index: more than 4 GiB of text: %w", ErrLimit)
	}
	names, conds := b.names.group(b.texts), b.conds.group(b.texts)
	c := counts{
		packages: uint32(b.count), lists: uint32(len(b.lists)), atoms: uint32(len(b.atoms)),
		names: uint32(len(names.names)), nameSlots: uint32(len(names.slots)), providers: uint32(len(names.list)),
		conditions: uint32(len(conds.names)), conditionSlots: uint32(len(conds.slots)), installs: uint32(len(conds.list)),
		strings: uint32(len(b.texts)), stringBytes: uint32(b.size),
	}
	out := make([]byte, headerSize, b.encodedSize(c))
	copy(out, tableMagic)
	le := binary.LittleEndian
	le.PutUint32(out[hdrVersion:], FormatVersion)
	copy(out[hdrSHA256:], source[:])
	le.PutUint64(out[hdrSize:], uint64(size))
	le.PutUint64(out[hdrNewest:], uint64(b.newest))
	le.PutUint32(out[hdrDescription:], desc)
	for i, f := range c.fields() {
		le.PutUint32(out[hdrCounts+4*i:], *f)
	}
	out = b.sections(out, names, conds)
	return append(out, seal(secret, out)...), nil
}

// encodedSize avoids growing the output, most of which is known in advance.
func (b *builder) encodedSize(c counts) int {
	words := len(b.lists) + 3*len(b.atoms) + len(b.texts) + 2
	for _, n := range []uint32{c.names, c.names, c.nameSlots, c.providers, c.conditions, c.conditions, c.conditionSlots, c.installs} {
		words += int(n) + 1
	}
	return headerSize + len(b.records) + 4*words + int(b.size) + sealSize
}

func (b *builder) sections(out []byte, names, conds grouped) []byte {
	out = append(out, b.records...)
	out = append32(out, b.lists)
	for _, a := range b.atoms {
		out = append32(out, []uint32{a.name, a.version, a.flags})
	}
	for _, g := range []grouped{names, conds} {
		for _, u := range [][]uint32{g.names, g.start, g.slots, g.list} {
			out = append32(out, u)
		}
	}
	offset := uint32(0)
	for _, s := range b.texts {
		out = binary.LittleEndian.AppendUint32(out, offset)
		offset += uint32(len(s))
	}
	out = binary.LittleEndian.AppendUint32(out, offset)
	for _, s := range b.texts {
		out = append(out, s...)
	}
	return out
}

func append32(out []byte, u []uint32) []byte {
	for _, n := range u {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	return out
}

// grouped is a nameTable before it is written.
type grouped struct{ names, start, slots, list []uint32 }

// group turns pairs into lists per name, names in the order of their first
// appearance in the index, and hashes them.
func (p *pairs) group(texts []string) grouped {
	position := make([]uint32, len(p.last)) // string → position in names + 1
	var g grouped
	var sizes []uint32
	for _, name := range p.name {
		if position[name] == 0 {
			g.names = append(g.names, name)
			sizes = append(sizes, 0)
			position[name] = uint32(len(g.names))
		}
		sizes[position[name]-1]++
	}
	g.start = make([]uint32, len(g.names)+1)
	for k, n := range sizes {
		g.start[k+1] = g.start[k] + n
	}
	next := append([]uint32(nil), g.start...)
	g.list = make([]uint32, len(p.name))
	for i, name := range p.name {
		k := position[name] - 1
		g.list[next[k]] = p.pkg[i]
		next[k]++
	}
	g.slots = hashSlots(g.names, texts)
	return g
}

func hashSlots(names []uint32, texts []string) []uint32 {
	if len(names) == 0 {
		return nil
	}
	size := 1
	for 3*size < 4*len(names) { // at most three of four slots taken
		size *= 2
	}
	slots := make([]uint32, size)
	for k, name := range names {
		i := int(hashName(texts[name])) & (size - 1)
		for slots[i] != 0 {
			i = (i + 1) & (size - 1)
		}
		slots[i] = uint32(k + 1)
	}
	return slots
}
