package busybox_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cairn-dev/cairn/assemble/generate/busybox"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// Alpine's list names paths without a leading slash; all become links.
func TestLinksOfAlpine(t *testing.T) {
	pkg := apktest.Data(t, "alpine-3.19-boot", "x86_64", "busybox-1.36.1-r15.apk")
	links, err := busybox.Links("1.36.1-r15", map[string][]byte{"busybox": apktest.ReadFile(t, pkg, "etc/busybox-paths.d/busybox")})
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 304 {
		t.Errorf("%d links, the list has 304 lines", len(links))
	}
	for _, p := range []string{"bin/ash", "usr/bin/[", "usr/bin/vi", "sbin/nologin", "usr/sbin/adduser"} {
		if !slices.Contains(links, busybox.Link{Path: p, Target: "/bin/busybox"}) {
			t.Errorf("no %s", p)
		}
	}
	// What bbsuid takes over is in the list too: its links must be made first.
	for _, l := range busybox.SUIDLinks() {
		if !slices.ContainsFunc(links, func(m busybox.Link) bool { return m.Path == l.Path }) {
			t.Logf("%s is bbsuid's alone", l.Path)
		}
	}
}

func ExampleLinks() {
	links, err := busybox.Links("1.36.1-r15", map[string][]byte{"busybox": []byte("bin/ash\nusr/bin/[\n")})
	fmt.Println(links, err)
	// Output: [{bin/ash /bin/busybox} {usr/bin/[ /bin/busybox}] <nil>
}
