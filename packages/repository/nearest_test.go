package repository

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestNearest(t *testing.T) {
	names := []string{"python3", "python3-dev", "py3-pip", "openssl", "openssl-dev", "curl", "libcurl", "nginx", "nginx-mod-http", "vim", "gvim", "bash", "dash"}
	var ps, qs []string
	for i, n := range names {
		if i%2 == 0 {
			ps = append(ps, n)
		} else {
			qs = append(qs, n)
		}
	}
	a, b := indexOf(t, ps...), indexOf(t, append(qs, "curl")...)
	for _, c := range []struct {
		name string
		n    int
		want []string
	}{
		{"pyhton3", 3, []string{"python3"}},
		{"python", 3, []string{"python3", "python3-dev"}},
		{"opensll", 1, []string{"openssl"}},
		{"OpenSSL", 1, []string{"openssl"}},
		{"ngnix", 2, []string{"nginx"}},
		{"ash", 5, []string{"bash", "dash"}},
		{"crul", 5, []string{"curl"}},
		{"bash", 5, []string{"dash"}},
		{"nginx-", 5, []string{"nginx", "nginx-mod-http"}},
		{"zzzzzz", 5, nil},
		{"", 5, nil},
		{"bash", 0, nil},
	} {
		got := Nearest(c.name, c.n, a, b)
		if len(got) == 0 {
			got = nil
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if got := a.Nearest("pyton3", 1); !cmp.Equal(got, []string{"python3"}) {
		t.Error(got)
	}
}

func indexOf(t *testing.T, names ...string) *Index {
	t.Helper()
	var packages []*apk.Package
	for _, n := range names {
		packages = append(packages, pkg(n, "1-r0"))
	}
	ix, err := NewIndex(packages...)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "axc", 1},
		{"kitten", "sitting", 3}, {"ca", "abc", 3}, {"abcdef", "abcdfe", 1},
	} {
		if got := distance(c.a, c.b, 9); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a, 9); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.b, c.a, got, c.want)
		}
	}
	if got := distance("kitten", "sitting", 1); got <= 1 {
		t.Errorf("beyond worst: %d", got)
	}
}
