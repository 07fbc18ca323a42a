package proof

import (
	"maps"
	"slices"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// FuzzForgedReceipt changes an entry of a receipt in any way that receipts can
// carry, and makes the lock fit. Planning from it must end, and once the packages
// are read no other receipt than the true one may pass.
func FuzzForgedReceipt(f *testing.F) {
	w := newWorld(f)
	honest := w.forger("")
	base := honest.pkg("base").Receipt
	keys := w.pinned()
	for field := range uint8(14) {
		f.Add(uint8(field%5), field, int64(7), "etc/x")
	}
	f.Fuzz(func(t *testing.T, entry, field uint8, n int64, text string) {
		r, err := store.ParseReceipt(base.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		forge(&r.Entries[int(entry)%len(r.Entries)], field, n, text)
		if r, err = store.ParseReceipt(r.Marshal()); err != nil {
			return
		}
		own := *honest
		own.t, own.blobs, own.referrers = t, maps.Clone(honest.blobs), nil
		k, l, own2 := *honest.kit, *honest.kit.Lock, *honest.kit.Lock.Cairn
		l.Contents.Packages = nil
		for _, p := range honest.kit.Lock.Contents.Packages {
			extra := *p.Cairn
			p.Cairn = &extra
			l.Contents.Packages = append(l.Contents.Packages, p)
		}
		l.Cairn, k.Lock, k.Packages = &own2, &l, slices.Clone(k.Packages)
		own.kit = &k
		own.receipt("base", r)
		report, err := Prove(t.Context(), own.seal(), Options{Keys: keys, Full: true, Fetch: w.fetch})
		if err != nil {
			t.Error(err)
		} else if (report.Verdict == Proved) != (r.Digest() == base.Digest()) {
			t.Errorf("verdict %q: %v", report.Verdict, report.Problems)
		}
	})
}

func forge(e *apk.Entry, field uint8, n int64, text string) {
	switch field % 14 {
	case 0:
		e.Path = text
	case 1:
		e.Type = apk.EntryType(n)
	case 2:
		e.Mode = uint32(n) & 0o7777
	case 3:
		e.UID = int(n)
	case 4:
		e.GID = int(n)
	case 5:
		e.Uname = text
	case 6:
		e.Size = n
	case 7:
		e.MTime = n
	case 8:
		e.Link = text
	case 9:
		e.Xattrs = map[string]string{text: text}
	case 10:
		e.HeaderOffset += n
	case 11:
		e.DataOffset += n
	case 12:
		e.Type, e.Link, e.Size = apk.TypeSymlink, text, 0
	case 13:
		e.Type, e.Size, e.Path = apk.TypeDir, 0, text
	}
}
