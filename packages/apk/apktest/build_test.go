package apktest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// member is one gzip member as the standard library reads it.
type member struct{ raw, tar []byte }

func members(t *testing.T, b []byte) []member {
	t.Helper()
	var out []member
	r := bufio.NewReader(bytes.NewReader(b))
	for rest := len(b); rest > 0; {
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		body, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		left, _ := io.ReadAll(r)
		out = append(out, member{b[len(b)-rest : len(b)-len(left)], body})
		rest = len(left)
		r = bufio.NewReader(bytes.NewReader(left))
	}
	return out
}

func headers(t *testing.T, b []byte) []*tar.Header {
	t.Helper()
	var out []*tar.Header
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
}

func names(hs []*tar.Header) (out []string) {
	for _, h := range hs {
		out = append(out, h.Name)
	}
	return out
}

func sample() Spec {
	return Spec{
		Package: apk.Package{Name: "hello", Version: "1.0-r0", Arch: "x86_64", BuildTime: 7,
			Depends: []apk.Dependency{{Name: "so:libc.so", Op: apk.OpGreaterEqual, Version: "2"}}},
		Files: []File{
			{Path: "usr/bin/hello", Mode: 0o4755, Content: "#!/bin/sh\n", Xattrs: map[string]string{"user.a": "b"}},
			{Path: "usr/bin/hi", Type: apk.TypeSymlink, Link: "hello"},
			{Path: "usr/bin/hard", Type: apk.TypeHardlink, Link: "usr/bin/hello"},
			{Path: "dev/null", Type: apk.TypeChar, Dev: [2]int64{1, 3}, UID: 5, GID: 6},
		},
		Scripts: map[string]string{"post-install": "#!/bin/sh\nexit 0\n", ".trigger": "x"},
		Parents: true,
		Sign:    NewKey("test.rsa.pub"),
	}
}

