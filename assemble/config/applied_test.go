package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestWhatAConfigurationWasMadeFrom: the sources with their text, the local
// files, the include paths and the overrides are enough to make it again.
func TestWhatAConfigurationWasMadeFrom(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const base, text = "contents:\r\n  packages: [base]\r\n", "include: base.yaml\ncontents:\n  packages: [app]\n"
	write("base.yaml", base)
	c, err := Load(write("image.yaml", text), Options{IncludePaths: []string{"elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sources) != 2 || string(c.Sources[0].Text) != text || string(c.Sources[1].Text) != base {
		t.Errorf("sources %+v: expected the bytes as they are", c.Sources)
	}
	if got := c.IncludePaths(); !reflect.DeepEqual(got, []string{"elsewhere"}) {
		t.Errorf("include paths %v", got)
	}
	first, second := Overrides{Packages: []string{"a"}}, Overrides{Annotations: map[string]string{"k": "v"}}
	for _, o := range []Overrides{first, second} {
		if err := c.Apply(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Apply(Overrides{Packages: []string{"not a package"}}); err == nil {
		t.Error("a bad override was accepted")
	}
	if got := c.Applied(); !reflect.DeepEqual(got, []Overrides{first, second}) {
		t.Errorf("applied %+v: expected those that were accepted, in order", got)
	}
	if own, n := c.Applied(), 2; len(own) == n {
		own[0] = Overrides{}
		if !reflect.DeepEqual(c.Applied()[0], first) {
			t.Error("the configuration shares its list")
		}
	}
}
