package kit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// shelf is an artifact in memory.
type shelf struct {
	blobs    map[v1.Hash][]byte
	manifest v1.Hash
	subject  v1.Hash
}

func (s *shelf) put(b []byte) v1.Descriptor {
	sum := sha256.Sum256(b)
	h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	s.blobs[h] = b
	return v1.Descriptor{Digest: h, Size: int64(len(b))}
}

func (s *shelf) Manifest(_ context.Context, h v1.Hash) ([]byte, types.MediaType, error) {
	return s.blobs[h], types.OCIManifestSchema1, nil
}

var errLarge = errors.New("over the limit")

func (s *shelf) Blob(_ context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	if b := s.blobs[d.Digest]; int64(len(b)) <= limit {
		return b, nil
	}
	return nil, errLarge
}

// made is the kit of a small image of two architectures, with an include, an
// inline file and a local one.
func made(t testing.TB) *kit.Kit {
	t.Helper()
	dir := t.TempDir()
	key := apktest.NewKey("key.rsa.pub")
	signed := apktest.Spec{Package: apk.Package{Name: "base", Version: "1-r0"}, Parents: true, Sign: key, Algorithm: "RSA256",
		Files: []apktest.File{{Path: "etc/passwd", Content: "root:x:0:0:root:/root:/bin/sh\n"}}}
	plain := apktest.Spec{Package: apk.Package{Name: "app", Version: "1-r0"}, Parents: true, Files: []apktest.File{{Path: "usr/bin/app", Content: "app"}}}
	for _, arch := range []string{"x86_64", "aarch64"} {
		apktest.Repository{Arch: arch, Key: key, Packages: []apktest.Spec{signed, plain}}.Write(t, filepath.Join(dir, "repo"))
	}
	file := func(name, text string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	file("key.rsa.pub", string(key.PublicPEM()))
	file("local.txt", "local\n")
	file("common.yaml", "contents: {repositories: ["+dir+"/repo], keyring: ["+dir+"/key.rsa.pub]}\n")
	sum := sha256.Sum256([]byte("local\n"))
	cfg, err := config.Load(file("image.yaml", "include: common.yaml\ncontents: {packages: [base, app]}\narchs: [x86_64, aarch64]\nfiles:\n"+
		"  - {path: /etc/inline, content: inline}\n  - {path: /etc/local, source: local.txt, sha256: "+hex.EncodeToString(sum[:])+"}\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Apply(config.Overrides{Annotations: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	r, err := assemble.Build(context.Background(), ws, cfg, assemble.Options{Kit: true, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return r.Kit
}

func store(t testing.TB, k *kit.Kit) *shelf {
	t.Helper()
	a, err := k.Artifact()
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{blobs: map[v1.Hash][]byte{}, manifest: a.Descriptor.Digest, subject: k.Subject.Digest}
	s.put(a.Manifest)
	for _, b := range a.Blobs {
		s.put(b.Bytes)
	}
	return s
}

func TestReadingGivesTheValueBack(t *testing.T) {
	k := made(t)
	s := store(t, k)
	again, err := kit.Read(t.Context(), s, s.manifest, s.subject)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Files) != 3 || again.Files[0].Role != kit.RoleConfig || again.Files[1].Role != kit.RoleInclude || again.Files[2].Role != kit.RoleFile || string(again.Files[2].Bytes) != "local\n" {
		t.Errorf("files %+v", again.Settings.Files)
	}
	if len(again.Keys) != 1 || len(again.Packages) != 4 || len(again.Indexes) != 2 || again.Settings.Cairn != "test" {
		t.Errorf("%d keys, %d packages, %d indexes", len(again.Keys), len(again.Packages), len(again.Indexes))
	}
	if again.Subject.Digest != k.Subject.Digest || again.ConfigDigest() != k.Files[0].SHA256 {
		t.Errorf("subject %s, configuration %s", again.Subject.Digest, again.ConfigDigest())
	}
	if got := store(t, again).manifest; got != s.manifest {
		t.Errorf("written again it is %s, was %s", got, s.manifest)
	}
	cfg, err := again.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Contents.Packages) != 2 || cfg.Annotations["a"] != "b" || len(cfg.Files) != 2 || string(cfg.Files[1].Bytes) != "local\n" {
		t.Errorf("configuration %+v", cfg.ImageConfiguration)
	}
}

// editable is the manifest as anybody could write it.
type editable struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	ArtifactType  string          `json:"artifactType"`
	Config        v1.Descriptor   `json:"config"`
	Layers        []v1.Descriptor `json:"layers"`
	Subject       *v1.Descriptor  `json:"subject,omitempty"`
}

