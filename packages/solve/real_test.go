package solve

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBootRequests guards that the requests of which apk-tools made trees give
// the packages that it installed.
func TestBootRequests(t *testing.T) {
	repos := []Repository{{Index: realIndex(t, "alpine-3.19-boot", "x86_64", "APKINDEX.tar.gz")}}
	for _, name := range []string{"base", "ssh"} {
		sol, err := Solve(context.Background(), Request{
			World: world(t, readText(t, "trees", name+".request")), Repositories: repos,
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := strings.Fields(readText(t, "trees", name+".packages"))
		slices.Sort(want)
		if diff := cmp.Diff(want, sol.versions()); diff != "" {
			t.Errorf("%s: differs from apk-tools (-apk-tools +cairn):\n%s", name, diff)
		}
	}
}

func readText(t testing.TB, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(testdata(t, path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestInstallationOrder guards the order on the real indexes: as apk-tools
// installs, recorded from apk-tools 2.14.10.
func TestInstallationOrder(t *testing.T) {
	sol, err := Solve(context.Background(), Request{World: world(t, "py3-gatt-pyc"), Repositories: alpine(t)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range sol.Choices {
		got = append(got, c.Package.Name)
	}
	want := strings.Fields(`musl libexpat libbz2 libcrypto3 libffi gdbm xz-libs libgcc libstdc++ mpdecimal
		ncurses-terminfo-base libncursesw libpanelw readline sqlite-libs libssl3 zlib python3
		python3-pycache-pyc0 pyc python3-pyc py3-gatt-pyc`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-apk-tools +cairn)\n%s", diff)
	}
}

// TestRealFailures guards the explanations on real indexes.
func TestRealFailures(t *testing.T) {
	repos := alpine(t)
	for _, c := range []struct{ world, err string }{
		{"nginx<1.24", `
request: "nginx<1.24" cannot be installed:
  the request asks for nginx<1.24; there is only nginx-1.24.0-r16, openresty-1.21.4.3-r0 (as nginx without a version)`},
		{"python3 !libexpat", `
request: "!libexpat" and "python3" cannot be installed together:
  the request forbids libexpat: libexpat-2.6.2-r0
  the request asks for python3; python3-3.11.9-r0 is the only python3 (https://dl-cdn.alpinelinux.org/alpine/v3.19/main)
  python3-3.11.9-r0 depends on libexpat>=2.6.0; libexpat-2.6.2-r0 is the only libexpat (https://dl-cdn.alpinelinux.org/alpine/v3.19/main)`},
	} {
		_, err := Solve(context.Background(), Request{World: world(t, c.world), Repositories: repos})
		if err == nil {
			t.Errorf("%s: no error", c.world)
		} else if diff := cmp.Diff(lines(c.err), err.Error()); diff != "" {
			t.Errorf("%s:\n%s", c.world, diff)
		}
	}
}
