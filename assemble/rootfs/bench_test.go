package rootfs

import (
	"context"
	"fmt"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// syntheticInput is 200 packages with 20,000 members: nested directories that
// many share, links of both kinds, some replaced files.
func syntheticInput() Input {
	in := Input{Arch: "x86_64", Created: epoch}
	for p := range 200 {
		r := &store.Receipt{Package: apk.Package{Name: fmt.Sprintf("pkg%03d", p), Version: "1.0-r0", Arch: "x86_64", License: "MIT"}}
		r.Package.Checksum[0], r.Package.Checksum[1] = byte(p), byte(p>>8)
		r.Package.Origin = fmt.Sprintf("origin%d", p/2)
		add := func(e apk.Entry) {
			e.Uname, e.Gname, e.MTime = "root", "root", 1_600_000_000
			r.Entries = append(r.Entries, e)
		}
		dirs := []string{"usr", "usr/lib", "usr/share", "usr/share/doc", "etc", fmt.Sprintf("usr/lib/d%d", p), fmt.Sprintf("usr/share/doc/d%d", p%17)}
		for _, d := range dirs {
			add(apk.Entry{Path: d, Type: apk.TypeDir, Mode: 0o755})
		}
		add(apk.Entry{Path: fmt.Sprintf("etc/shared%d", p/2), Type: apk.TypeFile, Mode: 0o644, Size: 10})
		for f := len(r.Entries); f < 90; f++ {
			e := apk.Entry{Path: fmt.Sprintf("usr/lib/d%d/file%02d", p, f), Type: apk.TypeFile, Mode: 0o644, Size: int64(f)}
			e.SHA1[0], e.SHA256[0] = byte(f), byte(f)
			add(e)
		}
		for f := range 5 {
			add(apk.Entry{Path: fmt.Sprintf("usr/share/doc/d%d/l%d-%d", p%17, p, f), Type: apk.TypeSymlink, Link: "x", Mode: 0o777})
			add(apk.Entry{Path: fmt.Sprintf("usr/share/doc/d%d/h%d-%d", p%17, p, f), Type: apk.TypeHardlink, Link: fmt.Sprintf("usr/lib/d%d/file%02d", p, 20+f), Mode: 0o644})
		}
		in.Packages = append(in.Packages, Package{Receipt: r})
	}
	return in
}

func BenchmarkPlan(b *testing.B) {
	in := syntheticInput()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Plan(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	tree, err := Plan(context.Background(), syntheticInput())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := tree.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
