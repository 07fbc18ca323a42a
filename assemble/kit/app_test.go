package kit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages/apk"
)

// appConfig is a configuration with an application of one file.
func appConfig(t testing.TB) *config.Config {
	t.Helper()
	source := filepath.Join(t.TempDir(), "app.txt")
	if err := os.WriteFile(source, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	return loaded(t, "app: [{source: "+source+", path: /srv/app}]\n")
}

// withApp adds an application to a kit, as its maker does.
func withApp(t testing.TB) (*kit.Kit, []byte) {
	t.Helper()
	k := made(t)
	cfg := appConfig(t)
	archive := cfg.App[0].Tree.Archive()
	n := kit.Name{Path: "/srv/app", Role: kit.RoleApp, SHA256: cfg.App[0].Tree.Digest(), Size: int64(len(archive))}
	k.Settings.Files, k.Files = append(k.Settings.Files, n), append(k.Files, kit.File{Name: n, Bytes: archive})
	return k, archive
}

func TestAKitHoldsApplications(t *testing.T) {
	k, archive := withApp(t)
	s := store(t, k)
	again, err := kit.Read(t.Context(), s, s.manifest, s.subject)
	if err != nil {
		t.Fatal(err)
	}
	if f := again.Files[len(again.Files)-1]; f.Role != kit.RoleApp || f.Path != "/srv/app" || !bytes.Equal(f.Bytes, archive) {
		t.Errorf("%+v", f.Name)
	}
	// Digests name it, so that a configuration that is given is compared with it.
	sums, err := kit.Digests(appConfig(t))
	if err != nil || len(sums) != 2 || sums[1] != again.Files[len(again.Files)-1].SHA256 {
		t.Error(sums, err)
	}
}

func TestApplicationsOfAKitAreRefused(t *testing.T) {
	k, archive := withApp(t)
	for _, c := range []struct {
		name, want string
		change     func(b []byte) []byte
	}{
		{"altered", `file "/srv/app": content has sha256`, func([]byte) []byte {
			return oneFile(t, k.Files[len(k.Files)-1].SHA256, append([]byte("x"), archive[1:]...))
		}},
		{"left out", `file "/srv/app": missing`, func([]byte) []byte { return zipped(nil) }},
		{"no gzip", "applications: gzip: invalid header", func([]byte) []byte { return []byte("hello, world") }},
		{"cut short", "applications: ", func(b []byte) []byte { return b[:len(b)/2] }},
		{"a bomb", "applications: larger than 536870912 bytes", func([]byte) []byte { return zipped(sparse(1 << 40)) }},
	} {
		s := store(t, k)
		s.part(t, kit.TypeApp, c.change)
		_, err := kit.Read(t.Context(), s, s.manifest, s.subject)
		if !errors.Is(err, kit.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %s", c.name, err, c.want)
		}
	}
}

// oneFile is a compressed archive with one file under a digest.
func oneFile(t testing.TB, name apk.SHA256, b []byte) []byte {
	t.Helper()
	return retar(t, []file{{name.Hex(), b}})
}

// A configuration of a kit finds its applications there, and nowhere else.
func TestLoadTakesApplicationsFromTheKit(t *testing.T) {
	k, archive := withApp(t)
	for i := range k.Files {
		if k.Files[i].Role == kit.RoleConfig {
			k.Files[i].Bytes = append(bytes.Clone(k.Files[i].Bytes), "app: [{source: nowhere, path: /srv/app}]\n"...)
		}
	}
	cfg, err := k.Load()
	if err != nil || !bytes.Equal(cfg.App[0].Tree.Archive(), archive) {
		t.Fatal(err)
	}
	k.Files = k.Files[:len(k.Files)-1]
	var all *config.Errors
	if _, err := k.Load(); !errors.As(err, &all) || !strings.Contains(err.Error(), "app[0].source: not readable") {
		t.Error(err)
	}
}
