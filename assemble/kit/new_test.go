package kit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
)

// again is what k was made from.
func again(t testing.TB, k *kit.Kit) kit.Input {
	t.Helper()
	cfg, err := k.Load()
	if err != nil {
		t.Fatal(err)
	}
	return kit.Input{Subject: k.Subject, Config: cfg, Lock: k.Lock, Packages: slices.Clone(k.Packages), Version: k.Settings.Cairn,
		RawIndex: func(_ context.Context, ix lock.Index) ([]byte, error) {
			for _, have := range k.Indexes {
				if have.URL == ix.URL && have.Arch == ix.Architecture {
					return have.Raw, nil
				}
			}
			return nil, repository.ErrNotFound
		}}
}

func TestPackagesStandInTheLocksOrder(t *testing.T) {
	k := made(t)
	in := again(t, k)
	slices.Reverse(in.Packages)
	got, err := kit.New(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Packages {
		p, l := got.Packages[i], k.Lock.Contents.Packages[i]
		if p.Arch != l.Architecture || p.Receipt.Package.Name != l.Name {
			t.Errorf("package %d is %s (%s), the lock has %s (%s)", i, p.Receipt.ID(), p.Arch, l.Name, l.Architecture)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	k := made(t)
	down := errors.New("disk on fire")
	for _, c := range []struct {
		name   string
		change func(*kit.Input)
		want   string
	}{
		{"base image", func(in *kit.Input) {
			in.Config = loaded(t, "contents: {packages: [base], baseimage: {image: base/, apkindex: base/index}}\narchs: [x86_64]\n")
		}, "kit: contents.baseimage: the base image is not at hand"},
		{"password in a repository", func(in *kit.Input) {
			in.Config = loaded(t, "contents: {repositories: [\"https://me:hunter2@example.org/repo\"]}\narchs: [x86_64]\n")
		}, "example.org/repo: holds credentials, which a kit would publish"},
		{"password in a tagged repository", func(in *kit.Input) {
			in.Config = loaded(t, "contents: {repositories: [\"@tag https://me:hunter2@example.org/repo\"]}\narchs: [x86_64]\n")
		}, "holds credentials, which a kit would publish"},
		{"password in a key's URL", func(in *kit.Input) {
			in.Config = loaded(t, "contents: {keyring: [\"https://me:hunter2@example.org/key.rsa.pub\"]}\narchs: [x86_64]\n")
		}, "holds credentials, which a kit would publish"},
		{"password in a repository's key", func(in *kit.Input) {
			in.Config = loaded(t, "contents: {repositories: [\"https://example.org/repo\"]}\nkeyrings: {\"https://example.org/repo\": [\"https://me:hunter2@example.org/key.rsa.pub\"]}\narchs: [x86_64]\n")
		}, "holds credentials, which a kit would publish"},
		{"receipt missing", func(in *kit.Input) { in.Packages = in.Packages[1:] }, "kit: package app-1-r0 (x86_64): no receipt"},
		{"no file", func(in *kit.Input) { c := *in.Config; c.Sources, c.Files = nil, nil; in.Config = &c }, "kit: the configuration is from no file"},
		{"key that is none", func(in *kit.Input) {
			l := *in.Lock
			l.Contents.Keyring = []lock.Key{{Name: "a.rsa.pub", Content: "hello"}}
			in.Lock = &l
		}, "kit: keyring: key a.rsa.pub: not PEM"},
		{"index unreadable", func(in *kit.Input) {
			in.RawIndex = func(context.Context, lock.Index) ([]byte, error) { return nil, down }
		}, "kit: disk on fire"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := again(t, k)
			c.change(&in)
			got, err := kit.New(t.Context(), in)
			if err == nil || got != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, expected %s", err, c.want)
			}
		})
	}
}

// loaded is a configuration.
func loaded(t testing.TB, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestMissingIndexesAreNamed: a kit without an index says so, as packages that
// only it vouches for cannot be proved.
func TestMissingIndexesAreNamed(t *testing.T) {
	k := made(t)
	in := again(t, k)
	in.RawIndex = func(context.Context, lock.Index) ([]byte, error) {
		return nil, fmt.Errorf("gone: %w", repository.ErrNotFound)
	}
	got, err := kit.New(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Indexes) != 0 || len(got.Settings.MissingIndexes) != 2 || got.Settings.MissingIndexes[0].SHA256.IsZero() {
		t.Errorf("%d indexes, missing %+v", len(got.Indexes), got.Settings.MissingIndexes)
	}
	s := store(t, got)
	if read, err := kit.Read(t.Context(), s, s.manifest, s.subject); err != nil || len(read.Settings.MissingIndexes) != 2 {
		t.Errorf("read: %v", err)
	}
}

func TestSignedBy(t *testing.T) {
	k := made(t)
	own := repository.NewKeyring(k.Keys...)
	other, err := repository.ParseKey("key.rsa.pub", apktest.NewKey("other").PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	app, base := &k.Packages[0], &k.Packages[1]
	if base.Receipt.Package.Name != "base" || app.Receipt.Package.Name != "app" {
		t.Fatalf("packages %s, %s", base.Receipt.ID(), app.Receipt.ID())
	}
	if key, ok := kit.SignedBy(base, own); !ok || key.Fingerprint != k.Keys[0].Fingerprint {
		t.Errorf("base is signed by %v (%v)", key, ok)
	}
	if _, ok := kit.SignedBy(app, own); ok {
		t.Error("app is not signed")
	}
	if _, ok := kit.SignedBy(base, repository.NewKeyring(other)); ok {
		t.Error("a key of the same name counts")
	}
	broken := *base.Receipt
	broken.Signature = []byte("hello")
	if _, ok := kit.SignedBy(&kit.Package{Arch: "x86_64", Receipt: &broken}, own); ok {
		t.Error("a signature that is none counts")
	}
}

// The kit of an image, written and read back.
func ExampleRead() {
	read := func(ctx context.Context, s *shelf) (string, error) {
		k, err := kit.Read(ctx, s, s.manifest, s.subject)
		if err != nil {
			return "", err
		}
		return k.Settings.Config, nil
	}
	_, err := read(context.Background(), &shelf{})
	fmt.Println(errors.Is(err, kit.ErrInvalid))
	// Output: true
}
