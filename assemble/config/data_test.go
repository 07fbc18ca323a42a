package config

//lint:file-ignore SA1019 apko deprecates include, cairn keeps it

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/chainguard-dev/clog"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// testData returns a folder of the real data, or skips.
func testData(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("CAIRN_TESTDATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	dir, err := filepath.Abs(filepath.Join(append([]string{root}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no real data at %s; set CAIRN_TESTDATA", dir)
	}
	return dir
}

// yamlFiles lists the YAML files below a directory, relative to it.
func yamlFiles(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.HasSuffix(p, ".yaml") || strings.HasSuffix(p, ".yml")) {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apkoLoad is what apko makes of a configuration before it builds.
func apkoLoad(path string, includePaths []string) (*types.ImageConfiguration, string, error) {
	ctx := clog.WithLogger(context.Background(), clog.New(slog.DiscardHandler))
	var ic types.ImageConfiguration
	h := sha256.New()
	if err := ic.Load(ctx, path, includePaths, h); err != nil { //nolint:staticcheck // the reference
		return nil, "", err
	}
	return &ic, "sha256-" + base64.StdEncoding.EncodeToString(h.Sum(nil)), ic.Validate()
}

// TestRealConfigs loads every real configuration: what apko loads, cairn
// loads, and the result is equal.
func TestRealConfigs(t *testing.T) {
	dir := testData(t, "image-configs")
	t.Chdir(dir)
	loaded, refused := 0, map[string]int{}
	for _, name := range yamlFiles(t, dir) {
		want, sum, apkoErr := apkoLoad(name, nil)
		got, err := Load(name, Options{})
		switch {
		case apkoErr == nil && err != nil:
			t.Errorf("apko loads it, cairn does not:\n%v", err)
		case apkoErr != nil && err == nil:
			t.Errorf("%s: apko does not load it, cairn does: %v", name, apkoErr)
		case err != nil:
			refused[reason(apkoErr)]++
			checkProblems(t, err)
		default:
			loaded++
			if diff := cmp.Diff(want, &got.ImageConfiguration); diff != "" {
				t.Errorf("%s: not what apko loads (-apko +cairn):\n%s", name, diff)
			}
			if got.ApkoChecksum != sum {
				t.Errorf("%s: checksum %s, apko has %s", name, got.ApkoChecksum, sum)
			}
			roundTrip(t, name, got)
		}
	}
	t.Logf("%d load; refused by both: %v", loaded, refused)
}

func reason(err error) string {
	s := err.Error()
	if i := strings.Index(s, "field "); i >= 0 {
		return strings.Join(strings.Fields(s[i:])[:2], " ")
	}
	return s
}

func checkProblems(t *testing.T, err error) {
	t.Helper()
	e, ok := err.(*Errors)
	if !ok {
		t.Errorf("%T, expected *Errors: %v", err, err)
		return
	}
	for _, p := range e.Problems {
		if p.File == "" || p.Line < 1 || p.Column < 1 || p.Key == "" || p.Problem == "" {
			t.Errorf("incomplete problem %+v", p)
		}
	}
}

// roundTrip renders a configuration as YAML and JSON and loads it again.
func roundTrip(t *testing.T, name string, c *Config) {
	t.Helper()
	for kind, render := range map[string]func() ([]byte, error){"yaml": c.YAML, "json": c.JSON} {
		text, err := render()
		if err != nil {
			t.Errorf("%s: %s: %v", name, kind, err)
			continue
		}
		again, err := LoadBytes(name, text, Options{})
		if err != nil {
			t.Errorf("%s: own %s does not load: %v\n%s", name, kind, err, text)
			continue
		}
		want := c.ImageConfiguration
		want.Include = ""
		if diff := cmp.Diff(want, again.ImageConfiguration, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: own %s loads differently (-before +after):\n%s%s", name, kind, diff, text)
		}
		if diff := cmp.Diff(c.Files, again.Files, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: own %s loads other files (-before +after):\n%s", name, kind, diff)
		}
	}
}
