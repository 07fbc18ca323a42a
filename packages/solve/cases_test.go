package solve

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/google/go-cmp/cmp"
)

func alpine(t testing.TB) []Repository {
	t.Helper()
	var out []Repository
	for _, name := range []string{"main", "community"} {
		out = append(out, Repository{
			Index: realIndex(t, "alpine-3.19", name, "x86_64", "APKINDEX.tar.gz"),
			URL:   "https://dl-cdn.alpinelinux.org/alpine/v3.19/" + name,
		})
	}
	return out
}

func world(t testing.TB, atoms ...string) []apk.Dependency {
	t.Helper()
	w, err := apk.ParseDependencies(strings.Join(atoms, " "))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// versions lists "name=version", sorted.
func (s *Solution) versions() []string {
	out := make([]string, len(s.Choices))
	for i, c := range s.Choices {
		out[i] = c.Package.Name + "=" + c.Package.Version
	}
	slices.Sort(out)
	return out
}

// TestRealRequests guards that the 250 recorded requests on the real Alpine 3.19
// indexes give the packages that apk-tools 2.14.10 chose.
func TestRealRequests(t *testing.T) {
	repos := alpine(t)
	f, err := os.Open(testdata(t, "resolver", "cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	cases := 0
	for ; lines.Scan(); cases++ {
		if testing.Short() && cases%5 > 0 {
			continue
		}
		var c struct{ World, Apk2 []string }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		sol, err := Solve(context.Background(), Request{World: world(t, c.World...), Repositories: repos})
		if err != nil {
			t.Errorf("%s: %v", c.World, err)
			continue
		}
		slices.Sort(c.Apk2)
		if diff := cmp.Diff(c.Apk2, sol.versions()); diff != "" {
			t.Errorf("%s: differs from apk-tools (-apk-tools +cairn):\n%s", c.World, diff)
		}
	}
	if err := lines.Err(); err != nil || cases < 250 {
		t.Errorf("%d cases read, expected 250: %v", cases, err)
	}
}