// edit changes the manifest, or the bytes of one part, and makes digests fit.
func (s *shelf) edit(t testing.TB, change func(*editable)) {
	t.Helper()
	var m editable
	if err := json.Unmarshal(s.blobs[s.manifest], &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	b, err := json.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	s.manifest = s.put(b).Digest
}

func (s *shelf) part(t testing.TB, mediaType types.MediaType, change func([]byte) []byte) {
	t.Helper()
	s.edit(t, func(m *editable) {
		i := at(m, mediaType)
		d := s.put(change(bytes.Clone(s.blobs[m.Layers[i].Digest])))
		m.Layers[i].Digest, m.Layers[i].Size = d.Digest, d.Size
	})
}

func at(m *editable, mediaType types.MediaType) int {
	return slices.IndexFunc(m.Layers, func(d v1.Descriptor) bool { return d.MediaType == mediaType })
}

func TestReadRefuses(t *testing.T) {
	k := made(t)
	swap := func(old, now string) func([]byte) []byte {
		return func(b []byte) []byte {
			if !bytes.Contains(b, []byte(old)) {
				t.Errorf("%q does not stand in the part", old)
			}
			return bytes.Replace(b, []byte(old), []byte(now), 1)
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for _, c := range []struct {
		name   string
		change func(*shelf)
		want   string
	}{
		{"no manifest", func(s *shelf) { s.manifest = s.put([]byte("hello")).Digest }, "manifest: invalid character 'h'"},
		{"other artifact", func(s *shelf) { s.edit(t, func(m *editable) { m.ArtifactType = "a/b" }) }, `artifact type "a/b", expected "application/vnd.cairn.kit.v1+json"`},
		{"other manifest", func(s *shelf) { s.edit(t, func(m *editable) { m.MediaType = "a/b" }) },
			`manifest of media type "a/b" with a configuration of "application/vnd.oci.empty.v1+json", expected "application/vnd.oci.image.manifest.v1+json" and "application/vnd.oci.empty.v1+json"`},
		{"other configuration", func(s *shelf) { s.edit(t, func(m *editable) { m.Config.MediaType = "a/b" }) }, `with a configuration of "a/b"`},
		{"other schema", func(s *shelf) { s.edit(t, func(m *editable) { m.SchemaVersion = 1 }) }, `manifest of media type`},
		{"no subject", func(s *shelf) { s.edit(t, func(m *editable) { m.Subject = nil }) }, "manifest without a subject"},
		{"other subject", func(s *shelf) { s.edit(t, func(m *editable) { m.Subject.Digest.Hex = strings.Repeat("0", 64) }) }, "it is of image sha256:000"},
		{"part left out", func(s *shelf) { s.edit(t, func(m *editable) { m.Layers = m.Layers[1:] }) }, `no part of media type "application/vnd.cairn.kit.settings.v1+json"`},
		{"part twice", func(s *shelf) { s.edit(t, func(m *editable) { m.Layers = append(m.Layers, m.Layers[0]) }) }, `two parts of media type "application/vnd.cairn.kit.settings.v1+json"`},
		{"unknown part", func(s *shelf) { s.edit(t, func(m *editable) { m.Layers[0].MediaType = "a/b" }) }, `part of media type "a/b", which this version does not know`},
		{"huge part", func(s *shelf) { s.edit(t, func(m *editable) { m.Layers[0].Size = 1 << 40 }) }, `of 1099511627776 bytes, expected at most 4194304`},
		{"many parts", func(s *shelf) {
			s.edit(t, func(m *editable) { m.Layers = slices.Repeat(m.Layers[len(m.Layers)-1:], 65) })
		}, "65 parts, expected at most 64"},
		{"parts huge together", func(s *shelf) {
			s.edit(t, func(m *editable) {
				for range 5 {
					d := m.Layers[len(m.Layers)-1]
					d.Size = 250 << 20
					m.Layers = append(m.Layers, d)
				}
			})
		}, "parts of more than 1073741824 bytes together"},
		{"settings that are none", func(s *shelf) { s.part(t, kit.TypeSettings, half) }, "settings: unexpected EOF"},
		{"settings with a field", func(s *shelf) { s.part(t, kit.TypeSettings, swap(`{"format"`, `{"x":1,"format"`)) }, `settings: json: unknown field "x"`},
		{"settings with more behind", func(s *shelf) { s.part(t, kit.TypeSettings, func(b []byte) []byte { return append(b, '{') }) }, "settings: text behind the JSON value"},
		{"settings of a newer format", func(s *shelf) { s.part(t, kit.TypeSettings, swap(`"format":1`, `"format":2`)) }, "format 2, this version reads up to 1: use a newer cairn"},
		{"settings that name another file", func(s *shelf) { s.part(t, kit.TypeSettings, swap(`"role":"include"`, `"role":"config"`)) }, `common.yaml": found as "config", expected the configuration first and once`},
		{"settings without an architecture", func(s *shelf) {
			s.part(t, kit.TypeSettings, swap(`"architectures":["x86_64","aarch64"]`, `"architectures":["x86_64"]`))
		}, "4 receipts and 4 control sections for 2 packages"},
		{"thousands of architectures", func(s *shelf) {
			s.part(t, kit.TypeSettings, swap(`"architectures":["x86_64",`, `"architectures":["x86_64",`+strings.Repeat(`"x",`, 1000)))
		}, "settings: 1002 architectures, expected at most 16"},
		{"base image in the settings only", func(s *shelf) {
			s.part(t, kit.TypeSettings, swap(`"files":[`, `"bases":[{"arch":"x86_64","digest":"sha256:`+strings.Repeat("0", 64)+`"}],"files":[`))
		}, "base images: "},
		{"lock altered", func(s *shelf) { s.part(t, kit.TypeLock, swap(`"name": "base"`, `"name": "bass"`)) }, "invalid lock: altered since it was written"},
		{"file altered", func(s *shelf) { s.part(t, kit.TypeFiles, swap("local\n", "evil!\n")) }, `local.txt": content has sha256 `},
		{"files cut short", func(s *shelf) { s.part(t, kit.TypeFiles, func(b []byte) []byte { return b[:700] }) }, "cut short: unexpected EOF"},
		{"files that are sparse", func(s *shelf) {
			s.part(t, kit.TypeFiles, func([]byte) []byte { return sparse(1 << 40) })
		}, "files: larger than 268435456 bytes"},
		{"many files that are sparse", func(s *shelf) {
			s.part(t, kit.TypeFiles, func([]byte) []byte { return bytes.Repeat(sparse(200 << 20)[:2048], 3) })
		}, "files: "},
		{"no files", func(s *shelf) { s.part(t, kit.TypeFiles, func([]byte) []byte { return nil }) }, `image.yaml": missing`},
		{"key of another fingerprint", func(s *shelf) { s.part(t, kit.TypeKeys, renamed("0000/key.rsa.pub")) }, "key key.rsa.pub: fingerprint is "},
		{"key that is none", func(s *shelf) { s.part(t, kit.TypeKeys, swap("BEGIN PUBLIC", "BEGIN PUBLIX")) }, "key key.rsa.pub: not PEM"},
		{"control section altered", func(s *shelf) { s.part(t, kit.TypeHeads, func(b []byte) []byte { b[600] ^= 1; return b }) }, "signature and control section differ from those in the receipt"},
		{"control sections cut short", func(s *shelf) { s.part(t, kit.TypeHeads, half) }, "cut short: unexpected EOF"},
		{"receipts that are no gzip", func(s *shelf) { s.part(t, kit.TypeReceipts, func([]byte) []byte { return []byte("hello, world") }) }, "receipts: gzip: invalid header"},
		{"receipts cut short", func(s *shelf) { s.part(t, kit.TypeReceipts, half) }, "cut short: unexpected EOF"},
		{"no receipts", func(s *shelf) { s.part(t, kit.TypeReceipts, func([]byte) []byte { return zipped(nil) }) }, "0 receipts and 4 control sections for 4 packages"},
		{"receipt altered", func(s *shelf) {
			s.part(t, kit.TypeReceipts, func(b []byte) []byte {
				return zipped(bytes.Replace(unzipped(t, b), []byte("etc/passwd"), []byte("etc/shadow"), 2))
			})
		}, "package base-1-r0 (x86_64): receipt"},
		{"receipts that are a bomb", func(s *shelf) {
			s.part(t, kit.TypeReceipts, func(b []byte) []byte { return zipped(make([]byte, 1<<20)) })
		}, "0 receipts and 4 control sections for 4 packages"},
		{"index altered", func(s *shelf) { s.part(t, kit.TypeIndex, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }) }, "is not in the lock"},
		{"index of another repository", func(s *shelf) {
			s.edit(t, func(m *editable) {
				m.Layers[at(m, kit.TypeIndex)].Annotations[kit.AnnotationIndexURL] = "https://evil.example/"
			})
		}, `index "https://evil.example/" ("aarch64"): sha256:`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := store(t, k)
			c.change(s)
			_, err := kit.Read(t.Context(), s, s.manifest, s.subject)
			if !errors.Is(err, kit.ErrInvalid) {
				t.Fatalf("error %v, expected ErrInvalid", err)
			}
			if !strings.HasPrefix(err.Error(), "kit sha256:"+s.manifest.Hex+": invalid kit: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nexpected %s", err, c.want)
			}
		})
	}
}

