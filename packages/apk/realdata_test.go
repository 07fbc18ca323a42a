package apk_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// testdata returns a path below the real data, or skips the test.
func testdata(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("CAIRN_TESTDATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	name := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(name); err != nil {
		t.Skipf("real data is not here (set CAIRN_TESTDATA): %v", err)
	}
	return name
}

// realIndex returns the text of an index file.
func realIndex(t testing.TB, elem ...string) []byte {
	t.Helper()
	raw, err := os.ReadFile(testdata(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(raw)
	for r.Len() > 0 {
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		body, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		for tr := tar.NewReader(bytes.NewReader(body)); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Name == "APKINDEX" {
				text, err := io.ReadAll(tr)
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
		}
	}
	t.Fatal("no APKINDEX member")
	return nil
}

var realIndexes = [][]string{
	{"alpine-3.19", "main", "x86_64", "APKINDEX.tar.gz"},
	{"alpine-3.19", "community", "x86_64", "APKINDEX.tar.gz"},
	{"alpine-3.19-boot", "x86_64", "APKINDEX.tar.gz"},
	{"indexes", "merged-95k.APKINDEX.tar.gz"},
}

// Every entry of the real indexes is read without complaint and comes back as
// the same text. No difference is known.
func TestRealIndexesRoundTrip(t *testing.T) {
	for _, elem := range realIndexes {
		t.Run(strings.Join(elem[:len(elem)-1], "/"), func(t *testing.T) {
			text := realIndex(t, elem...)
			n, different, out, entry := 0, 0, 0, []byte(nil)
			err := apk.ParseIndex(bytes.NewReader(text), func(p *apk.Package) error {
				n++
				if p.Uninstallable != "" {
					t.Errorf("%s: %s", p.ID(), p.Uninstallable)
				}
				entry = apk.AppendIndexEntry(entry[:0], p)
				if !bytes.HasPrefix(text[out:], entry) && different < 5 {
					different++
					end := min(out+len(entry)+200, len(text))
					t.Errorf("%s: written text differs (-real +ours):\n%s", p.ID(), cmp.Diff(string(text[out:end]), string(entry)))
				}
				out += bytes.Index(text[out:], []byte("\n\n")) + 2
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d entries, %d bytes", n, len(text))
			if rest := bytes.TrimSpace(text[out:]); n == 0 || len(rest) > 0 {
				t.Errorf("%d entries, not read: %.100q", n, rest)
			}
		})
	}
}

// control checksums of an index, by name and version.
func checksums(t *testing.T, elem ...string) map[string]apk.SHA1 {
	out := map[string]apk.SHA1{}
	err := apk.ParseIndex(bytes.NewReader(realIndex(t, elem...)), func(p *apk.Package) error {
		out[p.ID()] = p.Checksum
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readKeys(t *testing.T, dir string) map[string]*rsa.PublicKey {
	out := map[string]*rsa.PublicKey{}
	names, _ := filepath.Glob(filepath.Join(dir, "*.pub"))
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(raw)
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = key.(*rsa.PublicKey)
	}
	return out
}

// readWhole reads the head of a package and hashes what is left of the file.
func readWhole(t *testing.T, name string) (*apk.Head, apk.SHA256) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	h, err := apk.ReadHead(r, apk.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := f.Stat()
	if h.DataOffset()+n != st.Size() {
		t.Errorf("%s: head %d + data %d bytes, file has %d", name, h.DataOffset(), n, st.Size())
	}
	return h, apk.SHA256(sum.Sum(nil))
}

// Every real Alpine package: the control checksum is the index entry's, the data
// that follows has the hash that .PKGINFO names, Alpine's key signed it.
func TestRealAlpinePackages(t *testing.T) {
	keys := readKeys(t, testdata(t, "alpine-3.19", "keys"))
	for _, repo := range [][]string{{"alpine-3.19", "main", "x86_64"}, {"alpine-3.19", "community", "x86_64"}, {"alpine-3.19-boot", "x86_64"}} {
		dir := testdata(t, repo...)
		sums := checksums(t, append(repo, "APKINDEX.tar.gz")...)
		names, _ := filepath.Glob(filepath.Join(dir, "*.apk"))
		if len(names) == 0 {
			t.Errorf("%s: no packages", dir)
		}
		for _, name := range names {
			h, data := readWhole(t, name)
			if sum, ok := sums[h.Package.ID()]; !ok || sum != h.ControlSHA1 || h.Package.Checksum != sum {
				t.Errorf("%s: control checksum %s, index says %s", name, h.ControlSHA1, sum)
			}
			if data != h.Package.DataHash {
				t.Errorf("%s: data hash %s, .PKGINFO says %s", name, data.Hex(), h.Package.DataHash.Hex())
			}
			key := keys[h.SignatureName]
			if key == nil {
				t.Errorf("%s: no key %q", name, h.SignatureName)
				continue
			}
			if _, err := apk.VerifySignature(key, h.Signature, h.Control); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		t.Logf("%s: %d packages", dir, len(names))
	}
}

// The packages that melange built, two of which carry data that does not match
// their .PKGINFO (they are in corrupt/ too).
func TestRealMelangePackages(t *testing.T) {
	dir := testdata(t, "wolfi-built")
	names, _ := filepath.Glob(filepath.Join(dir, "*.apk"))
	wrong := map[string]bool{"aws-c-s3-0.4.9-r0.apk": true, "neon-4604-r0.apk": true}
	for _, name := range names {
		base := filepath.Base(name)
		h, data := readWhole(t, name)
		if match := data == h.Package.DataHash; match == wrong[base] {
			t.Errorf("%s: data hash matches: %v", base, match)
		}
		if got := h.Package.Filename(); got != base {
			t.Errorf("%s: names itself %s", base, got)
		}
	}
	if len(names) < 10 {
		t.Errorf("only %d packages", len(names))
	}
}

func TestRealVersion3IsRefusedByName(t *testing.T) {
	names, _ := filepath.Glob(filepath.Join(testdata(t, "apk-v3"), "*.apk"))
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = apk.ReadHead(bufio.NewReader(f), apk.Limits{})
		f.Close()
		if want := `package starts with "ADB": apk v3 is not supported`; !errors.Is(err, apk.ErrVersion3) || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(names) == 0 {
		t.Error("no packages")
	}
}

// The truncated indexes: what can be inflated of them must not pass for whole.
func TestRealTruncatedIndexes(t *testing.T) {
	names, _ := filepath.Glob(filepath.Join(testdata(t, "corrupt"), "truncated-*.tar.gz"))
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = apk.ParseIndex(z, func(*apk.Package) error { n++; return nil })
		f.Close()
		if err == nil {
			t.Errorf("%s: %d entries and no error", name, n)
		}
	}
	if len(names) == 0 {
		t.Error("no files")
	}
}

// All versions of the real indexes are valid, and sorting them agrees with
// comparing neighbours and with the order of the lists that apk made.
func TestRealVersions(t *testing.T) {
	seen := map[string]bool{}
	for _, elem := range realIndexes[2:] {
		err := apk.ParseIndex(bytes.NewReader(realIndex(t, elem...)), func(p *apk.Package) error {
			seen[p.Version] = true
			for _, list := range [][]apk.Dependency{p.Depends, p.Provides, p.InstallIf} {
				for _, d := range list {
					if d.Op != apk.OpAny {
						seen[d.Version] = true
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	list := slices.Sorted(maps.Keys(seen))
	slices.SortStableFunc(list, apk.Compare)
	for i, v := range list {
		if !apk.ValidVersion(v) {
			t.Errorf("%q: not valid", v)
		}
		for _, step := range []int{1, 10, 1000} {
			if i >= step && apk.Compare(list[i-step], v) > 0 {
				t.Errorf("%q is sorted before %q", list[i-step], v)
			}
		}
	}
	t.Logf("%d versions", len(list))
	if len(list) < 1000 {
		t.Error("too few versions")
	}
}

// The installed database of real packages comes back from its text.
func TestRealPackagesAsInstalled(t *testing.T) {
	names, _ := filepath.Glob(filepath.Join(testdata(t, "alpine-3.19-boot", "x86_64"), "*.apk"))
	files := 0
	var text []byte
	for _, name := range names {
		p, err := apk.NewInstalledPackage(realEntries(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, d := range p.Dirs {
			files += len(d.Files)
		}
		text = apk.AppendInstalled(text, p)
	}
	list, err := apk.ParseInstalled(bytes.NewReader(text))
	if err != nil || len(list) != len(names) {
		t.Fatalf("%d of %d packages, %v", len(list), len(names), err)
	}
	var again []byte
	for i := range list {
		again = apk.AppendInstalled(again, &list[i])
	}
	if !bytes.Equal(again, text) {
		t.Error("the text differs")
	}
	t.Logf("%d packages, %d files, %d bytes", len(list), files, len(text))
	if files < 1000 {
		t.Error("too few files")
	}
}

// realEntries reads a package's metadata and the members of its data section.
func realEntries(t *testing.T, name string) (*apk.Package, []apk.Entry) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	h, err := apk.ReadHead(r, apk.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	var out []apk.Entry
	types := map[byte]apk.EntryType{tar.TypeReg: apk.TypeFile, tar.TypeDir: apk.TypeDir, tar.TypeSymlink: apk.TypeSymlink, tar.TypeLink: apk.TypeHardlink}
	for tr := tar.NewReader(z); ; {
		th, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return h.Package, out
		}
		if err != nil {
			t.Fatal(err)
		}
		e := apk.Entry{Path: strings.TrimSuffix(th.Name, "/"), Type: types[th.Typeflag], Mode: uint32(th.Mode) & 0o7777, UID: th.Uid, GID: th.Gid, Link: th.Linkname}
		if sum := th.PAXRecords["APK-TOOLS.checksum.SHA1"]; sum != "" {
			if e.SHA1, err = apk.ParseSHA1(sum); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, e)
	}
}
