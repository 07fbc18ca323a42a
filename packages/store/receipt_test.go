package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/cairn-dev/cairn/packages/apk"
)

// full is a receipt with every field set, apart from what the control section
// says.
func full() *Receipt {
	return &Receipt{
		Signature: []byte("signature"), Control: []byte("control"), SignatureKey: "k.rsa.pub",
		FileSHA256: apk.SHA256{1}, DataSize: 1000, DataHash: apk.SHA256{2}, DiffID: apk.SHA256{3}, InflatedSize: 5000, TarEnd: 4096,
		Verbatim: "device node dev/null",
		Contents: map[string][]byte{"etc/passwd": []byte("root"), "etc/group": {}},
		Entries: []apk.Entry{
			{Path: "dev", Type: apk.TypeDir, Mode: 0o755, DataOffset: 512},
			{Path: "dev/null", Type: apk.TypeChar, Mode: 0o666, DevMajor: 1, DevMinor: 3, HeaderOffset: 512, DataOffset: 1024},
			{Path: "bin/x", Type: apk.TypeFile, Mode: 0o4755, UID: 1000, GID: 1<<32 - 2, Uname: "u", Gname: "g", Size: 600, MTime: -5,
				SHA256: apk.SHA256{4}, SHA1: apk.SHA1{5}, Xattrs: map[string]string{"user.b": "2", "user.a": "\x00\xff"},
				HeaderOffset: 1536, DataOffset: 3072,
				ELF: &apk.ELF{Class: 2, Data: 1, Type: 3, Machine: 62, Flags: 0xdeadbeef, OSABI: 3, SONAME: "libx.so.1", Interp: "/lib/ld.so",
					Needed: []string{"libc.so.6", "libm.so"}, RunPath: []string{"$ORIGIN", "", "/usr/lib"}}},
			{Path: "bin/y", Type: apk.TypeHardlink, Link: "bin/x", HeaderOffset: 4096, DataOffset: 4608},
			{Path: "bin/\xffz", Type: apk.TypeSymlink, Link: "../x", MTime: 1 << 40, SHA1: apk.SHA1{6}, HeaderOffset: 5000, DataOffset: 5512},
		},
	}
}

func TestReceiptRoundTrip(t *testing.T) {
	for _, r := range []*Receipt{full(), {}} {
		enc := appendReceipt(nil, r)
		got, err := parseReceipt(enc, string(enc))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, got, cmp.AllowUnexported(Receipt{}), cmp.Transformer("empty", func(e []apk.Entry) []apk.Entry {
			if len(e) == 0 {
				return nil
			}
			return slices.Clone(e)
		})); d != "" {
			t.Errorf("(-put +got):\n%s", d)
		}
		if again := appendReceipt(nil, got); !bytes.Equal(enc, again) {
			t.Error("encoding a decoded receipt gives other bytes")
		}
		if r.Digest() != sha256.Sum256(enc) {
			t.Error("the digest is not that of the encoding")
		}
	}
}

