package proof

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/baseimage"
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

// FuzzForgedBase gives a base image any list of files, which the lock then has too.
// Planning from it must end, and once the layers are read no other list than the
// true one may pass.
func FuzzForgedBase(f *testing.F) {
	w := newWorld(f)
	digest := w.onBase()
	honest := w.forger("")
	list, keys := honest.kit.Bases[0].Image.Files(), w.pinned()
	f.Add(list)
	f.Add(otherRoot(list))
	f.Fuzz(func(t *testing.T, forged []byte) {
		own := *honest
		own.t, own.blobs, own.referrers, own.read = t, maps.Clone(honest.blobs), nil, map[v1.Hash]int64{}
		k, l, own2 := *honest.kit, *honest.kit.Lock, *honest.kit.Lock.Cairn
		own2.Request.Base = slices.Clone(own2.Request.Base)
		l.Cairn, k.Lock = &own2, &l
		k.Bases, k.Settings.Bases = slices.Clone(k.Bases), slices.Clone(k.Settings.Bases)
		own.kit = &k
		if own.ofBase(func(p *baseimage.Pieces) { p.Files = forged }) != nil {
			return
		}
		own2.Request.Base[0].Files = k.Bases[0].Image.FilesDigest()
		report, err := Prove(t.Context(), own.seal(), Options{Keys: keys, Bases: []v1.Hash{digest}, Full: true, Fetch: w.fetch})
		if err != nil {
			t.Error(err)
		} else if (report.Verdict == Proved) != bytes.Equal(forged, list) {
			t.Errorf("verdict %q: %v", report.Verdict, report.Problems)
		}
	})
}
