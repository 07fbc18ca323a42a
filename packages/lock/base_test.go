package lock

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// onBase is the sample on a base image.
func onBase() *Lock {
	l := sample()
	l.Cairn.Format = FormatBase
	l.Cairn.Request.Base = []Base{
		{Architecture: "x86_64", Image: digest(1), Index: digest(2), Packages: []string{"base=1-r0", "lib=2-r0"}},
		{Architecture: "riscv64", Image: digest(3), Index: digest(4), Packages: []string{}},
	}
	return l
}

func TestBaseReadsBackTheSame(t *testing.T) {
	b, err := onBase().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(onBase().Cairn.Request.Base, l.Cairn.Request.Base); diff != "" {
		t.Error(diff)
	}
	if base := l.Base("x86_64"); base.Version("lib") != "2-r0" || base.Version("li") != "" || base.Version("none") != "" {
		t.Errorf("base %+v", base)
	}
	if l.Base("aarch64") != nil || (&Lock{}).Base("x86_64") != nil {
		t.Error("a base that is not there")
	}
	if diff := cmp.Diff([]string{"x86_64", "aarch64", "riscv64"}, l.Architectures()); diff != "" {
		t.Error(diff)
	}
	if b, _ := sample().Marshal(); strings.Contains(string(b), `"base"`) {
		t.Error("a lock without a base names one")
	}
}

func TestParseRefusesBase(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Lock)
		want   string
	}{
		{"no architecture", func(l *Lock) { l.Cairn.Request.Base[1].Architecture = "" }, "invalid lock: cairn.request.base[1]: architecture: missing"},
		{"no image", func(l *Lock) { l.Cairn.Request.Base[0].Image = digest(0) }, "invalid lock: cairn.request.base[0]: image and index are required"},
		{"no index", func(l *Lock) { l.Cairn.Request.Base[0].Index = digest(0) }, "invalid lock: cairn.request.base[0]: image and index are required"},
		{"twice", func(l *Lock) { l.Cairn.Request.Base[1].Architecture = "x86_64" }, "invalid lock: cairn.request.base[1]: x86_64 stands twice"},
		{"package of the base", func(l *Lock) { l.Cairn.Request.Base[0].Packages = []string{"musl=1-r0"} },
			"invalid lock: contents.packages[0]: musl: the base image holds musl-1-r0"},
	} {
		l := onBase()
		test.change(l)
		b, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(b); err == nil || err.Error() != test.want {
			t.Errorf("%s:\nfound    %v\nexpected %s", test.name, err, test.want)
		}
	}
}

func TestStaleBase(t *testing.T) {
	l := onBase()
	with := func(change func(*Request)) []string {
		r := l.Cairn.Request
		r.Base = append([]Base{}, r.Base...)
		change(&r)
		return l.Stale(r)
	}
	for _, test := range []struct {
		name   string
		change func(*Request)
		want   []string
	}{
		{"same", func(*Request) {}, nil},
		{"fewer architectures", func(r *Request) { r.Base = r.Base[:1] }, nil},
		{"image", func(r *Request) { r.Base[0].Image = digest(9) },
			[]string{"base image (x86_64): locked " + digest(1).String() + ", now " + digest(9).String()}},
		{"index", func(r *Request) { r.Base[1].Index = digest(9) },
			[]string{"index of the base image (riscv64): locked " + digest(4).String() + ", now " + digest(9).String()}},
		{"another architecture", func(r *Request) { r.Base[1].Architecture = "s390x" },
			[]string{"base image (s390x): locked none, now " + digest(3).String()}},
		{"no base any more", func(r *Request) { r.Base = nil }, []string{
			"base image (x86_64): locked " + digest(1).String() + ", now none", "base image (riscv64): locked " + digest(3).String() + ", now none"}},
	} {
		if diff := cmp.Diff(test.want, with(test.change)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	if got := sample().Stale(l.Cairn.Request); len(got) != 2 || !strings.HasPrefix(got[0], "base image (x86_64): locked none, now ") {
		t.Errorf("a base that is new: %v", got)
	}
}