// sparse is a tar with one file of n bytes, none of which are stored (GNU tar's
// format 1.0 for PAX archives).
func sparse(n int64) []byte {
	const records = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
	name := "GNU.sparse.name=a\n"
	size := fmt.Sprintf("GNU.sparse.realsize=%d\n", n)
	pax := records + record(name) + record(size)
	var out bytes.Buffer
	out.Write(block("x", 'x', int64(len(pax))))
	out.WriteString(pax + strings.Repeat("\x00", 512-len(pax)))
	out.Write(block("a", '0', 512))
	text := "0\n"
	out.WriteString(text + strings.Repeat("\x00", 512-len(text)))
	out.Write(make([]byte, 1024))
	return out.Bytes()
}

// record is a PAX record of a text with its own length in front.
func record(text string) string {
	for n := len(text); ; n++ {
		if s := fmt.Sprintf("%d %s", n, text); len(s) == n {
			return s
		}
	}
}

func block(name string, flag byte, size int64) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x0000000000000\x00", size))
	b[156] = flag
	copy(b[257:], "ustar\x0000")
	return renamed(name)(b)
}

// renamed gives the first member of a tar another name.
func renamed(name string) func([]byte) []byte {
	return func(b []byte) []byte {
		copy(b[:100], make([]byte, 100))
		copy(b, name)
		copy(b[148:156], "        ")
		sum := 0
		for _, c := range b[:512] {
			sum += int(c)
		}
		copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
		return b
	}
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func unzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReadersErrorsArePassedOn(t *testing.T) {
	s := store(t, made(t))
	s.edit(t, func(m *editable) {
		d := s.put(make([]byte, 5<<20)) // more than its descriptor says
		m.Layers[0].Digest = d.Digest
	})
	if _, err := kit.Read(t.Context(), s, s.manifest, s.subject); !errors.Is(err, errLarge) || errors.Is(err, kit.ErrInvalid) {
		t.Errorf("error %v, expected the reader's", err)
	}
}

// FuzzRead gives one part of a kit after the other any content.
func FuzzRead(f *testing.F) {
	k := made(f)
	whole := store(f, k)
	var m editable
	if err := json.Unmarshal(whole.blobs[whole.manifest], &m); err != nil {
		f.Fatal(err)
	}
	for i, d := range m.Layers {
		f.Add(uint8(i), whole.blobs[d.Digest])
	}
	f.Add(uint8(255), whole.blobs[whole.manifest])
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		s := store(t, k)
		if int(which) < len(m.Layers) {
			s.edit(t, func(e *editable) {
				d := s.put(b)
				e.Layers[which].Digest, e.Layers[which].Size = d.Digest, d.Size
			})
		} else {
			s.manifest = s.put(b).Digest
		}
		again, err := kit.Read(t.Context(), s, s.manifest, s.subject)
		if err != nil {
			return
		}
		if _, err := again.Artifact(); err != nil {
			t.Errorf("read, and not written again: %v", err)
		}
		_, _ = again.Load()
	})
}
