package busybox

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLinksFromPathsFile(t *testing.T) {
	got, err := Links("not even a version", map[string][]byte{
		"busybox":        []byte("usr/bin/[\n/bin/ls\nbin/busybox\n\nbin/ls\nusr/sbin/telnetd\nlinuxrc\n"),
		"busybox-extras": []byte("/usr/sbin/telnetd\n/bin/busybox-extras\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Link{
		{"bin/ls", "/bin/busybox"},
		{"linuxrc", "/bin/busybox"},
		{"usr/bin/[", "/bin/busybox"},
		{"usr/sbin/telnetd", "/bin/busybox-extras"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLinksFromProvider(t *testing.T) {
	got, err := Links("1.0", map[string][]byte{"busybox-full": []byte("/bin/ls\n")})
	if want := []Link{{"bin/ls", "/bin/busybox"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func has(links []Link, p string) bool {
	return slices.Contains(links, Link{p, "/bin/busybox"})
}

func TestLinksFromTable(t *testing.T) {
	counts := map[string]int{"1.31.1-r9": 425, "1.32.1-r0": 425, "1.33.1": 426, "1.34.1-r5": 428, "1.35.0-r29": 428, "1.36.0-r1": 431, "1.37.0": 432, "1.40": 432}
	for version, count := range counts {
		links, err := Links(version, nil)
		if err != nil || len(links) != count {
			t.Errorf("%s: %d links, %v; want %d", version, len(links), err, count)
		}
		for _, p := range []string{"bin/ls", "bin/sh", "usr/bin/awk", "usr/bin/[", "usr/bin/[[", "sbin/ifconfig", "usr/sbin/chroot"} {
			if !has(links, p) {
				t.Errorf("%s: no %s", version, p)
			}
		}
		if !slices.IsSortedFunc(links, func(a, b Link) int { return strings.Compare(a.Path, b.Path) }) {
			t.Errorf("%s: not sorted", version)
		}
	}
	for p, since := range map[string][2]string{"bin/base32": {"1.32.1-r9", "1.33.0"}, "usr/bin/ascii": {"1.33.2", "1.34.0"}, "usr/bin/tree": {"1.35.0-r29", "1.36.0-r0"},
		"usr/sbin/seedrng": {"1.35.0", "1.36.1"}, "usr/bin/getfattr": {"1.36.1-r15", "1.37.0-r0"}} {
		before, _ := Links(since[0], nil)
		after, _ := Links(since[1], nil)
		if has(before, p) || !has(after, p) {
			t.Errorf("%s: in %s %v, in %s %v", p, since[0], has(before, p), since[1], has(after, p))
		}
	}
}

// Only the extras' file: busybox's own links come from the table.
func TestLinksExtrasOnly(t *testing.T) {
	links, err := Links("1.35.0-r0", map[string][]byte{"busybox-extras": []byte("/usr/bin/dumpleases\n/usr/sbin/httpd\n")})
	if err != nil || !has(links, "bin/ls") || !slices.Contains(links, Link{"usr/sbin/httpd", "/bin/busybox-extras"}) || has(links, "usr/sbin/httpd") {
		t.Errorf("%d links, %v", len(links), err)
	}
}

// apko's table links /root/linuxrc (an artefact of how it was made), and
// /bin/bash in all versions but one.
func TestApkoDefect_BusyboxTableArtefacts(t *testing.T) {
	for _, version := range []string{"1.32.1", "1.34.0", "1.36.0"} {
		links, err := Links(version, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if l.Path == "bin/bash" || strings.HasPrefix(l.Path, "root") {
				t.Errorf("%s: %s", version, l.Path)
			}
		}
	}
}

func TestSUIDLinks(t *testing.T) {
	links := SUIDLinks()
	if len(links) != 8 || links[0] != (Link{"bin/mount", "/bin/bbsuid"}) || !slices.Contains(links, Link{"usr/bin/passwd", "/bin/bbsuid"}) {
		t.Errorf("%v", links)
	}
}

func TestLinksErrors(t *testing.T) {
	for text, want := range map[string]string{
		"bin/ls\n../../etc/passwd\n": `etc/busybox-paths.d/busybox: line 2: "../../etc/passwd": expected a clean path`,
		"..":                         `etc/busybox-paths.d/busybox: line 1: "..": expected a clean path`,
		"bin//ls":                    `etc/busybox-paths.d/busybox: line 1: "bin//ls": expected a clean path`,
		"bin/":                       `etc/busybox-paths.d/busybox: line 1: "bin/": expected a clean path`,
		"//bin/ls":                   `etc/busybox-paths.d/busybox: line 1: "//bin/ls": expected a clean path`,
		"bin/a\x00b":                 `etc/busybox-paths.d/busybox: line 1: "bin/a\x00b": expected a clean path`,
		".":                          `etc/busybox-paths.d/busybox: line 1: ".": expected a clean path`,
	} {
		links, err := Links("1.36", map[string][]byte{"busybox": []byte(text)})
		if links != nil || err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
	for version, want := range map[string]string{"": `busybox "": not a busybox version`, "latest": `busybox "latest": not a busybox version`} {
		if _, err := Links(version, nil); !errors.Is(err, ErrVersion) || err.Error() != want {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func FuzzLinks(f *testing.F) {
	f.Add([]byte("bin/ls\r\n/usr/bin/[\n"), "1.36.1-r15")
	f.Add([]byte("../x"), "1")
	f.Fuzz(func(t *testing.T, list []byte, version string) {
		links, err := Links(version, map[string][]byte{"busybox": list})
		if err != nil {
			return
		}
		for i, l := range links {
			if l.Path == "" || strings.HasPrefix(l.Path, "/") || strings.Contains("/"+l.Path+"/", "/../") || l.Target != "/bin/busybox" || i > 0 && links[i-1].Path >= l.Path {
				t.Errorf("link %d: %q", i, l)
			}
		}
	})
}
