package rootfs

import (
	"context"
	"fmt"
	"testing"

	"chainguard.dev/apko/pkg/build/types"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// FuzzPlan makes packages and a configuration out of bytes, from few names, so
// that they meet: whatever they hold, a plan fails or is a valid tree.
func FuzzPlan(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 254, 253, 10, 11, 12, 13, 14, 15, 16, 17, 18})
	f.Add([]byte{2, 0, 9, 4, 2, 1, 0, 7, 1, 3, 0, 9, 0, 0, 1, 2, 3, 80, 81, 82, 83, 84, 85, 86})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := inputFromBytes(data)
		tree, err := Plan(context.Background(), in)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		if err := tree.Validate(); err != nil {
			t.Fatal(err)
		}
		again, err := Plan(context.Background(), in)
		if err != nil || fmt.Sprint(again.Entries) != fmt.Sprint(tree.Entries) {
			t.Fatalf("a second plan differs: %v", err)
		}
	})
}

func inputFromBytes(data []byte) Input {
	at := 0
	next := func(n int) int {
		if at >= len(data) {
			return 0
		}
		at++
		return int(data[at-1]) % n
	}
	names := []string{"a", "b", "etc", "lib", "usr", "usr/lib", "a/b", "b/a", "lib/apk", "usr/lib/x", "etc/passwd", "tmp", "var/cache", "a/b/c", "..", "/", ".x", "bin/busybox", "a//b", "dev"}
	types_ := []apk.EntryType{apk.TypeFile, apk.TypeDir, apk.TypeSymlink, apk.TypeHardlink, apk.TypeChar, apk.TypeFIFO, apk.TypeFile, apk.TypeDir}
	links := []string{"a", "../a", "/usr/lib", "b", "/", "../../..", "a/b", "usr/lib", "", "lib"}
	modes := []uint32{0o755, 0o644, 0o4755, 0o1777, 0, 0o2711}
	in := Input{Arch: "x86_64", Created: epoch, ReadFiles: func(context.Context, int, []int) ([][]byte, error) { return nil, errNoReader }}
	for p := range 1 + next(3) {
		r := &store.Receipt{Package: apk.Package{Name: string(rune('p' + p)), Version: "1"}}
		if next(3) == 0 {
			r.Package.Origin = "o"
		}
		if next(3) == 0 {
			r.Package.Replaces, r.Package.ReplacesPriority = []apk.Dependency{{Name: "p"}, {Name: "q"}}, int64(next(3))
		}
		for range next(12) {
			e := apk.Entry{Path: names[next(len(names))], Type: types_[next(len(types_))], Mode: modes[next(len(modes))], UID: next(3), MTime: int64(next(9))}
			if e.Type == apk.TypeSymlink {
				e.Link = links[next(len(links))]
			}
			if e.Type == apk.TypeHardlink {
				e.Link = names[next(len(names))]
			}
			r.Entries = append(r.Entries, e)
		}
		in.Packages = append(in.Packages, Package{Receipt: r})
	}
	var muts []types.PathMutation
	kinds := []string{"directory", "empty-file", "hardlink", "symlink", "permissions"}
	for range next(6) {
		m := types.PathMutation{Path: "/" + names[next(len(names))], Type: kinds[next(len(kinds))], Permissions: modes[next(len(modes))], Recursive: next(2) == 0}
		m.Source = links[next(len(links))]
		if m.Type == "hardlink" {
			m.Source = names[next(len(names))]
		}
		if next(2) == 0 {
			m.UID = id(uint32(next(4)))
		}
		muts = append(muts, m)
	}
	in.Config = paths(muts...)
	return in
}
