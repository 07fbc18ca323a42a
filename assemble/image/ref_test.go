package image

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

func TestParseTag(t *testing.T) {
	for _, test := range []struct{ in, full, familiar string }{
		{"hello", "docker.io/library/hello:latest", "hello:latest"},
		{"a", "docker.io/library/a:latest", "a:latest"},
		{"hello:1.0_a-b", "docker.io/library/hello:1.0_a-b", "hello:1.0_a-b"},
		{"team/hello", "docker.io/team/hello:latest", "team/hello:latest"},
		{"docker.io/hello:1", "docker.io/library/hello:1", "hello:1"},
		{"index.docker.io/library/hello", "docker.io/library/hello:latest", "hello:latest"},
		{"localhost/x", "localhost/x:latest", "localhost/x:latest"},
		{"localhost:5000/x/y:z", "localhost:5000/x/y:z", "localhost:5000/x/y:z"},
		{"ghcr.io/a/b/c-d__e.f", "ghcr.io/a/b/c-d__e.f:latest", "ghcr.io/a/b/c-d__e.f:latest"},
		{"[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"},
		{"a---b", "docker.io/library/a---b:latest", "a---b:latest"},
	} {
		r, err := ParseTag(test.in)
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		if r.String() != test.full || r.Familiar() != test.familiar {
			t.Errorf("%s: %s and %s, want %s and %s", test.in, r, r.Familiar(), test.full, test.familiar)
		}
		if again, err := ParseTag(r.String()); err != nil || again != r {
			t.Errorf("%s reads back as %+v, %v", r, again, err)
		}
	}
}

func TestValidateTagRefuses(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, test := range []struct{ in, want string }{
		{"", `tag "": empty: expected [registry/]repository[:tag]`},
		{"hello@sha256:" + strings.Repeat("0", 64), `tag "hello@sha256:` + strings.Repeat("0", 64) + `": names a digest: expected [registry/]repository[:tag]`},
		{"docker://hello", `tag "docker://hello": begins with "docker://": expected [registry/]repository[:tag] without a scheme`},
		{"https://ghcr.io/x", `tag "https://ghcr.io/x": begins with "https://": expected [registry/]repository[:tag] without a scheme`},
		{"hello:", `tag "hello:": nothing after the colon: expected a tag`},
		{"hello:a b", `tag "hello:a b": character ' ' in "a b": expected a tag of letters, digits, "_.-", not beginning with "." or "-"`},
		{"hello:.a", `tag "hello:.a": character '.' in ".a": expected a tag of letters, digits, "_.-", not beginning with "." or "-"`},
		{"hello:" + long, `tag "hello:` + long[:194] + `": 300 characters after the colon: expected at most 128`},
		{"Hello", `tag "Hello": upper-case letters in repository "Hello": expected lower case, as in "hello"`},
		{"team/Hello:1", `tag "team/Hello:1": upper-case letters in repository "team/Hello": expected lower case, as in "team/hello"`},
		{"team//hello", `tag "team//hello": empty part in repository "team//hello"`},
		{"/hello", `tag "/hello": empty part in repository "/hello"`},
		{"hello/", `tag "hello/": empty part in repository "hello/"`},
		{"a..b", `tag "a..b": repository "a..b": part "a..b": expected lower-case letters and digits, separated by ".", "_", "__" or dashes`},
		{"-a", `tag "-a": repository "-a": part "-a": expected lower-case letters and digits, separated by ".", "_", "__" or dashes`},
		{"a_", `tag "a_": repository "a_": part "a_": expected lower-case letters and digits, separated by ".", "_", "__" or dashes`},
		{"../etc", `tag "../etc": registry "..": expected a host name with an optional port`},
		{"a/../b", `tag "a/../b": repository "a/../b": part "..": expected lower-case letters and digits, separated by ".", "_", "__" or dashes`},
		{"ex_ample.org/a", `tag "ex_ample.org/a": registry "ex_ample.org": expected a host name with an optional port`},
		{"example.org:x/a", `tag "example.org:x/a": port "x" of registry "example.org:x": expected a number`},
		{"example.org:/a", `tag "example.org:/a": port "" of registry "example.org:": expected a number`},
		{long, `tag "` + long[:200] + `": repository of 300 characters: expected at most 255`},
		{"hällo", `tag "hällo": repository "hällo": part "hällo": expected lower-case letters and digits, separated by ".", "_", "__" or dashes`},
	} {
		if err := ValidateTag(test.in); err == nil || err.Error() != test.want {
			t.Errorf("%.60s:\ngot  %v\nwant %s", test.in, err, test.want)
		}
	}
}

// What is accepted, go-containerregistry accepts too, and reads the same way.
func FuzzParseTag(f *testing.F) {
	for _, s := range []string{"hello", "a/b:c", "localhost:5000/x", "ghcr.io/a__b", "[::1]/x", "x@y", "A/b", "a--b.c/d_e", "a:b/c:d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseTag(s)
		if err != nil {
			return
		}
		again, err := ParseTag(r.String())
		if err != nil || again != r {
			t.Fatalf("%q: %s reads back as %v, %v", s, r, again, err)
		}
		if strings.HasPrefix(r.Registry, "[") || len(r.Repository) < 2 {
			return // stricter there
		}
		theirs, err := name.NewTag(r.String())
		if err != nil {
			t.Fatalf("%q: %s: %v", s, r, err)
		}
		if theirs.RepositoryStr() != r.Repository || theirs.TagStr() != r.Tag {
			t.Errorf("%q: %+v, but theirs is %s %s", s, r, theirs.RepositoryStr(), theirs.TagStr())
		}
	})
}
