package repository

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func read(b []byte, keys ...Key) (*Index, error) {
	return ReadIndex(bytes.NewReader(b), ReadOptions{Keyring: NewKeyring(keys...)})
}

// member is a gzip member of a tar of the given files.
func member(files ...apktest.File) []byte { return apktest.Gzip(apktest.CutTar(files)) }

// content is the unsigned part of an index.
func content(text string) []byte {
	return apktest.Gzip(append(apktest.CutTar([]apktest.File{{Path: "DESCRIPTION", Content: "v1\n"}, {Path: "APKINDEX", Content: text}}), make([]byte, 1024)...))
}

const oneEntry = "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:a\nV:1-r0\n\n"

func signatureFile(algorithm, key string, signed []byte) apktest.File {
	return apktest.File{Path: ".SIGN." + algorithm + "." + key, Content: string(apktest.NewKey(key).Sign(algorithm, signed))}
}

func TestReadIndexSignatures(t *testing.T) {
	body := content(oneEntry)
	a, b := "a.rsa.pub", "b.rsa.pub"
	inner := append(member(signatureFile("RSA", a, body)), body...)
	for _, c := range []struct {
		name   string
		raw    []byte
		keys   []string
		signer string
		alg    string
	}{
		{"SHA-1", inner, []string{a}, a, "RSA"},
		{"SHA-256", append(member(signatureFile("RSA256", a, body)), body...), []string{a}, a, "RSA256"},
		{"SHA-512", append(member(signatureFile("RSA512", a, body)), body...), []string{a}, a, "RSA512"},
		{"two signatures, first known", append(member(signatureFile("RSA256", a, body), signatureFile("RSA256", b, body)), body...), []string{a}, a, "RSA256"},
		{"two signatures, second known", append(member(signatureFile("RSA256", a, body), signatureFile("RSA256", b, body)), body...), []string{b}, b, "RSA256"},
		{"first known and wrong, second right", append(member(signatureFile("RSA", a, []byte("x")), signatureFile("RSA256", a, body)), body...), []string{a}, a, "RSA256"},
		{"DSA beside RSA", append(member(apktest.File{Path: ".SIGN.DSA." + a, Content: "?"}, signatureFile("RSA", a, body)), body...), []string{a}, a, "RSA"},
		{"two members, each over the content", append(member(signatureFile("RSA256", b, body)), inner...), []string{b}, b, "RSA256"},
		{"two members, outer over inner", append(member(signatureFile("RSA256", b, inner)), inner...), []string{b}, b, "RSA256"},
		{"two members, inner known", append(member(signatureFile("RSA256", b, inner)), inner...), []string{a}, a, "RSA"},
		{"key known without .rsa.pub", inner, []string{"a"}, a, "RSA"},
	} {
		var keys []Key
		for _, name := range c.keys {
			k := testKey(t, strings.TrimSuffix(name, ".rsa.pub")+".rsa.pub")
			k.Name = name
			keys = append(keys, k)
		}
		ix, err := read(c.raw, keys...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := Signer{Name: c.signer, Algorithm: c.alg, Fingerprint: keys[0].Fingerprint}
		if d := cmp.Diff(want, ix.SignedBy); d != "" || ix.UnsafeUnsigned || ix.Len() != 1 || ix.Description != "v1" || ix.Keyring().Len() != 1 {
			t.Errorf("%s: %+v\n%s", c.name, ix, d)
		}
		if ix.SHA256 != sha256.Sum256(c.raw) || ix.Size != int64(len(c.raw)) {
			t.Errorf("%s: digest %s, size %d", c.name, ix.SHA256, ix.Size)
		}
	}
}

func TestReadIndexRefusesSignatures(t *testing.T) {
	body := content(oneEntry)
	a, b := "a.rsa.pub", "b.rsa.pub"
	signed := append(member(signatureFile("RSA256", a, body)), body...)
	impostor := testKey(t, b)
	impostor.Name = a
	for _, c := range []struct {
		name string
		raw  []byte
		keys []Key
		want string
		is   error
	}{
		{"unsigned", body, []Key{testKey(t, a)}, "index: index is not signed", ErrUnsigned},
		{"no keys", signed, nil, "index: signed by unknown key a.rsa.pub; no key is trusted for this repository\nhint: add the key to contents.keyring if you trust it", nil},
		{"unknown key", signed, []Key{testKey(t, b)}, "index: signed by unknown key a.rsa.pub; trusted here: b.rsa.pub\nhint: add the key to contents.keyring if you trust it", nil},
		{"another key of that name", signed, []Key{impostor}, "index: signature RSA256 by a.rsa.pub does not fit the content: crypto/rsa: verification error (read … bytes, sha256:…)", nil},
		{"other content", append(member(signatureFile("RSA256", a, []byte("x"))), body...), []Key{testKey(t, a)}, "index: signature RSA256 by a.rsa.pub does not fit the content: …", nil},
		{"signed as another algorithm", append(member(apktest.File{Path: ".SIGN.RSA." + a, Content: string(apktest.NewKey(a).Sign("RSA256", body))}), body...), []Key{testKey(t, a)}, "index: signature RSA by a.rsa.pub does not fit the content: …", nil},
		{"only DSA", append(member(apktest.File{Path: ".SIGN.DSA." + a}), body...), []Key{testKey(t, a)}, `index: signed by unknown key a.rsa.pub (unknown algorithm "DSA"); trusted here: a.rsa.pub…`, nil},
		{"something appended", append(bytes.Clone(signed), apktest.Gzip([]byte("x"))...), []Key{testKey(t, a)}, "index: signature RSA256 by a.rsa.pub does not fit the content: …", nil},
		{"empty signature", append(member(apktest.File{Path: ".SIGN.RSA." + a}), body...), []Key{testKey(t, a)}, "index: signature RSA by a.rsa.pub does not fit the content: …", nil},
	} {
		_, err := read(c.raw, c.keys...)
		t.Run(c.name, func(t *testing.T) {
			wantError(t, err, c.want)
			if c.is != nil {
				wantIs(t, err, c.is)
			}
		})
		ix, err := ReadIndex(bytes.NewReader(c.raw), ReadOptions{Keyring: NewKeyring(c.keys...), UnsafeUnsigned: true})
		if c.name == "something appended" {
			continue
		}
		if err != nil || !ix.UnsafeUnsigned || ix.SignedBy != (Signer{}) || ix.Len() != 1 {
			t.Errorf("%s: unsafely: %+v, %v", c.name, ix, err)
		}
	}
	var unknown *UnknownKeyError
	if _, err := read(signed, testKey(t, b)); !errors.As(err, &unknown) || !cmp.Equal(unknown.Found, []string{a}) || !cmp.Equal(unknown.Trusted, []string{b}) {
		t.Errorf("%+v", unknown)
	}
	var wrong *SignatureError
	if _, err := read(signed, impostor); !errors.As(err, &wrong) || wrong.Key != a || wrong.Algorithm != "RSA256" {
		t.Errorf("%+v", wrong)
	}
}

// The option is for indexes that need it: a good signature is still recorded.
func TestUnsafeOptionRecordsGoodSignature(t *testing.T) {
	ix, err := ReadIndex(bytes.NewReader(signedIndex(t)), ReadOptions{Keyring: NewKeyring(testKey(t, "test.rsa.pub")), UnsafeUnsigned: true})
	if err != nil || ix.UnsafeUnsigned || ix.SignedBy.Name != "test.rsa.pub" {
		t.Errorf("%+v, %v", ix, err)
	}
}

func TestReadIndexMalformed(t *testing.T) {
	a := "a.rsa.pub"
	sign := func(body []byte) []byte { return append(member(signatureFile("RSA256", a, body)), body...) }
	tooMany := make([]apktest.File, maxSignatures+1)
	for i := range tooMany {
		tooMany[i] = apktest.File{Path: fmt.Sprintf(".SIGN.RSA.%d", i)}
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"empty", nil, "index: truncated: unexpected EOF (read 0 bytes, sha256:e3b0…)"},
		{"web page", []byte("<!DOCTYPE html><html></html>"), "index: not gzip: found a web page (read 28 bytes, sha256:…)"},
		{"plain text", []byte(oneEntry), "index: not gzip: found a plain APKINDEX (read 45 bytes, sha256:…)"},
		{"APK v3", []byte("ADBd\x00\x00\x00\x00\x00\x00\x00\x00"), "index: not gzip: found an APK v3 (ADB) file, which is not supported (read 12 bytes, sha256:…)"},
		{"zstd", []byte("\x28\xb5\x2f\xfd\x00\x00\x00\x00\x00\x00\x00\x00"), "index: not gzip: found zstd data (read 12 bytes, sha256:…)"},
		{"no tar", apktest.Gzip(bytes.Repeat([]byte("no tar"), 200)), "index: gzip data, but no tar archive in it: expected DESCRIPTION and APKINDEX (read … bytes, sha256:…)"},
		{"no APKINDEX", sign(member(apktest.File{Path: "DESCRIPTION"})), "index: no APKINDEX in the archive (read …"},
		{"two APKINDEX", sign(member(apktest.File{Path: "APKINDEX"}, apktest.File{Path: "./APKINDEX"})), "index: APKINDEX: twice in the archive (read …"},
		{"two DESCRIPTION", sign(member(apktest.File{Path: "DESCRIPTION"}, apktest.File{Path: "DESCRIPTION"})), "index: DESCRIPTION: twice in the archive (read …"},
		{"huge DESCRIPTION", sign(member(apktest.File{Path: "DESCRIPTION", Content: strings.Repeat("x", maxDescription+1)})), "index: DESCRIPTION: size limit exceeded: more than 65536 bytes (read …"},
		{"bad entry", sign(content("P:a\nV:1\nnonsense\n\n")), "index: APKINDEX: …line 3…(read …"},
		{"only signatures", member(signatureFile("RSA256", a, nil)), "index: truncated: unexpected EOF (read …"},
		{"junk after signatures", append(member(signatureFile("RSA256", a, nil)), "junk junk junk"...), `index: not gzip: found "\x1f…`},
		{"another file among signatures", append(member(signatureFile("RSA256", a, nil), apktest.File{Path: "APKINDEX"}), content("")...), `index: signature member: file "APKINDEX": expected .SIGN.RSA256.KEYNAME (read …`},
		{"signature with a path", append(member(apktest.File{Path: ".SIGN.RSA.../../x"}), content("")...), `index: signature member: file ".SIGN.RSA.../../x": expected .SIGN.RSA256.KEYNAME (read …`},
		{"signature without a key", append(member(apktest.File{Path: ".SIGN.RSA."}), content("")...), `index: signature member: file ".SIGN.RSA.": expected .SIGN.RSA256.KEYNAME (read …`},
		{"huge signature", append(member(apktest.File{Path: ".SIGN.RSA.k", Content: strings.Repeat("x", maxSignatureBytes)}), content("")...), "index: signature .SIGN.RSA.k: size limit exceeded: more than 65536 bytes (read …"},
		{"too many signatures", append(member(tooMany...), content("")...), "index: size limit exceeded: more than 16 signature members or 64 signatures (read …"},
		{"too many signature members", append(bytes.Repeat(member(apktest.File{Path: ".SIGN.RSA.k"}), 17), content("")...), "index: size limit exceeded: more than 16 signature members or 64 signatures (read …"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(c.raw, testKey(t, a))
			if c.name == "junk after signatures" {
				wantError(t, err, "index: not gzip: found …(read …")
			} else {
				wantError(t, err, c.want)
			}
			var f *FormatError
			if !errors.As(err, &f) || f.Size != int64(len(c.raw)) || f.SHA256 != sha256.Sum256(c.raw) {
				t.Errorf("%#v", err)
			}
		})
	}
}