// The digest is written into locks: it must not move by accident. When it has
// to, ReceiptFormat goes up.
func TestReceiptEncodingIsFrozen(t *testing.T) {
	const want = "81ad0f06cef3cc874ef0e5ccbf60f7152ff9c5bb7465baeb8c1f5cc781c62bd2"
	if got := full().Digest().Hex(); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestReceiptDecodeErrors(t *testing.T) {
	entry := func(b []byte) []byte {
		m := appendUint(appendUint(nil, fieldFormat, 1), fieldEntryCount, 1)
		return protowire.AppendBytes(protowire.AppendTag(m, fieldEntry, protowire.BytesType), b)
	}
	for _, c := range []struct {
		name string
		m    []byte
		want string
	}{
		{"empty", nil, "receipt: format 0, this version reads 1"},
		{"newer format", appendUint(nil, fieldFormat, 2), "receipt: format 2, this version reads 1"},
		{"unknown field", appendUint(appendUint(nil, fieldFormat, 1), 99, 1), "not a receipt: field 99"},
		{"wire type", protowire.AppendFixed32(protowire.AppendTag(nil, 1, protowire.Fixed32Type), 1), "not a receipt: field 1 has wire type 5"},
		{"group", []byte{0x0b}, "not a receipt: field 1 has wire type 3"},
		{"cut short", appendReceipt(nil, full())[:20], "not a receipt: field 3: unexpected EOF"},
		{"sha256 length", appendBytes(nil, fieldDiffID, []byte("short")), "not a receipt: sha256 of 5 bytes"},
		{"size out of range", appendUint(nil, fieldDataSize, 1<<63), "not a receipt: integer out of range"},
		{"entry count", appendUint(appendUint(nil, fieldFormat, 1), fieldEntryCount, 1<<62), "not a receipt: 0 entries, expected 4611686018427387904"},
		{"content field", protowire.AppendBytes(protowire.AppendTag(nil, fieldContent, protowire.BytesType), appendUint(nil, 3, 1)), "not a receipt: pair field 3"},
		{"entry field", entry(appendUint(nil, 77, 1)), "not a receipt: entry field 77 is 1"},
		{"entry text field", entry(appendString(nil, 77, "x")), "not a receipt: entry field 77"},
		{"entry type", entry(appendUint(nil, entryType, 300)), "not a receipt: entry field 2 is 300"},
		{"entry mode", entry(appendUint(nil, entryMode, 0o10000)), "not a receipt: entry field 3 is 4096"},
		{"entry wire type", entry([]byte{0x0d}), "not a receipt: entry field 1 has wire type 5"},
		{"entry sha1", entry(appendBytes(nil, entrySHA1, []byte{1})), "not a receipt: sha1 of 1 bytes"},
		{"entry offset", entry(appendUint(nil, entryHeaderOffset, 1<<62)), `not a receipt: entry "": offset out of range`},
		{"entry cut short", entry([]byte{0x0a, 9, 'x'}), "not a receipt: entry field 1: unexpected EOF"},
		{"elf field", entry(protowire.AppendBytes(protowire.AppendTag(nil, entryELF, protowire.BytesType), appendUint(nil, 9, 1))), "not a receipt: elf field 9"},
	} {
		_, err := parseReceipt(c.m, string(c.m))
		t.Run(c.name, func(t *testing.T) { wantError(t, err, nil, c.want) })
	}
}

func TestDecodeReceiptChecksTheName(t *testing.T) {
	st := openTemp(t)
	r, _ := ingest(t, st, sample("a"))
	enc := appendReceipt(nil, r)
	sum := sha256.Sum256(enc)
	good := append(enc, sum[:]...)
	name := r.Package.Checksum.Hex()
	if _, err := decodeReceipt(good, name); err != nil {
		t.Fatal(err)
	}
	if _, err := decodeReceipt(good, variantName(r.Package.Checksum, r.FileSHA256)); err != nil {
		t.Error(err)
	}
	_, err := decodeReceipt(good, apk.SHA1{1}.Hex())
	wantError(t, err, nil, "it is that of a-1.0-r0 with control section "+name)
	_, err = decodeReceipt(good, name+".0123456789abcdef")
	wantError(t, err, nil, "it is that of a-1.0-r0 with control section "+name)
	_, err = decodeReceipt(good[:10], name)
	wantError(t, err, errReceipt, "not a receipt: 10 bytes")

	forged := *r
	forged.DataHash[0] ^= 1
	enc = appendReceipt(nil, &forged)
	sum = sha256.Sum256(enc)
	_, err = decodeReceipt(append(enc, sum[:]...), name)
	wantError(t, err, nil, "data section "+forged.DataHash.Hex()+", .PKGINFO says "+r.DataHash.Hex())

	forged = *r
	forged.Control = append(bytes.Clone(r.Control), r.Control...)
	enc = appendReceipt(nil, &forged)
	sum = sha256.Sum256(enc)
	_, err = decodeReceipt(append(enc, sum[:]...), name)
	wantError(t, err, errReceipt, "not a receipt: bytes behind the control section")
}

func TestIgnored(t *testing.T) {
	for p, want := range map[string]bool{
		".dummy": true, ".PKGINFO": true, "etc/.keep_x": true, "usr/share/.keep_dir-1": true,
		"etc/.keep_": false, "etc/.keep": false, "root/.profile": false, "etc/passwd": false, ".keep_x/y": true,
	} {
		if got := Ignored(p); got != want {
			t.Errorf("Ignored(%q) = %v", p, got)
		}
	}
}

func TestMemberEnd(t *testing.T) {
	for size, want := range map[int64]int64{0: 1024, 1: 1536, 512: 1536, 513: 2048} {
		if got := MemberEnd(&apk.Entry{Type: apk.TypeFile, Size: size, DataOffset: 1024}); got != want {
			t.Errorf("file of %d bytes ends at %d, want %d", size, got, want)
		}
	}
	if got := MemberEnd(&apk.Entry{Type: apk.TypeDir, DataOffset: 512}); got != 512 {
		t.Errorf("directory ends at %d", got)
	}
}

func TestContentWanted(t *testing.T) {
	for _, c := range []struct {
		path string
		size int64
		want bool
	}{
		{"etc/passwd", 100, true}, {"etc/shadow", 100, true}, {"etc/group", 0, true}, {"etc/os-release", 9, true},
		{"etc/ld.so.conf", 9, true}, {"etc/ld.so.conf.d/x.conf", 9, true}, {"etc/busybox-paths.d/busybox", 9, true},
		{"etc/nsswitch.conf", 9, true}, {"etc/apk/keys/k.rsa.pub", 9, true}, {"lib/apk/db/installed", 9, true},
		{"usr/lib/os-release", 9, true}, {"usr/local/share/ca-certificates/a.crt", 9, true},
		{"var/lib/db/sbom/a-1.spdx.json", 16 << 20, true},
		{"var/lib/db/sbom/a-1.spdx.json", 16<<20 + 1, false}, {"var/lib/db/sbom/x/a.json", 9, false}, {"var/lib/db/sbom/a.txt", 9, false},
		{"etc/passwd", 2 << 20, false}, {"etc/passwd-", 9, false}, {"etc/ssl/certs/ca-certificates.crt", 200_000, false},
		{"usr/bin/x", 9, false}, {"passwd", 9, false}, {"opt/etc/passwd", 9, false},
	} {
		if got := ContentWanted(c.path, c.size); got != c.want {
			t.Errorf("ContentWanted(%q, %d) = %v", c.path, c.size, got)
		}
	}
}

// Any flipped byte in an encoded receipt is noticed, or gives another receipt
// with another digest; decoding never panics.
func TestReceiptFlips(t *testing.T) {
	enc := appendReceipt(nil, full())
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		b := bytes.Clone(enc)
		b[rnd.IntN(len(b))] ^= byte(1 + rnd.IntN(255))
		if _, err := parseReceipt(b, string(b)); err != nil && errors.Is(err, errReceipt) && err.Error() == "" {
			t.Fatal("no text")
		}
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add(appendReceipt(nil, full()))
	f.Add(appendReceipt(nil, &Receipt{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReceipt(b, string(b))
		if err != nil {
			return
		}
		enc := appendReceipt(nil, r)
		again, err := parseReceipt(enc, string(enc))
		if err != nil {
			t.Fatalf("encoded again: %v", err)
		}
		if !bytes.Equal(enc, appendReceipt(nil, again)) {
			t.Fatal("the encoding is not stable")
		}
	})
}
