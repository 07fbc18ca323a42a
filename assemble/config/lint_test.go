package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestLintIsJoinedWithWhatIsIncluded(t *testing.T) {
	for _, c := range []struct {
		base, top string
		noShell   bool
		ignore    []string
	}{
		{"lint: {no-shell: true, ignore: [setuid]}", "lint: {ignore: ['shell:/bin/*']}", true, []string{"setuid", "shell:/bin/*"}},
		{"lint: {no-shell: true}", "lint: {no-shell: false}", false, nil},
		{"cmd: a", "lint: {no-shell: true}", true, nil},
		{"lint: {no-shell: true}", "cmd: a", true, nil},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"base.yaml": c.base, "top.yaml": "include: base.yaml\n" + c.top} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := Load(filepath.Join(dir, "top.yaml"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Lint.NoShell != c.noShell || !slices.Equal(cfg.Lint.Ignore, c.ignore) {
			t.Errorf("%q on %q: found %+v", c.top, c.base, cfg.Lint)
		}
		if len(c.ignore) == 2 {
			file, line, col := cfg.Position(Steps("lint.ignore[1]")...)
			if filepath.Base(file) != "top.yaml" || line != 2 || col != 17 {
				t.Errorf("lint.ignore[1]: found %s:%d:%d", file, line, col)
			}
		}
	}
}

func TestLintMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"lint: {ignore: [Setuid]}":       `x.yaml:1:17: lint.ignore[0]: impossible value: found "Setuid", expected RULE or RULE:/PATH`,
		"lint: {ignore: ['setuid:bin']}": `x.yaml:1:17: lint.ignore[0]: impossible value: found "setuid:bin", expected RULE or RULE:/PATH`,
		"lint: {ignore: ['a:/[b']}":      `x.yaml:1:17: lint.ignore[0]: impossible value: found "/[b", expected a path with * and ?`,
		"lint: {noshell: true}":          "x.yaml:1:8: lint.noshell: unknown key: expected one of no-shell, ignore\n  hint: did you mean no-shell?",
	} {
		if _, err := LoadBytes("x.yaml", []byte(text), Options{}); err == nil || err.Error() != want {
			t.Errorf("%s: found %v, expected %s", text, err, want)
		}
	}
}