func TestReadIndexLimits(t *testing.T) {
	raw := signedIndex(t)
	key := NewKeyring(testKey(t, "test.rsa.pub"))
	_, err := ReadIndex(bytes.NewReader(raw), ReadOptions{Keyring: key, Limits: Limits{Index: int64(len(raw)) - 1}})
	wantError(t, err, fmt.Sprintf("index: size limit exceeded: more than %d bytes", len(raw)-1))
	wantIs(t, err, ErrLimit)
	if _, err := ReadIndex(bytes.NewReader(raw), ReadOptions{Keyring: key, Limits: Limits{Index: int64(len(raw))}}); err != nil {
		t.Error(err)
	}
	// A bomb: a gigabyte of zeros in a megabyte would be read to no end.
	bomb := member(apktest.File{Path: "APKINDEX", Content: strings.Repeat("\n", 8<<20)})
	_, err = ReadIndex(bytes.NewReader(bomb), ReadOptions{UnsafeUnsigned: true, Limits: Limits{IndexInflated: 1 << 20}})
	wantError(t, err, "index: APKINDEX: size limit exceeded: more than 1048576 bytes (read …")
	wantIs(t, err, ErrLimit)
	if _, err := ReadIndex(bytes.NewReader(bomb), ReadOptions{UnsafeUnsigned: true, Limits: Limits{IndexInflated: -1}}); err != nil {
		t.Error(err)
	}
}

