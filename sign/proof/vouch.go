package proof

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// voucher says who vouches for a package's control section, and so for the
// SHA-256 of the data section that stands in it.
type voucher struct {
	text    string // "control section signed by KEY"
	problem string // why nobody does
}

// vouch finds out for every package of the kit who vouches for it.
func (p *prover) vouch() {
	pinned := len(p.options.Keys) > 0
	ring := repository.NewKeyring(p.kit.Keys...)
	if pinned {
		ring = repository.NewKeyring()
		for _, k := range p.options.Keys {
			k.AnyName = true // it is the key that was chosen, not its name
			ring.Add(k)
		}
	}
	v := &vouching{ring: ring, pinned: pinned, used: map[apk.SHA256]*Key{}}
	indexes := v.indexes(p.kit)
	p.vouched = map[packageKey]voucher{}
	for i := range p.kit.Packages {
		pkg := &p.kit.Packages[i]
		p.vouched[packageKey{pkg.Arch, pkg.Receipt.Package.Checksum}] = v.voucherOf(pkg, indexes)
	}
	for _, k := range v.used {
		p.report.Keys = append(p.report.Keys, *k)
	}
	slices.SortFunc(p.report.Keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), bytes.Compare(a.Fingerprint[:], b.Fingerprint[:]))
	})
}

// voucher is that of a package of an architecture. One that is not known has none.
func (p *prover) voucher(arch string, r *store.Receipt) voucher {
	v, ok := p.vouched[packageKey{arch, r.Package.Checksum}]
	if !ok {
		return voucher{problem: "not in the kit"}
	}
	return v
}

type vouching struct {
	ring   *repository.Keyring
	pinned bool
	used   map[apk.SHA256]*Key
}

// index is one of the kit's, with what its signature is worth.
type index struct {
	kit.Index
	parsed *repository.Index // nil when it counts for nothing
	err    error
}

func (v *vouching) indexes(k *kit.Kit) []index {
	var out []index
	for _, ix := range k.Indexes {
		i := index{Index: ix}
		i.parsed, i.err = repository.ReadIndex(bytes.NewReader(ix.Raw), repository.ReadOptions{Keyring: v.ring})
		if i.err == nil {
			v.use(i.parsed.SignedBy.Name, i.parsed.SignedBy.Fingerprint).Indexes++
		}
		out = append(out, i)
	}
	return out
}

func (v *vouching) use(name string, fingerprint apk.SHA256) *Key {
	k := v.used[fingerprint]
	if k == nil {
		for _, known := range v.ring.Keys() {
			if known.Fingerprint == fingerprint {
				name = cmp.Or(known.Name, name)
			}
		}
		k = &Key{Name: name, Fingerprint: fingerprint, Pinned: v.pinned}
		v.used[fingerprint] = k
	}
	return k
}

// voucherOf prefers a package's own signature over an index.
func (v *vouching) voucherOf(pkg *kit.Package, indexes []index) voucher {
	r := pkg.Receipt
	if r.Package.DataHash.IsZero() {
		return voucher{problem: "its control section names no hash of the data section"}
	}
	if a := r.Package.Arch; a != "" && a != pkg.Arch && a != "noarch" {
		return voucher{problem: fmt.Sprintf("it is for %.20q, the image for %s", a, pkg.Arch)}
	}
	if key, ok := kit.SignedBy(pkg, v.ring); ok {
		k := v.use(key.Name, key.Fingerprint)
		k.Packages++
		return voucher{text: "control section signed by " + k.Name}
	}
	why := "not signed"
	if r.SignatureKey != "" {
		why = "signed by " + r.SignatureKey + ", which is no allowed key"
	}
	var reasons []error
	for i := range indexes {
		ix := &indexes[i]
		if ix.Arch != pkg.Arch {
			continue
		}
		if ix.err != nil {
			reasons = append(reasons, fmt.Errorf("%s: %w", ix.URL, ix.err))
			continue
		}
		if lists(ix.parsed, &r.Package) {
			k := v.use(ix.parsed.SignedBy.Name, ix.parsed.SignedBy.Fingerprint)
			return voucher{text: "control section listed in " + ix.URL + ", signed by " + k.Name}
		}
	}
	problem := "its control section is " + why + ", and no index signed by an allowed key lists it"
	if err := errors.Join(reasons...); err != nil {
		problem += ": " + err.Error()
	}
	return voucher{problem: problem}
}

// lists tells whether an index has exactly this package: the checksum is that of
// the control section.
func lists(ix *repository.Index, p *apk.Package) bool {
	for _, i := range ix.Providers(p.Name) {
		got := ix.Package(i)
		if got.Name == p.Name && got.Version == p.Version && got.Checksum == p.Checksum && (got.Size == 0 || got.Size == p.Size) {
			return true
		}
	}
	return false
}