func TestBuildMakesThreeMembers(t *testing.T) {
	raw, p := BuildEntry(sample())
	if !bytes.Equal(raw, Build(sample())) {
		t.Error("two builds differ")
	}
	ms := members(t, raw)
	if len(ms) != 3 {
		t.Fatalf("%d members, want 3", len(ms))
	}
	if sum := sha1.Sum(ms[1].raw); sum != [20]byte(p.Checksum) {
		t.Errorf("control checksum %x, entry says %s", sum, p.Checksum.Hex())
	}
	if sum := sha256.Sum256(ms[2].raw); sum != [32]byte(p.DataHash) {
		t.Errorf("data hash %x, entry says %s", sum, p.DataHash.Hex())
	}
	if p.Size != int64(len(raw)) || p.InstalledSize != 10 {
		t.Errorf("size %d, installed %d", p.Size, p.InstalledSize)
	}
	var got []string
	for _, m := range ms {
		got = append(got, strings.Join(names(headers(t, m.tar)), " "))
	}
	want := []string{".SIGN.RSA256.test.rsa.pub", ".PKGINFO .post-install .trigger",
		"usr usr/bin usr/bin/hello usr/bin/hi usr/bin/hard dev dev/null"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i, end := range []bool{false, false, true} {
		if got := bytes.HasSuffix(ms[i].tar, make([]byte, 1024)); got != end {
			t.Errorf("member %d: end of archive %v, want %v", i, got, end)
		}
	}
	if !bytes.Contains(ms[1].tar, []byte("\ndatahash = "+p.DataHash.Hex()+"\n")) {
		t.Error("no datahash in .PKGINFO")
	}
}

func TestBuildHeaders(t *testing.T) {
	hs := headers(t, members(t, Build(sample()))[2].tar)
	sum := func(s string) string { h := sha1.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	if h := hs[2]; h.Mode != 0o4755 || h.PAXRecords["APK-TOOLS.checksum.SHA1"] != sum("#!/bin/sh\n") || h.PAXRecords["SCHILY.xattr.user.a"] != "b" {
		t.Errorf("file: %+v", h)
	}
	if h := hs[3]; h.Linkname != "hello" || h.Mode != 0o777 || h.PAXRecords["APK-TOOLS.checksum.SHA1"] != sum("hello") {
		t.Errorf("symlink: %+v", h)
	}
	if h := hs[4]; h.Typeflag != tar.TypeLink || h.Linkname != "usr/bin/hello" || h.PAXRecords["APK-TOOLS.checksum.SHA1"] != "" {
		t.Errorf("hard link: %+v", h)
	}
	if h := hs[6]; h.Typeflag != tar.TypeChar || h.Devmajor != 1 || h.Devminor != 3 || h.Uid != 5 || h.Gid != 6 {
		t.Errorf("device: %+v", h)
	}
}

func TestBuildKnobs(t *testing.T) {
	well := members(t, Build(sample()))
	change := func(f func(*Spec)) []member {
		s := sample()
		f(&s)
		return members(t, Build(s))
	}
	dataHash := "datahash = "
	for name, check := range map[string]func() bool{
		"unsigned": func() bool { return len(change(func(s *Spec) { s.Sign = nil })) == 2 },
		"wrong data hash": func() bool {
			m := change(func(s *Spec) { s.WrongDataHash = true })
			return !bytes.Equal(m[1].tar, well[1].tar) && bytes.Equal(m[2].raw, well[2].raw)
		},
		"no data hash": func() bool {
			return !strings.Contains(string(change(func(s *Spec) { s.NoDataHash = true })[1].tar), dataHash)
		},
		"no end of archive": func() bool {
			m := change(func(s *Spec) { s.NoEndOfArchive = true })
			return len(m[2].tar) == len(well[2].tar)-1024
		},
		"20 zero blocks": func() bool {
			m := change(func(s *Spec) { s.TrailingZeroBlocks = 20 })
			return len(m[2].tar) == len(well[2].tar)+18*512
		},
		"no checksums": func() bool {
			m := change(func(s *Spec) { s.OmitChecksums = true })
			return !bytes.Contains(m[2].tar, []byte("APK-TOOLS"))
		},
		"wrong checksums": func() bool {
			m := change(func(s *Spec) { s.WrongChecksums = true })
			return len(m[2].tar) == len(well[2].tar) && !bytes.Equal(m[2].tar, well[2].tar)
		},
		"wrong signature": func() bool {
			m := change(func(s *Spec) { s.WrongSignature = true })
			return !bytes.Equal(m[0].tar, well[0].tar) && bytes.Equal(m[1].raw, well[1].raw)
		},
		"two signatures": func() bool {
			m := change(func(s *Spec) { s.ExtraSignatures = []Key{*NewKey("other.rsa.pub")} })
			return len(headers(t, m[0].tar)) == 2
		},
		"end of control": func() bool {
			m := change(func(s *Spec) { s.EndOfControl = true })
			return len(m[1].tar) == len(well[1].tar)+1024
		},
		"raw tar":      func() bool { return string(change(func(s *Spec) { s.RawTar = []byte("x") })[2].tar) == "x" },
		"extra member": func() bool { return len(change(func(s *Spec) { s.ExtraMembers = [][]byte{{1}, {2}} })) == 5 },
		"raw pkginfo":  func() bool { return bytes.Contains(change(func(s *Spec) { s.RawPkgInfo = "hm" })[1].tar, []byte("hm")) },
		"dir slash":    func() bool { return headers(t, change(func(s *Spec) { s.DirSlash = true })[2].tar)[0].Name == "usr/" },
		"truncated":    func() bool { s := sample(); s.TruncateAt = 99; return len(Build(s)) == 99 },
		"raw data":     func() bool { s := sample(); s.RawData = []byte("zz"); return bytes.HasSuffix(Build(s), []byte("zz")) },
		"raw control":  func() bool { s := sample(); s.RawControl = []byte("cc"); return bytes.Contains(Build(s), []byte("cc")) },
		"other algorithm": func() bool {
			m := change(func(s *Spec) { s.Algorithm = "RSA512" })
			return headers(t, m[0].tar)[0].Name == ".SIGN.RSA512.test.rsa.pub"
		},
	} {
		if !check() {
			t.Errorf("%s: not so", name)
		}
	}
}

func TestKeyIsAFunctionOfItsName(t *testing.T) {
	a, again, b := NewKey("a.rsa.pub"), deriveKey("a.rsa.pub"), NewKey("b.rsa.pub")
	if !a.Private.Equal(again) {
		t.Error("the same name gave two keys")
	}
	if a.Public().Equal(b.Public()) {
		t.Error("two names gave one key")
	}
	block, _ := pem.Decode(a.PublicPEM())
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil || !a.Public().Equal(pub) {
		t.Errorf("public PEM: %v", err)
	}
	block, _ = pem.Decode(a.PrivatePEM())
	priv, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil || !a.Private.Equal(priv) {
		t.Errorf("private PEM: %v", err)
	}
}

func TestRepositoryWrite(t *testing.T) {
	dir := t.TempDir()
	r := Repository{Key: NewKey("test.rsa.pub"), Description: "v1", SignAll: true, Packages: []Spec{
		{Package: apk.Package{Name: "a", Version: "1-r0"}}, {Package: apk.Package{Name: "b", Version: "2-r0"}}}}
	entries := r.Write(t, dir)
	for _, p := range entries {
		st, err := os.Stat(filepath.Join(dir, "x86_64", p.Filename()))
		if err != nil || st.Size() != p.Size {
			t.Errorf("%s: %v", p.Filename(), err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "x86_64/APKINDEX.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	ms := members(t, raw)
	if got := names(append(headers(t, ms[0].tar), headers(t, ms[1].tar)...)); !cmp.Equal(got, []string{".SIGN.RSA256.test.rsa.pub", "DESCRIPTION", "APKINDEX"}) {
		t.Errorf("members: %v", got)
	}
	sum := sha256.Sum256(ms[1].raw)
	if err := rsa.VerifyPKCS1v15(r.Key.Public(), crypto.SHA256, sum[:], ms[0].tar[512:512+256]); err != nil {
		t.Errorf("index signature: %v", err)
	}
	if !strings.Contains(string(ms[1].tar), "\nP:a\nV:1-r0\nA:x86_64\nS:") {
		t.Errorf("index text: %q", ms[1].tar)
	}
}