func TestRealDamagedIndexes(t *testing.T) {
	for _, name := range []string{"truncated-dmfigol.tar.gz", "truncated-jamkar20.tar.gz"} {
		t.Run(name, func(t *testing.T) {
			raw := mustRead(t, testdata(t, "corrupt", name))
			sum := sha256.Sum256(raw)
			_, err := ReadIndex(bytes.NewReader(raw), ReadOptions{UnsafeUnsigned: true})
			var f *FormatError
			if !errors.As(err, &f) || f.SHA256 != sum || f.Size != int64(len(raw)) {
				t.Fatalf("error %v", err)
			}
			wantIs(t, err, io.ErrUnexpectedEOF)
			wantError(t, err, fmt.Sprintf("index: …truncated: unexpected EOF (read %d bytes, sha256:%x)", len(raw), sum))
		})
	}
}

// Any flipped byte of a signed index is refused: in the signature, in gzip's
// header, in the content.
func TestFlippedBytesAreRefused(t *testing.T) {
	raw, keys := realIndexes[0].open(t)
	step := len(raw) / 200
	for i := 0; i < len(raw); i += step {
		flipped := bytes.Clone(raw)
		flipped[i] ^= 1 << (i % 8)
		ix, err := ReadIndex(bytes.NewReader(flipped), ReadOptions{Keyring: keys})
		if err == nil && !sameContent(ix, raw, flipped) {
			t.Fatalf("byte %d: accepted", i)
		}
	}
}

