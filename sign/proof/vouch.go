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
	p.vouched = map[packageKey]voucher{}
	var pending []*kit.Package
	for i := range p.kit.Packages {
		pkg := &p.kit.Packages[i]
		own, done := v.bySignature(pkg)
		p.vouched[packageKey{pkg.Arch, pkg.Receipt.Package.Checksum}] = own
		if !done {
			pending = append(pending, pkg)
		}
	}
	v.byIndexes(p, pending)
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

// bySignature says what is known of a package without an index; done is false when
// one may vouch for it.
func (v *vouching) bySignature(pkg *kit.Package) (_ voucher, done bool) {
	r := pkg.Receipt
	if r.Package.DataHash.IsZero() {
		return voucher{problem: "its control section names no hash of the data section"}, true
	}
	if a := r.Package.Arch; a != "" && a != pkg.Arch && a != "noarch" {
		return voucher{problem: fmt.Sprintf("it is for %.20q, the image for %s", a, pkg.Arch)}, true
	}
	if key, ok := kit.SignedBy(pkg, v.ring); ok {
		k := v.use(key.Name, key.Fingerprint)
		k.Packages++
		return voucher{text: "control section signed by " + k.Name}, true
	}
	why := "not signed"
	if r.SignatureKey != "" {
		why = "signed by " + r.SignatureKey + ", which is no allowed key"
	}
	return voucher{problem: "its control section is " + why + ", and no index signed by an allowed key lists it"}, false
}

// byIndexes asks the kit's indexes for the packages that are pending. One index is
// held at a time: whoever made the kit decides how large they are.
func (v *vouching) byIndexes(p *prover, pending []*kit.Package) {
	reasons := map[string][]error{} // by architecture
	for i := range p.kit.Indexes {
		ix := &p.kit.Indexes[i]
		parsed, err := repository.ReadIndex(bytes.NewReader(ix.Raw), repository.ReadOptions{Keyring: v.ring})
		if err != nil {
			reasons[ix.Arch] = append(reasons[ix.Arch], fmt.Errorf("%s: %w", ix.URL, err))
			continue
		}
		k := v.use(parsed.SignedBy.Name, parsed.SignedBy.Fingerprint)
		k.Indexes++
		pending = slices.DeleteFunc(pending, func(pkg *kit.Package) bool {
			if pkg.Arch != ix.Arch || !lists(parsed, &pkg.Receipt.Package) {
				return false
			}
			p.vouched[packageKey{pkg.Arch, pkg.Receipt.Package.Checksum}] = voucher{text: "control section listed in " + ix.URL + ", signed by " + k.Name}
			return true
		})
	}
	for _, pkg := range pending {
		if err := errors.Join(reasons[pkg.Arch]...); err != nil {
			key := packageKey{pkg.Arch, pkg.Receipt.Package.Checksum}
			p.vouched[key] = voucher{problem: p.vouched[key].problem + ": " + err.Error()}
		}
	}
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
