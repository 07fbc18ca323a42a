package apk_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func spec() apktest.Spec {
	return apktest.Spec{
		Package: apk.Package{Name: "hello", Version: "1-r0", Arch: "x86_64"},
		Files:   []apktest.File{{Path: "a", Content: strings.Repeat("content ", 1000)}},
		Scripts: map[string]string{"post-install": "#!/bin/sh\n", "trigger": "#!/bin/sh\nexit 1\n"},
	}
}

func readHead(b []byte) (*apk.Head, []byte, error) {
	r := bufio.NewReader(bytes.NewReader(b))
	h, err := apk.ReadHead(r, apk.Limits{})
	if err != nil {
		return nil, nil, err
	}
	rest, err := io.ReadAll(r)
	return h, rest, err
}

func TestReadHead(t *testing.T) {
	one, two := apktest.NewKey("one.rsa.pub"), apktest.NewKey("two.rsa.pub")
	for name, change := range map[string]func(*apktest.Spec){
		"unsigned":       func(*apktest.Spec) {},
		"signed":         func(s *apktest.Spec) { s.Sign = one },
		"signed twice":   func(s *apktest.Spec) { s.Sign, s.ExtraSignatures = one, []apktest.Key{*two} },
		"end of control": func(s *apktest.Spec) { s.Sign, s.EndOfControl = one, true },
		"no datahash":    func(s *apktest.Spec) { s.NoDataHash = true },
		"empty data":     func(s *apktest.Spec) { s.RawData = []byte{} },
	} {
		s := spec()
		change(&s)
		raw, p := apktest.BuildEntry(s)
		h, rest, err := readHead(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(append(append(bytes.Clone(h.Signature), h.Control...), rest...), raw) || h.DataOffset() != int64(len(raw)-len(rest)) {
			t.Errorf("%s: the sections are not the file", name)
		}
		if h.ControlSHA1 != p.Checksum || h.Package.Checksum != p.Checksum || h.ControlSHA1 != apk.SHA1(sha1.Sum(h.Control)) {
			t.Errorf("%s: control checksum %s, want %s", name, h.ControlSHA1, p.Checksum)
		}
		if (len(h.Signature) > 0) != (s.Sign != nil) || s.Sign != nil && h.SignatureName != "one.rsa.pub" || len(h.Signatures) > 0 && len(h.Signatures) != 1+len(s.ExtraSignatures) {
			t.Errorf("%s: signature %d bytes by %q, %d", name, len(h.Signature), h.SignatureName, len(h.Signatures))
		}
		if string(h.Files[".post-install"]) != "#!/bin/sh\n" || len(h.Files) != 3 || h.Package.ID() != "hello-1-r0" {
			t.Errorf("%s: files %v, package %s", name, h.Files, h.Package.ID())
		}
	}
}

// A package that was signed by two tools has two signature members.
func TestReadHeadSeveralSignatureMembers(t *testing.T) {
	s := spec()
	s.Sign = apktest.NewKey("one.rsa.pub")
	first := apktest.Build(s)
	s.Sign = apktest.NewKey("two.rsa.pub")
	h1, _, _ := readHead(apktest.Build(s))
	both := append(bytes.Clone(h1.Signature), first...)
	h, rest, err := readHead(both)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, sig := range h.Signatures {
		names = append(names, sig.KeyName)
		if err := sig.Verify(apktest.NewKey(sig.KeyName).Public(), h.Control); err != nil {
			t.Error(err)
		}
	}
	if d := cmp.Diff([]string{"two.rsa.pub", "one.rsa.pub"}, names); d != "" || int(h.DataOffset())+len(rest) != len(both) {
		t.Error(d)
	}
	many := bytes.Repeat(h1.Signature, 9)
	if _, _, err := readHead(append(many, first...)); err == nil || err.Error() != "package: more than 8 signature members: not an apk v2 file" {
		t.Errorf("nine members: %v", err)
	}
}

// Whatever the reader's chunks are, no byte of the data section is taken.
func TestReadHeadNeverReadsOn(t *testing.T) {
	s := spec()
	s.Sign = apktest.NewKey("one.rsa.pub")
	raw := apktest.Build(s)
	for name, src := range map[string]io.Reader{
		"bytes": iotest.OneByteReader(bytes.NewReader(raw)), "halves": iotest.HalfReader(bytes.NewReader(raw)), "EOF with data": iotest.DataErrReader(bytes.NewReader(raw)),
	} {
		r := bufio.NewReaderSize(src, 16)
		h, err := apk.ReadHead(r, apk.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(rest, raw[h.DataOffset():]) {
			t.Errorf("%s: %d bytes left, want %d; %v", name, len(rest), len(raw)-int(h.DataOffset()), err)
		}
	}
}

// controlOf returns a package whose control tar holds the given files.
func controlOf(files ...apktest.File) []byte {
	s := spec()
	s.RawControl = apktest.Gzip(apktest.CutTar(files))
	return apktest.Build(s)
}

func TestReadHeadErrors(t *testing.T) {
	info := apktest.File{Path: ".PKGINFO", Content: "pkgname = a\npkgver = 1\n"}
	raw := apktest.Build(spec())
	link := spec()
	_, link.RawControl, _ = readHead(apktest.Build(apktest.Spec{Package: link.Package,
		Files: []apktest.File{{Path: ".PKGINFO", Type: apk.TypeSymlink, Link: "/etc/passwd"}}}))
	badSum := bytes.Clone(raw)
	head, _, _ := readHead(raw)
	badSum[len(head.Control)-6] ^= 1
	flipped := bytes.Clone(raw)
	flipped[20] ^= 0xff
	for name, c := range map[string]struct {
		raw  []byte
		want string
		is   error
	}{
		"empty":            {nil, "package is empty: not an apk v2 file", apk.ErrNotPackage},
		"two bytes":        {raw[:2], "package of 2 bytes: unexpected EOF", io.ErrUnexpectedEOF},
		"html":             {[]byte("<html>"), "package starts with 3c 68 74, expected gzip (1f 8b): not an apk v2 file", apk.ErrNotPackage},
		"version 3":        {[]byte("ADBd\x00\x01"), `package starts with "ADB": apk v3 is not supported`, apk.ErrVersion3},
		"cut in header":    {raw[:5], "package at offset 0: gzip member is cut short: unexpected EOF", io.ErrUnexpectedEOF},
		"cut in control":   {raw[:100], "package at offset 0: gzip member is cut short: unexpected EOF", io.ErrUnexpectedEOF},
		"cut in trailer":   {raw[:head.DataOffset()-1], "package at offset 0: gzip member is cut short: unexpected EOF", io.ErrUnexpectedEOF},
		"wrong crc":        {badSum, "package at offset 0: gzip member: gzip: invalid checksum (not an apk v2 file)", apk.ErrNotPackage},
		"flipped byte":     {flipped, "", apk.ErrNotPackage},
		"no .PKGINFO":      {controlOf(apktest.File{Path: ".post-install", Content: "x"}), "control section has no .PKGINFO: not an apk v2 file", apk.ErrNotPackage},
		"empty control":    {controlOf(), "control section has no .PKGINFO: not an apk v2 file", apk.ErrNotPackage},
		"not a tar":        {append(apktest.Gzip([]byte(strings.Repeat("junk", 256))), raw...), "package at offset 0: tar: archive/tar: invalid tar header (not an apk v2 file)", apk.ErrNotPackage},
		"half a tar":       {append(apktest.Gzip(apktest.CutTar([]apktest.File{info})[:700]), raw...), "package at offset 0: tar of 700 bytes, expected a multiple of 512: not an apk v2 file", apk.ErrNotPackage},
		"no content":       {append(apktest.Gzip(apktest.CutTar([]apktest.File{info})[:512]), raw...), `package at offset 0: tar: ".PKGINFO": unexpected EOF`, io.ErrUnexpectedEOF},
		"data in control":  {controlOf(info, apktest.File{Path: "usr/bin/x"}), `package at offset 0: control section: "usr/bin/x": expected a name that begins with a dot and has no slash: not an apk v2 file`, apk.ErrNotPackage},
		"escape":           {controlOf(info, apktest.File{Path: ".."}), `package at offset 0: control section: "..": expected a name that begins with a dot and has no slash: not an apk v2 file`, apk.ErrNotPackage},
		"directory escape": {controlOf(info, apktest.File{Path: "../.x"}), `package at offset 0: control section: "../.x": expected a name that begins with a dot and has no slash: not an apk v2 file`, apk.ErrNotPackage},
		"twice":            {controlOf(info, info), `control section: ".PKGINFO" stands twice: not an apk v2 file`, apk.ErrNotPackage},
		"late signature":   {controlOf(info, apktest.File{Path: ".SIGN.RSA.x"}), `control section: signature file ".SIGN.RSA.x": not an apk v2 file`, apk.ErrNotPackage},
		"nameless key":     {controlOf(apktest.File{Path: ".SIGN.RSA."}), `signature file ".SIGN.RSA.": expected .SIGN.ALGORITHM.KEYNAME: not an apk v2 file`, apk.ErrNotPackage},
		"symlink":          {apktest.Build(link), `package at offset 0: control section: ".PKGINFO" is of type '2', expected a regular file: not an apk v2 file`, apk.ErrNotPackage},
		"bad .PKGINFO":     {controlOf(apktest.File{Path: ".PKGINFO", Content: "pkgname = a\n"}), ".PKGINFO: no pkgver", apk.ErrPkgInfo},
	} {
		_, _, err := readHead(c.raw)
		if err == nil || c.want != "" && err.Error() != c.want || !errors.Is(err, c.is) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
	var many []apktest.File
	for i := range 300 {
		many = append(many, apktest.File{Path: "." + strings.Repeat("x", 1+i%90) + string(rune('a'+i/90))})
	}
	if _, _, err := readHead(controlOf(many...)); err == nil || !strings.Contains(err.Error(), "more than 256 files in the control section") {
		t.Errorf("300 files: %v", err)
	}
}

func TestReadHeadLimits(t *testing.T) {
	s := spec()
	s.Scripts["post-install"] = strings.Repeat("\x00", 1<<20)
	raw := apktest.Build(s)
	h, _, err := readHead(raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		l    apk.Limits
		want string
	}{
		"inflated":   {apk.Limits{ControlInflated: 1 << 20}, "package at offset 0: section inflates to more than 1048576 bytes: too large"},
		"compressed": {apk.Limits{ControlCompressed: int64(len(h.Control)) - 1}, "too large"},
		"none":       {apk.Limits{ControlCompressed: -1, ControlInflated: -1}, ""},
		"exact":      {apk.Limits{ControlCompressed: int64(len(h.Control)), ControlInflated: 1<<20 + 4096}, ""},
	} {
		_, err := apk.ReadHead(bufio.NewReader(bytes.NewReader(raw)), c.l)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, apk.ErrTooLarge) || !strings.HasSuffix(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadHeadPassesErrorsOn(t *testing.T) {
	broken := errors.New("connection reset")
	raw := apktest.Build(spec())
	for _, n := range []int64{0, 2, 50} {
		_, err := apk.ReadHead(bufio.NewReader(io.MultiReader(bytes.NewReader(raw[:n]), iotest.ErrReader(broken))), apk.Limits{})
		if !errors.Is(err, broken) || errors.Is(err, apk.ErrTooLarge) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// Every single flipped byte of the control section changes its checksum or is
// an error: nothing of it is ignored.
func TestReadHeadEveryByteCounts(t *testing.T) {
	s := spec()
	s.Sign = apktest.NewKey("one.rsa.pub")
	raw := apktest.Build(s)
	good, _, err := readHead(raw)
	if err != nil {
		t.Fatal(err)
	}
	pub := s.Sign.Public()
	for i := range good.DataOffset() {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x01
		h, _, err := readHead(bad)
		if err != nil {
			continue
		}
		inSignature := i < int64(len(good.Signature))
		if _, err := apk.VerifySignature(pub, h.Signature, h.Control); err == nil && !inSignature || h.ControlSHA1 == good.ControlSHA1 && !inSignature {
			t.Errorf("byte %d: not noticed", i)
		}
	}
}

func FuzzReadHead(f *testing.F) {
	s := spec()
	f.Add(apktest.Build(s))
	s.Sign, s.EndOfControl = apktest.NewKey("one.rsa.pub"), true
	f.Add(apktest.Build(s))
	f.Add([]byte("ADBd"))
	f.Add(controlOf(apktest.File{Path: ".PKGINFO", Content: "pkgname = a\npkgver = 1\n"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rest, err := readHead(b)
		if err != nil {
			return
		}
		if !bytes.Equal(append(append(bytes.Clone(h.Signature), h.Control...), rest...), b) {
			t.Error("the sections are not the file")
		}
		for name := range h.Files {
			if strings.Contains(name, "/") || name == ".." {
				t.Errorf("unsafe name %q", name)
			}
		}
	})
}
