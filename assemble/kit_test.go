package assemble

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/store"
)

// blobs reads from the blobs directory of a layout.
type blobs string

func (b blobs) Manifest(_ context.Context, h v1.Hash) ([]byte, types.MediaType, error) {
	raw, err := os.ReadFile(filepath.Join(string(b), "blobs/sha256", h.Hex))
	return raw, types.OCIManifestSchema1, err
}

func (b blobs) Blob(_ context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(string(b), "blobs/sha256", d.Digest.Hex))
	if sum := sha256.Sum256(raw); err == nil && (hex.EncodeToString(sum[:]) != d.Digest.Hex || int64(len(raw)) > limit) {
		err = fmt.Errorf("blob %s: %d bytes with another digest", d.Digest, len(raw))
	}
	return raw, err
}

// held are the receipts of a kit, with package files from a store where
// planning asks for some.
type held struct {
	*packages.Held
	st    *store.Store
	asked int
}

func (h *held) ReadFiles(ctx context.Context, r *store.Receipt, members []int) ([][]byte, error) {
	h.asked += len(members)
	return h.st.ReadFiles(ctx, r, members)
}

// derive builds a kit's image again, without package data, and returns the image
// index.
func (f *fixture) derive(k *kit.Kit, images []ImageResult) *image.Index {
	f.t.Helper()
	return f.deriveWith(k, OptionsOf(k), images)
}

func (f *fixture) deriveWith(k *kit.Kit, o Options, images []ImageResult) *image.Index {
	f.t.Helper()
	cfg, err := k.Load()
	if err != nil {
		f.t.Fatal(err)
	}
	src := &held{Held: packages.NewHeld(k.Keys), st: f.ws.Store()}
	for _, p := range k.Packages {
		src.Add(p.Arch, p.Receipt)
	}
	d, err := Derive(f.t.Context(), src, cfg, o)
	if err != nil {
		f.t.Fatal(err)
	}
	var written [][]layer.Layer
	for _, p := range d.Planned {
		for _, img := range images {
			if img.Arch == p.Arch.String() {
				written = append(written, f.checkLayers(p.Layers, img.Layers))
			}
		}
	}
	x, err := d.Index(f.t.Context(), written)
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

func (f *fixture) checkLayers(p *layer.Plan, written []layer.Layer) []layer.Layer {
	f.t.Helper()
	outline := p.Outline()
	if len(outline) != len(written) {
		f.t.Fatalf("%d layers derived, %d written", len(outline), len(written))
	}
	for i, o := range outline {
		if o.Kind == layer.Verbatim {
			continue
		}
		rc, err := written[i].AsV1().Uncompressed()
		if err != nil {
			f.t.Fatal(err)
		}
		tar, err := io.ReadAll(rc)
		if err := errors.Join(err, rc.Close(), p.Check(i, bytes.NewReader(tar))); err != nil {
			f.t.Errorf("layer %d: %v", i, err)
		}
		outline[i].Digest, outline[i].DiffID, outline[i].Size = written[i].Digest, written[i].DiffID, written[i].Size
	}
	return outline
}

// TestAKitGivesTheSameImage builds with a kit, reads it back from the layout,
// and derives the image index from nothing else.
func TestAKitGivesTheSameImage(t *testing.T) {
	for _, c := range []struct {
		name, config string
		options      Options
		change       config.Overrides
	}{
		{name: "default"},
		{name: "packed", config: "layering: {strategy: package, budget: 2}\n"},
		{name: "single", config: "layering: {strategy: single}\n"},
		{name: "origin", config: "layering: {strategy: origin, budget: 3}\n"},
		{name: "files", config: "files:\n  - {path: /etc/motd, content: hello}\n  - {path: /etc/local, source: local.txt, sha256: " + sumOf("local\n") + "}\n"},
		{name: "paths and accounts", config: "paths:\n  - {path: /data, type: directory, permissions: 0o750, uid: 7, gid: 7}\naccounts:\n  users: [{username: u, uid: 1000}]\n  groups: [{groupname: u, gid: 1000}]\n  run-as: u\nentrypoint: {command: /bin/sh -l}\nenvironment: {A: b}\n"},
		{name: "command line", change: config.Overrides{Annotations: map[string]string{"a": "b"}, Packages: []string{"lib"}, Archs: []string{"x86_64"}, VCSURL: "https://example.org/x@" + strings.Repeat("a", 40)}},
		{name: "author and date", options: Options{Author: "someone", Created: time.Unix(1700000000, 0).UTC()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.write("local.txt", "local\n")
			cfg := f.config(c.config)
			if err := cfg.Apply(c.change); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "out")
			o := c.options
			o.Kit, o.Outputs = true, []string{out + "/"}
			r := f.build(cfg, o)
			digest, err := v1.NewHash(r.KitDigest)
			if err != nil {
				t.Fatal(err)
			}
			k, err := kit.Read(t.Context(), blobs(out), digest, r.Digest)
			if err != nil {
				t.Fatal(err)
			}
			x := f.derive(k, r.Images)
			if got, err := x.Digest(); err != nil || got != r.Digest {
				t.Errorf("derived %s, built %s (%v)", got, r.Digest, err)
			}
			a, err := k.Artifact()
			if err != nil || a.Descriptor.Digest != digest {
				t.Errorf("written again, the kit is %s, was %s (%v)", a.Descriptor.Digest, digest, err)
			}
			if again := f.build(cfg, o); again.KitDigest != r.KitDigest {
				t.Errorf("kit of a second build: %s, expected %s", again.KitDigest, r.KitDigest)
			}
		})
	}
}