// sameContent reports whether the flip was in the first member's gzip header
// or tar padding, which no signature covers and nothing depends on.
func sameContent(ix *Index, raw, flipped []byte) bool {
	_, at, err := splitSignatures(raw)
	return err == nil && ix.SHA256 != sha256.Sum256(raw) && bytes.Equal(raw[at:], flipped[at:])
}

func TestTruncatedAnywhereIsRefused(t *testing.T) {
	raw := signedIndex(t)
	for n := range raw {
		if _, err := read(raw[:n], testKey(t, "test.rsa.pub")); err == nil {
			t.Fatalf("%d of %d bytes: accepted", n, len(raw))
		}
	}
}

// One keyring serves all repositories in apko, so that any repository's key can
// sign any other's index (apko.md §3).
func TestApkoDefect_KeysArePerRepository(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		apktest.Repository{Key: apktest.NewKey("a.rsa.pub"), Packages: []apktest.Spec{{Package: apk.Package{Name: "p", Version: "1-r0"}}}}.Write(t, filepath.Join(dir, name))
	}
	c := mustClient(t, Options{CacheDir: t.TempDir()})
	if _, err := c.Load(ctx, Source{URL: dir + "/a", Arch: "x86_64", Keyring: NewKeyring(testKey(t, "a.rsa.pub"))}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Load(ctx, Source{URL: dir + "/b", Arch: "x86_64", Keyring: NewKeyring(testKey(t, "b.rsa.pub"))})
	wantError(t, err, dir+"/b/x86_64/APKINDEX.tar.gz: index: signed by unknown key a.rsa.pub; trusted here: b.rsa.pub…")
}

// apko skips RSA512 signatures as "too big, too slow" (apko.md §3).
func TestApkoDefect_RSA512Counts(t *testing.T) {
	body := content(oneEntry)
	if _, err := read(append(member(signatureFile("RSA512", "a.rsa.pub", body)), body...), testKey(t, "a.rsa.pub")); err != nil {
		t.Error(err)
	}
}
