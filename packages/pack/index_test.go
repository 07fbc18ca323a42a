package pack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func writeAPK(t testing.TB, dir, name, arch string) string {
	t.Helper()
	p := filepath.Join(dir, name+"-1-r0.apk")
	if err := os.WriteFile(p, apktest.Build(apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0", Arch: arch}}), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEntries(t *testing.T) {
	dir := t.TempDir()
	a, b, any := writeAPK(t, dir, "a", "x86_64"), writeAPK(t, dir, "b", "x86_64"), writeAPK(t, dir, "c", "noarch")
	got, err := Entries(context.Background(), []string{any, b, a}, "")
	if err != nil || len(got) != 3 || got[0].Name != "c" || got[2].Name != "a" || got[0].Size == 0 || got[0].Checksum.IsZero() {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMelangeDefect_IndexOfOtherArchitecturePanics(t *testing.T) {
	dir := t.TempDir()
	a, b := writeAPK(t, dir, "a", "x86_64"), writeAPK(t, dir, "b", "aarch64")
	for arch, want := range map[string]string{
		"":       "b-1-r0.apk: is for aarch64, but " + a + " is for x86_64: cannot be in one index",
		"x86_64": "b-1-r0.apk: is for aarch64: expected x86_64: cannot be in one index",
	} {
		_, err := Entries(context.Background(), []string{a, b}, arch)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ErrIndex) {
			t.Errorf("%v, expected %s", err, want)
		}
	}
}

func TestReplaceAndJoin(t *testing.T) {
	one, again, two := &apk.Package{Name: "a", Version: "1"}, &apk.Package{Name: "a", Version: "1", Checksum: apk.SHA1{1}}, &apk.Package{Name: "b", Version: "1"}
	if got := Replace([]*apk.Package{one, two}, []*apk.Package{again}); len(got) != 2 || got[0] != again || got[1] != two {
		t.Errorf("%v", got)
	}
	if got, err := Join([]*apk.Package{one, two}, []*apk.Package{one}); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Join([]*apk.Package{one}, []*apk.Package{again}); !errors.Is(err, ErrIndex) {
		t.Errorf("%v", err)
	}
}