func TestKitWithALockFile(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("")
	out := filepath.Join(t.TempDir(), "out")
	o := Options{Kit: true, Lock: f.throughFile(f.lock(cfg, LockOptions{})), Outputs: []string{out + "/"}}
	r := f.build(cfg, o)
	if len(r.Kit.Indexes)+len(r.Kit.Settings.MissingIndexes) != 2 {
		t.Errorf("%d indexes, %d missing: the packages are not signed, so 2 are needed", len(r.Kit.Indexes), len(r.Kit.Settings.MissingIndexes))
	}
	if got, err := f.derive(r.Kit, r.Images).Digest(); err != nil || got != r.Digest {
		t.Errorf("derived %s, built %s (%v)", got, r.Digest, err)
	}
	// The repository has moved on: its index is in no cache, and not the same.
	f.packages(bothArches, base(), lib(), app(), spec("new", "1-r0", 5))
	r = f.build(cfg, o)
	if len(r.Kit.Indexes) != 0 || len(r.Kit.Settings.MissingIndexes) != 2 {
		t.Errorf("%d indexes, %d missing, expected 0 and 2", len(r.Kit.Indexes), len(r.Kit.Settings.MissingIndexes))
	}
}

func TestSignedPackagesNeedNoIndex(t *testing.T) {
	f := newFixture(t)
	signed := base()
	signed.Sign = f.key
	f.packages(bothArches, signed)
	cfg := f.load("signed.yaml", "contents:\n  repositories: ["+f.dir+"/repo]\n  keyring: ["+f.dir+"/key.rsa.pub]\n  packages: [base]\narchs: [x86_64]\n")
	r := f.build(cfg, Options{Kit: true})
	if len(r.Kit.Indexes) != 0 || len(r.Kit.Keys) != 1 {
		t.Errorf("%d indexes and %d keys, expected 0 and 1", len(r.Kit.Indexes), len(r.Kit.Keys))
	}
}

func TestKitsAreRefused(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("")
	f.fail(cfg, Options{Kit: true, Outputs: []string{"x.tar"}}, "kit: no output can hold it: expected DIR/ or oci-archive:FILE among them")
	secret := f.load("secret.yaml", "contents:\n  repositories: ["+f.dir+"/repo]\n  keyring: ["+f.dir+"/key.rsa.pub]\n  runtime_repositories: [\"https://me:hunter2@example.org/repo\"]\n  packages: [base]\narchs: [x86_64]\n")
	err := f.fail(secret, Options{Kit: true}, "kit: https://", "example.org/repo: holds credentials, which a kit would publish", "hint: give them in HTTP_AUTH or a netrc file")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the password is in the message: %v", err)
	}
}

func sumOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestDeriveNeedsEverything(t *testing.T) {
	f := newFixture(t)
	r := f.build(f.config(""), Options{Kit: true})
	cfg, err := r.Kit.Load()
	if err != nil {
		t.Fatal(err)
	}
	src := &held{Held: packages.NewHeld(r.Kit.Keys), st: f.ws.Store()}
	for _, c := range []struct {
		name    string
		options Options
		want    string
	}{
		{"no lock", Options{}, "derive: no lock"},
		{"no receipts", OptionsOf(r.Kit), "receipt: not in the store"},
	} {
		if d, err := Derive(t.Context(), src, cfg, c.options); err == nil || d != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q", c.name, err, c.want)
		}
	}
	for _, p := range r.Kit.Packages {
		src.Add(p.Arch, p.Receipt)
	}
	if err := cfg.Apply(config.Overrides{Packages: []string{"lib"}}); err != nil {
		t.Fatal(err)
	}
	var stale *StaleError
	if _, err := Derive(t.Context(), src, cfg, OptionsOf(r.Kit)); !errors.As(err, &stale) {
		t.Errorf("error %v, expected a StaleError", err)
	}
	if _, err := Derive(cancelled(), src, cfg, OptionsOf(r.Kit)); err == nil {
		t.Error("cancelled, and no error")
	}
}

// TestKitOfAnApkoLock: such a lock names no indexes and pins no receipts.
func TestKitOfAnApkoLock(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("")
	l := f.lock(cfg, LockOptions{})
	l.Cairn, l.Config.Checksum = nil, cfg.ApkoChecksum
	for i := range l.Contents.Packages {
		l.Contents.Packages[i].Cairn = nil
	}
	for i := range l.Contents.Keyring {
		l.Contents.Keyring[i].Content = ""
	}
	out := filepath.Join(t.TempDir(), "out")
	r := f.build(cfg, Options{Kit: true, Lock: f.throughFile(l), Outputs: []string{out + "/"}})
	digest, err := v1.NewHash(r.KitDigest)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kit.Read(t.Context(), blobs(out), digest, r.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if len(k.Keys) != 1 || len(k.Indexes) != 0 {
		t.Errorf("%d keys, %d indexes", len(k.Keys), len(k.Indexes))
	}
	if got, err := f.derive(k, r.Images).Digest(); err != nil || got != r.Digest {
		t.Errorf("derived %s, built %s (%v)", got, r.Digest, err)
	}
}
