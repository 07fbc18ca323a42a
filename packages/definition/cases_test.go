package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the messages and results in testdata")

// cases is an archive of definitions and what becomes of them.
type cases struct {
	name      string
	archive   *txtar.Archive
	pipelines string // a directory with those of the archive
}

func openCases(t *testing.T, name string) *cases {
	t.Helper()
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c := &cases{name, a, t.TempDir()}
	for _, f := range a.Files {
		if rest, ok := strings.CutPrefix(f.Name, "pipelines/"); ok {
			path := filepath.Join(c.pipelines, rest)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// each calls check with every definition; the result is compared with the file
// of the same name and the extension given, or replaces it.
func (c *cases) each(t *testing.T, ext string, check func(t *testing.T, name string, data []byte) string) int {
	t.Helper()
	count := 0
	for i, f := range c.archive.Files {
		name, ok := strings.CutSuffix(f.Name, ".yaml")
		if !ok || strings.HasPrefix(f.Name, "pipelines/") {
			continue
		}
		count++
		t.Run(name, func(t *testing.T) {
			have := check(t, f.Name, f.Data)
			result := &c.archive.Files[i+1]
			if result.Name != name+ext {
				t.Fatalf("%s: found %s after %s, expected %s", c.name, result.Name, f.Name, name+ext)
			}
			if *update {
				result.Data = []byte(have)
			}
			if diff := cmp.Diff(string(result.Data), have); diff != "" {
				t.Errorf("(-expected +found)\n%s", diff)
			}
		})
	}
	if *update {
		if err := os.WriteFile(c.name, txtar.Format(c.archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return count
}

// compile reads and compiles for x86_64 with the archive's pipelines.
func (c *cases) compile(name string, data []byte) (*Build, error) {
	d, err := Read(name, data, Options{Commit: "abc"})
	if err != nil {
		return nil, err
	}
	return Compile(d, CompileOptions{Arch: "x86_64", PipelineDirs: []string{c.pipelines}})
}

func TestBadDefinitions(t *testing.T) {
	c := openCases(t, "testdata/bad.txtar")
	bad := c.each(t, ".error", func(t *testing.T, name string, data []byte) string {
		_, err := c.compile(name, data)
		var list *Errors
		switch {
		case err == nil:
			t.Fatal("accepted")
		case !errors.As(err, &list):
			t.Fatalf("found %T %v, expected *Errors", err, err)
		case !errors.Is(err, ErrDefinition):
			t.Errorf("%v is no ErrDefinition", err)
		}
		for _, p := range list.Problems {
			if p.File == "" || p.Line < 1 || p.Column < 1 {
				t.Errorf("%v has no position", p)
			}
		}
		return strings.ReplaceAll(err.Error(), c.pipelines, "PIPELINES") + "\n"
	})
	good := len(openCases(t, "testdata/good.txtar").archive.Files) / 2
	if bad < good {
		t.Errorf("%d bad definitions and about %d good ones, expected at least as many bad ones", bad, good)
	}
}

func TestGoodDefinitions(t *testing.T) {
	c := openCases(t, "testdata/good.txtar")
	c.each(t, ".json", func(t *testing.T, name string, data []byte) string {
		b, err := c.compile(name, data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.compile(name, data)
		if err != nil {
			t.Fatal(err)
		}
		out := compact(t, b)
		if other := compact(t, again); other != out {
			t.Errorf("compiled twice (-first +second)\n%s", cmp.Diff(out, other))
		}
		return strings.ReplaceAll(out, c.pipelines, "PIPELINES")
	})
}

// boring is what every definition has after it is read, and what nothing says.
var boring = map[string]bool{
	"HOME": true, "GOPATH": true, "GOMODCACHE": true, "UV_CACHE_DIR": true, "PIP_CACHE_DIR": true,
	"COMPOSER_CACHE_DIR": true, "npm_config_cache": true, "accounts": true, "arch": true, "commit": true, "sha256": true,
}

// compact renders a build without what is empty or the same everywhere.
func compact(t *testing.T, b *Build) string {
	t.Helper()
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(prune(v, boring)); err != nil {
		t.Fatal(err)
	}
	for _, w := range b.Warnings {
		out.WriteString("warning: " + w.String() + "\n")
	}
	return out.String()
}

// prune removes what is empty, false or zero, and the keys to drop; nil when
// nothing is left.
func prune(v any, drop map[string]bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if e := prune(e, drop); e != nil && !drop[k] {
				out[k] = e
			}
		}
		if len(out) > 0 {
			return out
		}
		return nil
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			out = append(out, prune(e, drop))
		}
		if len(out) > 0 {
			return out
		}
		return nil
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	}
	return v
}
