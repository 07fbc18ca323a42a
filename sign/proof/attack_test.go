package proof

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/store"
)

// member is the tar of one file, without an end of archive.
func member(t testing.TB, name, content string, mode int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: mode, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ingest gives the receipt of a package and its data section.
func ingest(t testing.TB, s apktest.Spec) (*store.Receipt, []byte) {
	t.Helper()
	if s.Package.Arch == "" {
		s.Package.Arch = "x86_64"
	}
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r, err := st.Ingest(context.Background(), bytes.NewReader(apktest.Build(s)), store.Expect{Unsafe: store.Unsafe{NoChecksum: true}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(st.BlobPath(r))
	if err != nil {
		t.Fatal(err)
	}
	return r, data
}

// swap puts another package in the place of one: in kit, lock and layer.
func (f *forger) swap(name string, s apktest.Spec) {
	f.t.Helper()
	r, data := ingest(f.t, s)
	at := f.layerOf(name)
	point(&f.image.Layers[at], f.put(data))
	f.config.RootFS.DiffIDs[at] = v1.Hash{Algorithm: "sha256", Hex: r.DiffID.Hex()}
	f.config.History[at].Comment = r.ID()
	f.receipt(name, r)
}

// receipt puts another receipt into kit and lock.
func (f *forger) receipt(name string, r *store.Receipt) {
	f.t.Helper()
	l := f.locked(name)
	l.Version, l.Checksum = r.Package.Version, r.Package.Checksum
	l.Data.Checksum = lock.Checksum(r.DataHash)
	l.Cairn.SHA256, l.Cairn.Size, l.Cairn.DiffID, l.Cairn.Receipt = r.FileSHA256, r.FileSize, r.DiffID, r.Digest()
	l.URL = l.URL[:strings.LastIndexByte(l.URL, '/')+1] + r.Package.Filename()
	f.pkg(name).Receipt = r
}

func (f *forger) locked(name string) *lock.Package {
	f.t.Helper()
	list := f.kit.Lock.Contents.Packages
	i := slices.IndexFunc(list, func(p lock.Package) bool { return p.Name == name })
	if i < 0 {
		f.t.Fatalf("%s is not locked", name)
	}
	return &list[i]
}

// changed is a receipt with something else in it, read again.
func changed(t testing.TB, r *store.Receipt, change func(*store.Receipt)) *store.Receipt {
	t.Helper()
	own, err := store.ParseReceipt(r.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	change(own)
	if own, err = store.ParseReceipt(own.Marshal()); err != nil {
		t.Fatal(err)
	}
	return own
}

// secondRoot gives the receipt of base a passwd file with one more root.
func secondRoot(t testing.TB, r *store.Receipt) *store.Receipt {
	return changed(t, r, func(r *store.Receipt) {
		const text = "root:x:0:0:root:/root:/bin/sh\nevil:x:0:0::/:/bin/sh\n"
		for i := range r.Entries {
			e := &r.Entries[i]
			if e.Path == "etc/passwd" {
				b := []byte(text)
				e.Size, e.SHA256 = int64(len(b)), sha(b)
				r.Contents["etc/passwd"] = b
			}
		}
	})
}

// TestAttacks is what somebody can do who controls the registry and makes all
// digests fit. The keys are pinned.
func TestAttacks(t *testing.T) {
	insert := func(b, more []byte) []byte { // in front of the end of the archive
		return slices.Concat(b[:len(b)-1024], more, b[len(b)-1024:])
	}
	for _, c := range []struct {
		name   string
		change func(*forger)
		want   string
	}{
		{"setuid file in the top layer", func(f *forger) {
			f.layer(f.top(), insert(f.tar(f.top()), member(t, "usr/bin/evil", "boo", 0o4755)))
		}, "linux/amd64: layer 2 (top sha256:…): found file usr/bin/evil (mode 4755, owner 0:0, time 0, 3 bytes), expected the end of the archive: differs from the plan"},
		{"package hidden in the installed database", func(f *forger) {
			f.layer(f.top(), bytes.Replace(f.tar(f.top()), []byte("P:app\n"), []byte("P:apq\n"), 1))
		}, "linux/amd64: layer 2 (top sha256:…): member usr/lib/apk/db/installed: content has sha256 …, expected …: differs from the plan"},
		{"top layer that is no gzip", func(f *forger) {
			point(&f.image.Layers[f.top()], f.put([]byte("hello")))
		}, "linux/amd64: layer 2 (top sha256:…): not gzip: unexpected EOF"},
		{"top layer left out", func(f *forger) {
			f.image.Layers = f.image.Layers[:2]
			f.config.RootFS.DiffIDs = f.config.RootFS.DiffIDs[:2]
		}, "linux/amd64: layer 2 (top): missing"},
		{"layers swapped", func(f *forger) {
			f.image.Layers[0], f.image.Layers[1] = f.image.Layers[1], f.image.Layers[0]
			d := f.config.RootFS.DiffIDs
			d[0], d[1] = d[1], d[0]
		}, "linux/amd64: layer 0 (verbatim sha256:…): found sha256:… of "},
		{"layer of another version", func(f *forger) {
			_, data := ingest(t, app("2-r0", "vulnerable\n"))
			point(&f.image.Layers[f.layerOf("app")], f.put(data))
		}, "linux/amd64: layer 0 (verbatim sha256:…): found sha256:… of 277 bytes, expected the data section of app-1-r0: sha256:… of 271 bytes"},
		{"control section with another data hash", func(f *forger) { f.swap("app", app("1-r0", "evil\n")) },
			"linux/amd64: layer 0 (verbatim sha256:…): package app-1-r0: its control section is not signed, and no index signed by an allowed key lists it"},
		{"another version that is not signed", func(f *forger) { f.swap("app", app("2-r0", "evil\n")) },
			"linux/amd64: layer 0 (verbatim sha256:…): package app-2-r0: its control section is not signed, and no index signed by an allowed key lists it"},
		{"package signed by another key of the same name", func(f *forger) {
			s := pkg("base", "1-r0", apktest.File{Path: "etc/passwd", Content: "root::0:0:::\n"})
			s.Sign, s.Algorithm = apktest.NewKey("evil.rsa.pub"), "RSA256"
			f.swap("base", s)
		}, "linux/amd64: layer 1 (verbatim sha256:…): package base-1-r0: its control section is signed by evil.rsa.pub, which is no allowed key, and no index signed by an allowed key lists it"},
		{"signature with its index taken out", func(f *forger) { f.kit.Indexes = nil },
			"linux/amd64: layer 0 (verbatim sha256:…): package app-1-r0: its control section is not signed, and no index signed by an allowed key lists it"},
		{"index signed by another key", func(f *forger) {
			r := apktest.Repository{Key: apktest.NewKey("evil.rsa.pub")}
			f.kit.Indexes[0].Raw = r.SignIndex(indexText(t, f))
			f.kit.Lock.Cairn.Indexes[0].SHA256 = sha(f.kit.Indexes[0].Raw)
		}, "no index signed by an allowed key lists it: /repo/x86_64/APKINDEX.tar.gz: index: signature RSA256 by pinned.pub does not fit the content: crypto/rsa: verification error (read 694 bytes, sha256:…)"},
		{"index that is not signed", func(f *forger) {
			f.kit.Indexes[0].Raw = apktest.Repository{}.SignIndex(indexText(t, f))
			f.kit.Lock.Cairn.Indexes[0].SHA256 = sha(f.kit.Indexes[0].Raw)
		}, "no index signed by an allowed key lists it: /repo/x86_64/APKINDEX.tar.gz: index: index is not signed"},
		{"index that the lock does not have", func(f *forger) {
			f.kit.Lock.Cairn.Indexes[0].SHA256[0]++
		}, `invalid kit: index "/repo/x86_64/APKINDEX.tar.gz" ("x86_64"): sha256:… is not in the lock`},
		{"kit of another image", func(f *forger) { f.kit.Subject, f.sameKit = f.put([]byte("{}")), true },
			"kit sha256:…: invalid kit: it is of image sha256:…, expected sha256:…"},
		{"receipt that the lock does not have", func(f *forger) {
			f.pkg("base").Receipt = secondRoot(t, f.pkg("base").Receipt)
		}, "kit sha256:…: invalid kit: package base-1-r0 (x86_64): receipt sha256:…, the lock has sha256:…"},
		{"receipt with another diff ID", func(f *forger) {
			f.receipt("app", changed(t, f.pkg("app").Receipt, func(r *store.Receipt) { r.DiffID[0]++ }))
		}, "linux/amd64: configuration: at rootfs.diff_ids[0]: found \"sha256:…\", expected \"sha256:…\""},
		{"lock with another version", func(f *forger) { f.locked("app").Version = "2-r0" },
			"kit sha256:…: invalid kit: package app-2-r0 (x86_64): found \"x86_64/app-1-r0.head\" and \"x86_64/app-1-r0.receipt\""},
		{"lock without a package", func(f *forger) {
			f.kit.Lock.Contents.Packages = slices.DeleteFunc(f.kit.Lock.Contents.Packages, func(p lock.Package) bool { return p.Name == "app" })
			f.kit.Packages = slices.DeleteFunc(f.kit.Packages, func(p kit.Package) bool { return p.Receipt.Package.Name == "app" })
		}, "linux/amd64: layer 0 (verbatim sha256:…): found sha256:… of"},
		{"lock with another file hash", func(f *forger) { f.locked("app").Cairn.SHA256[0]++ },
			"derive: package app-1-r0: sha256 of the file is …, expected …"},
		{"lock with another data hash", func(f *forger) { f.locked("app").Data.Checksum = lock.Checksum(apk.SHA256{1}) },
			"derive: package app-1-r0: data section: found sha256-"},
		{"layer twice", func(f *forger) {
			f.image.Layers = append(f.image.Layers, f.image.Layers[f.top()])
			f.config.RootFS.DiffIDs = append(f.config.RootFS.DiffIDs, f.config.RootFS.DiffIDs[f.top()-1])
		}, "linux/amd64: layer 3 (sha256:…): not explained: 3 layers were derived"},
		{"layer appended", func(f *forger) {
			f.image.Layers = append(f.image.Layers, f.image.Layers[0])
			f.layers(slices.Concat(member(t, "usr/bin/evil", "boo", 0o4755), make([]byte, 1024)))
		}, "linux/amd64: layer 3 (sha256:…): not explained: 3 layers were derived"},
		{"layer with another media type", func(f *forger) {
			f.image.Layers[0].MediaType = "application/vnd.oci.image.layer.v1.tar+zstd"
		}, `linux/amd64: layer 0 (verbatim sha256:…): media type "application/vnd.oci.image.layer.v1.tar+zstd", expected "application/vnd.oci.image.layer.v1.tar+gzip"`},
		{"entrypoint", func(f *forger) { f.config.Config.Entrypoint = []string{"/bin/sh"} },
			`linux/amd64: configuration: at config.Entrypoint[0]: found "/bin/sh", expected "/usr/bin/app"`},
		{"user", func(f *forger) { f.config.Config.User = "nobody" },
			`linux/amd64: configuration: at config.User: found "nobody", expected nothing`},
		{"environment", func(f *forger) { f.config.Config.Env = append(f.config.Config.Env, "LD_PRELOAD=/evil.so") },
			`: found "LD_PRELOAD=/evil.so", expected nothing`},
		{"history", func(f *forger) { f.config.History[0].Comment = "nothing to see" },
			`linux/amd64: configuration: at history[0].comment: found "nothing to see", expected "app-1-r0"`},
		{"diff ID", func(f *forger) { f.config.RootFS.DiffIDs[0] = f.config.RootFS.DiffIDs[1] },
			`linux/amd64: configuration: at rootfs.diff_ids[0]: found "sha256:…", expected "sha256:…"`},
		{"annotation of the manifest", func(f *forger) { f.image.Annotations["a"] = "b" },
			`linux/amd64: manifest: at annotations.a: found "b", expected nothing`},
		{"annotation of the index", func(f *forger) { f.index.Annotations["a"] = "b" },
			`image index: at annotations.a: found "b", expected nothing`},
		{"another platform", func(f *forger) { f.index.Manifests[0].Platform.Architecture = "arm64" },
			"image sha256:…: not explained: the kit is for [x86_64]\nlinux/amd64: no image for this architecture"},
		{"another version of the system", func(f *forger) { f.index.Manifests[0].Platform.OSVersion = "10" },
			"image sha256:…: not explained: the kit is for [x86_64]\nlinux/amd64: no image for this architecture"},
		{"two images for one platform", func(f *forger) { f.index.Manifests = append(f.index.Manifests, f.index.Manifests[0]) },
			"image sha256:…: not explained: the kit is for [x86_64]"},
		{"thousands of images", func(f *forger) { f.index.Manifests = slices.Repeat(f.index.Manifests, 4000) },
			"image index: 4000 images, expected at most 64"},
		{"package for another architecture", func(f *forger) {
			s := app("1-r0", "program\n")
			s.Package.Arch, s.Sign, s.Algorithm = "aarch64", f.key, "RSA256"
			f.swap("app", s)
		}, `linux/amd64: layer 0 (verbatim sha256:…): package app-1-r0: it is for "aarch64", the image for x86_64`},
		{"another place for a layer", func(f *forger) { f.image.Layers[0].URLs = []string{"https://evil.example/"} },
			`linux/amd64: manifest: at layers[0].urls: found ["https://evil.example/"], expected nothing`},
		{"content in a descriptor", func(f *forger) { f.image.Layers[0].Data = []byte("evil") },
			`linux/amd64: manifest: at layers[0].data: found "ZXZpbA==", expected nothing`},
		{"annotation of a layer", func(f *forger) { f.image.Layers[0].Annotations = map[string]string{"a": "b"} },
			`linux/amd64: manifest: at layers[0].annotations: found {"a":"b"}, expected nothing`},
		{"subject", func(f *forger) { f.image.Subject = &v1.Descriptor{Digest: f.image.Config.Digest, Size: 2} },
			`linux/amd64: manifest: at subject: found {`},
		{"media type of the configuration", func(f *forger) { f.image.Config.MediaType = "application/vnd.docker.container.image.v1+json" },
			`linux/amd64: manifest: at config.mediaType: found "application/vnd.docker.container.image.v1+json", expected "application/vnd.oci.image.config.v1+json"`},
		{"media type of an image", func(f *forger) {
			f.index.Manifests[0].MediaType = "application/vnd.docker.distribution.manifest.v2+json"
		}, `image index: at manifests[0].mediaType: found "application/vnd.docker.distribution.manifest.v2+json"`},
		{"size of an image", func(f *forger) { f.sizes = 1 }, `image index: at manifests[0].size: found `},
		{"operating system", func(f *forger) { f.config.OS = "windows" }, `linux/amd64: configuration: at os: found "windows", expected "linux"`},
		{"architecture of the configuration", func(f *forger) { f.config.Architecture = "arm64" },
			`linux/amd64: configuration: at architecture: found "arm64", expected "amd64"`},
		{"variant", func(f *forger) { f.config.Variant = "v3" }, `linux/amd64: configuration: at variant: found "v3", expected nothing`},
		{"health check", func(f *forger) { f.config.Config.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "/bin/sh"}} },
			`linux/amd64: configuration: at config.Healthcheck: found {"Test":["CMD","/bin/sh"]}, expected nothing`},
		{"on build", func(f *forger) { f.config.Config.OnBuild = []string{"RUN evil"} },
			`linux/amd64: configuration: at config.OnBuild: found ["RUN evil"], expected nothing`},
		{"exposed port", func(f *forger) { f.config.Config.ExposedPorts = map[string]struct{}{"22/tcp": {}} },
			`linux/amd64: configuration: at config.ExposedPorts: found {"22/tcp":{}}, expected nothing`},
		{"empty layer in the history", func(f *forger) { f.config.History = append(f.config.History, v1.History{EmptyLayer: true}) },
			`linux/amd64: configuration: at history[3]: found {"created":"0001-01-01T00:00:00Z","empty_layer":true}, expected nothing`},
		{"whiteout in the top layer", func(f *forger) {
			f.layer(f.top(), insert(f.tar(f.top()), member(t, "usr/bin/.wh.app", "", 0o644)))
		}, "found file usr/bin/.wh.app (mode 0644, owner 0:0, time 0, 0 bytes), expected the end of the archive"},
		{"files behind the end of the archive", func(f *forger) {
			f.layer(f.top(), slices.Concat(f.tar(f.top()), member(t, "usr/bin/evil", "boo", 0o4755), make([]byte, 1024)))
		}, "found bytes after the end of the archive: differs from the plan"},
		{"one more gzip member", func(f *forger) {
			f.blob(f.top(), func(b []byte) []byte { return append(b, zipped(t, member(t, "evil", "boo", 0o4755))...) })
		}, "found bytes after the end of the archive: differs from the plan"},
		{"bytes behind the gzip stream", func(f *forger) {
			f.blob(f.top(), func(b []byte) []byte { return append(b, "hello, world"...) })
		}, "linux/amd64: layer 2 (top sha256:…): gzip: invalid header"},
		{"top layer cut short", func(f *forger) {
			f.blob(f.top(), func(b []byte) []byte { return b[:len(b)-9] })
		}, "linux/amd64: layer 2 (top sha256:…): "},
		{"one more image", func(f *forger) {
			d := f.index.Manifests[0]
			d.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"}
			f.index.Manifests = append(f.index.Manifests, d)
			f.put(f.blobs[d.Digest])
		}, "image sha256:…: not explained: the kit is for [x86_64]"},
		{"configuration of the kit", func(f *forger) {
			f.kit.Files[0].Bytes = append(f.kit.Files[0].Bytes, "# "...)
		}, `kit sha256:…: invalid kit: file "/image.yaml": content has sha256 …, expected …`},
		{"configuration with another entrypoint", func(f *forger) {
			f.file(0, strings.Replace(string(f.kit.Files[0].Bytes), "/usr/bin/app", "/bin/sh", 1))
		}, `linux/amd64: configuration: at config.Entrypoint[0]: found "/usr/bin/app", expected "/bin/sh"`},
		{"configuration that does not fit the lock", func(f *forger) {
			f.file(0, strings.Replace(string(f.kit.Files[0].Bytes), ", empty]", "]", 1))
		}, "derive: lock of /image.yaml: stale: the configuration changed since:\npackages: removed empty"},
		{"configuration that is none", func(f *forger) { f.file(0, "contents: [") }, "kit: configuration: /image.yaml:1:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			f := w.forger("")
			f.t = t
			c.change(f)
			r, err := Prove(t.Context(), f.seal(), Options{Keys: w.pinned()})
			if err != nil {
				t.Fatal(err)
			}
			err = r.Err()
			if r.Verdict != Failed || !errors.Is(err, ErrUnproved) {
				t.Fatalf("verdict %q, error %v", r.Verdict, err)
			}
			if got := plain(strings.ReplaceAll(err.Error(), w.dir, "")); !strings.Contains(got, c.want) {
				t.Errorf("error %s\nexpected %s", got, c.want)
			}
		})
	}
}

// layers points the last layer to other content.
func (f *forger) layers(tar []byte) {
	f.t.Helper()
	f.config.RootFS.DiffIDs = append(f.config.RootFS.DiffIDs, v1.Hash{})
	f.layer(len(f.image.Layers)-1, tar)
}

// blob changes the stored bytes of a layer.
func (f *forger) blob(i int, change func([]byte) []byte) {
	d := &f.image.Layers[i]
	point(d, f.put(change(bytes.Clone(f.blobs[d.Digest]))))
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// file changes a file of the kit, with its digest.
func (f *forger) file(i int, text string) {
	k := &f.kit.Files[i]
	k.Bytes, k.SHA256, k.Size = []byte(text), sha([]byte(text)), int64(len(text))
	f.kit.Settings.Files[i] = k.Name
}

// indexText is the content of the kit's first index.
func indexText(t testing.TB, f *forger) []byte {
	t.Helper()
	var text []byte
	for i := range f.kit.Packages {
		text = apk.AppendIndexEntry(text, &f.kit.Packages[i].Receipt.Package)
	}
	return text
}

// TestForgedReceipts is about what somebody can do who makes up a receipt, the
// lock, and layers that follow from them. Nothing in the image contradicts that:
// it takes the lock, or reading the packages, to find it, and without either the
// image is not proved.
func TestForgedReceipts(t *testing.T) {
	w := newWorld(t)
	honest := digestOf(t, w.forger(""))
	forged := rewritten(t, w).seal()
	for _, c := range []struct {
		name    string
		options Options
		verdict Verdict
		want    string
	}{
		{"keys", Options{}, Consistent,
			"not pinned:\nreceipts: what is in the packages is as the image's own kit says\nhint: give --lockfile with the lock that the image is to be from, or --full to read the packages"},
		{"keys, and packages as far as they are layers", Options{Full: true}, Consistent, "receipts: what is in the packages"},
		{"keys and lock", Options{Lock: honest}, Failed, "lock sha256:…, expected sha256:…"},
		{"keys and packages", Options{Full: true, Fetch: w.fetch}, Failed, "x86_64: package app-1-r0: receipt digest is …, expected …"},
	} {
		c.options.Keys = w.pinned()
		r, err := Prove(t.Context(), forged, c.options)
		if err != nil || r.Verdict != c.verdict || !strings.Contains(plain(r.Err().Error()), c.want) {
			t.Errorf("%s: %+v, %v\nexpected %s: %s", c.name, r, err, c.verdict, c.want)
		}
	}
	account := w.forger("")
	account.receipt("base", secondRoot(t, account.pkg("base").Receipt))
	r, err := Prove(t.Context(), account.seal(), Options{Keys: w.pinned(), Full: true, Fetch: w.fetch})
	if want := "package base-1-r0: receipt sha256:… in the kit, sha256:… from the data section"; err != nil || !strings.Contains(plain(r.Err().Error()), want) {
		t.Errorf("%+v, %v\nexpected %s", r, err, want)
	}
}

// rewritten is an image whose kit says of app that it cannot be a layer as it
// is, and has another program in it. Planned from that, the layer follows.
func rewritten(t *testing.T, w *world) *forger {
	f := w.forger("")
	at := f.layerOf("app")
	evil := []byte(strings.Repeat("evil!!!\n", 200))
	f.receipt("app", changed(t, f.pkg("app").Receipt, func(r *store.Receipt) {
		r.Verbatim = "device node dev/null"
		for i := range r.Entries {
			if e := &r.Entries[i]; e.Path == "usr/bin/app" {
				e.SHA256, e.SHA1 = sha(evil), sha1.Sum(evil)
			}
		}
	}))
	tar := f.tar(at)
	i := bytes.Index(tar, []byte("program\n"))
	copy(tar[i:], evil)
	// The package's own header has the checksum of the true program; a header
	// made up has the forged one.
	tar = bytes.Replace(tar, []byte(hexSHA1([]byte(strings.Repeat("program\n", 200)))), []byte(hexSHA1(evil)), 1)
	f.layer(at, tar)
	f.config.History[at].Comment = "app-1-r0 (rewritten)"
	top := f.tar(f.top())
	f.layer(f.top(), bytes.ReplaceAll(top, []byte(checksumOf([]byte(strings.Repeat("program\n", 200)))), []byte(checksumOf(evil))))
	return f
}

func hexSHA1(b []byte) string { return apk.SHA1(sha1.Sum(b)).Hex() }

// checksumOf is how the installed database has a file.
func checksumOf(b []byte) string { return apk.SHA1(sha1.Sum(b)).String() }

func digestOf(t testing.TB, f *forger) apk.SHA256 {
	t.Helper()
	b, err := f.kit.Lock.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lock.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return l.Cairn.Digest
}

// TestKitsThatCannotBeRead are not findings: another try may find the kit whole.
func TestKitsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	without := w.forger("")
	without.noKit = true
	without.seal()
	_, err := Prove(t.Context(), without, Options{Keys: w.pinned()})
	if want := without.sealed.Digest.String() + ": no rebuild kit\nhint: cairn build --kit adds one"; !errors.Is(err, ErrNoKit) || err.Error() != want {
		t.Errorf("error %v, expected %s", err, want)
	}
	cut := w.forger("").seal()
	for h := range cut.blobs {
		if strings.Contains(string(cut.blobs[cut.referrers[0].Digest]), h.Hex) {
			cut.blobs[h] = cut.blobs[h][:len(cut.blobs[h])/2]
		}
	}
	if _, err := Prove(t.Context(), cut, Options{Keys: w.pinned()}); err == nil || !strings.Contains(err.Error(), "kit sha256:") {
		t.Errorf("error %v, expected one about the kit", err)
	}
	single := w.forger("").seal()
	single.sealed, single.referrers = single.index.Manifests[0], nil
	if _, err := Prove(t.Context(), single, Options{}); !errors.Is(err, ErrNoKit) || !strings.Contains(err.Error(), "hint: a kit belongs to the image index: name that") {
		t.Errorf("error %v", err)
	}
	many := w.forger("").seal()
	for i := range 8 + 1 {
		d := many.put([]byte{byte(i)})
		d.ArtifactType = kit.ArtifactType
		many.referrers = append(many.referrers, d)
	}
	if _, err := Prove(t.Context(), many, Options{}); !errors.Is(err, ErrNoKit) || !strings.Contains(err.Error(), "found 10, expected at most 8") {
		t.Errorf("error %v", err)
	}
}

// TestABadKitDoesNotHideAGoodOne: anybody who may push can add one.
func TestABadKitDoesNotHideAGoodOne(t *testing.T) {
	w := newWorld(t)
	f := w.forger("").seal()
	for _, text := range []string{"", "{}", `{"artifactType":"` + kit.ArtifactType + `"}`} {
		d := f.put([]byte(text))
		d.ArtifactType = kit.ArtifactType
		f.referrers = append(f.referrers, d)
	}
	r, err := Prove(t.Context(), f, w.trusted(f))
	if err != nil || r.Verdict != Proved {
		t.Errorf("%+v, %v", r, err)
	}
}
