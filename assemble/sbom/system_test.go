package sbom

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSystem(t *testing.T) {
	for _, test := range []struct {
		in   string
		want system
	}{
		{osRelease, system{id: "alpine", name: "Alpine Linux", version: "3.19.1", cpe: "cpe:/o:alpinelinux:alpine_linux:3.19.1", home: "https://alpinelinux.org/", domain: "alpinelinux.org"}},
		{"# c\nID=wolfi\nNAME=Wolfi\nPRETTY_NAME=\"Wolfi\"\nVERSION_ID=\"20230201\"\nHOME_URL=\"https://wolfi.dev\"\n", system{id: "wolfi", name: "Wolfi", version: "20230201", home: "https://wolfi.dev", domain: "wolfi.dev"}},
		{"ID=x", system{id: "x", name: "x"}},
		{"NAME=\"a \\\"b\\\" \\$c\"", system{name: `a "b" $c`}},
		{"HOME_URL=javascript:alert(1)", system{}},
		{"ID", system{}},
		{"", system{}},
	} {
		if diff := cmp.Diff(test.want, parseSystem([]byte(test.in)), cmp.AllowUnexported(system{})); diff != "" {
			t.Errorf("%q: %s", test.in, diff)
		}
	}
}

func TestSupplier(t *testing.T) {
	alpine := parseSystem([]byte(osRelease))
	wolfi := parseSystem([]byte("ID=wolfi\nNAME=Wolfi\nHOME_URL=https://wolfi.dev\n"))
	for _, test := range []struct {
		name                        string
		sys                         system
		key, repository, maintainer string
		want                        string
	}{
		{"signed by the distribution", alpine, "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub", "http://mirror.example/x", "J <j@private.example>", "Organization: Alpine Linux"},
		{"its key name", wolfi, "wolfi-signing.rsa.pub", "", "", "Organization: Wolfi"},
		{"from its host", wolfi, "", "https://packages.wolfi.dev/os", "", "Organization: Wolfi"},
		{"from a mirror of it", alpine, "", "http://mirror.example/alpine/v3.19/main", "", "Organization: Alpine Linux"},
		{"by its maintainer", alpine, "", "", "N <ncopa@alpinelinux.org>", "Organization: Alpine Linux"},
		{"somebody's package", alpine, "me@example.org-1.rsa.pub", "https://apk.example.org/repo", "Me <me@example.org>", "Person: Me (me@example.org)"},
		{"a company's", alpine, "", "https://apk.example.org/repo", "Example Corp", "Organization: Example Corp"},
		{"only a host known", alpine, "", "https://apk.example.org:8443/repo", "", "Organization: apk.example.org"},
		{"a name that only looks alike", alpine, "x@evil-alpinelinux.org-1.rsa.pub", "https://notalpinelinux.org/x", "E <e@notalpinelinux.org>", "Person: E (e@notalpinelinux.org)"},
		{"nothing known but the system", alpine, "", "/srv/repo", "", "Organization: Alpine Linux"},
		{"nothing known", system{}, "", "", "", "NOASSERTION"},
	} {
		p := pkg(t, "x", "1", "", "")
		p.Receipt.SignatureKey, p.Repository, p.Receipt.Package.Maintainer = test.key, test.repository, test.maintainer
		if got := test.sys.supplier(&p).String(); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestParty(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"Natanael Copa <ncopa@alpinelinux.org>", "Person: Natanael Copa (ncopa@alpinelinux.org)"},
		{"<a@b>", "Person: a@b (a@b)"},
		{"Wolfi", "Organization: Wolfi"},
		{"Odd <no mail>", "Organization: Odd <no mail>"},
		{" two\n lines ", "Organization: two lines"},
		{"", "NOASSERTION"},
	} {
		p := parsePerson(test.in)
		if p.String() != test.want {
			t.Errorf("%q: %s, want %s", test.in, p, test.want)
		}
		if back := parseParty(p.String()); back != p {
			t.Errorf("%s reads back as %+v, want %+v", p, back, p)
		}
	}
	for _, s := range []string{"NOASSERTION", "Tool: x", "x", ""} {
		if p := parseParty(s); p != (Party{}) {
			t.Errorf("%q: %+v, want nobody", s, p)
		}
	}
}

func TestDownloadHidesSecretsAndPaths(t *testing.T) {
	for repository, want := range map[string]string{
		"https://user:secret@apk.example.org/os?x=1": "https://apk.example.org/os/x86_64/x-1.apk?x=1",
		"http://apk.example.org/os/":                 "http://apk.example.org/os/x86_64/x-1.apk",
		"/home/me/repo":                              "",
		"file:///srv/repo":                           "",
		"":                                           "",
		"https://%zz":                                "",
	} {
		p := pkg(t, "x", "1", "", "")
		p.Repository = repository
		if got := download(&p); got != want {
			t.Errorf("%q: %q, want %q", repository, got, want)
		}
	}
	if got := webURL("https://u:p@example.org/x"); got != "https://example.org/x" {
		t.Errorf("credentials kept: %s", got)
	}
	if got := redact("git+https://u:p@example.org/x"); got != "git+https://example.org/x" {
		t.Errorf("credentials kept: %s", got)
	}
}
