package rootfs

import (
	"context"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func withAccounts(runAs string, users []types.User, groups []types.Group) *config.Config {
	c := &config.Config{}
	c.Accounts = types.ImageAccounts{RunAs: runAs, Users: users, Groups: groups}
	return c
}

func TestAccounts(t *testing.T) {
	base := pkg("base-1-r0", "etc/passwd is=root:x:0:0::/root:/x|daemon:x:2:2::/srv/daemon:/x|ann:x:1000:1000::/home/ann:/x|nobody:x:65534:65534::/home/nobody:/x|",
		"etc/group is=root:x:0:|shadow:x:42:|", "etc/shadow mode=640 own=0:42 is=root:*:19757:0:99999:7:14::|")
	for _, c := range []struct {
		name  string
		cfg   *config.Config
		specs []apktest.Spec
		under []string
		want  string
		text  map[string]string
		err   string
	}{{
		name:  "nothing asked for: homes of root and of people",
		specs: []apktest.Spec{base},
		under: []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/home*", "/root", "/srv*"},
		want: `
/etc/group f 0644 0:0 23 d76e6c33 [package base]
/etc/passwd f 0644 0:0 118 98e6ee6a [package base]
/etc/shadow f 0640 0:42 28 fe1e9626 [package base]
/home d 0755 0:0 [generator implied-directory]
/home/ann d 0700 1000:1000 [config accounts]
/root d 0700 0:0 [config accounts]
`,
	}, {
		name:  "a user and a group",
		cfg:   withAccounts("", []types.User{{UserName: "app", UID: 900, GID: id(901), HomeDir: "/srv/app/home"}}, []types.Group{{GroupName: "app", GID: 901, Members: []string{"ann"}}}),
		specs: []apktest.Spec{base},
		under: []string{"/etc/group", "/etc/shadow", "/srv*"},
		want: `
/etc/group f 0644 0:0 37 2d3ac52d [config accounts]
/etc/shadow f 0640 0:42 41 47e93ec7 [config accounts]
/srv d 0755 0:0 [generator implied-directory]
/srv/app d 0755 0:0 [generator implied-directory]
/srv/app/home d 0700 900:901 [config accounts]
`,
		text: map[string]string{"etc/group": "root:x:0:\nshadow:x:42:\napp:x:901:ann\n", "etc/shadow": "root:*:19757:0:99999:7:14::\napp:!:::::::\n"},
	}, {
		name:  "files that are not there",
		cfg:   withAccounts("", []types.User{{UserName: "app", UID: 900}}, []types.Group{{GroupName: "shadow", GID: 77}}),
		under: []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/home*"},
		want: `
/etc/group f 0644 0:0 13 1b8f894e [config accounts]
/etc/passwd f 0644 0:0 57 846cd06c [config accounts]
/etc/shadow f 0640 0:77 13 baa2d9fd [config accounts]
/home d 0755 0:0 [generator implied-directory]
/home/app d 0700 900:900 [config accounts]
`,
		text: map[string]string{"etc/passwd": "app:x:900:900:Account created by cairn:/home/app:/bin/sh\n"},
	}, {
		name:  "the user that the image runs as",
		cfg:   withAccounts("daemon", nil, nil),
		specs: []apktest.Spec{base},
		under: []string{"/srv*"},
		want: `
/srv d 0755 0:0 [generator implied-directory]
/srv/daemon d 0700 2:2 [config accounts]
`,
	}, {
		name:  "the number that the image runs as",
		cfg:   withAccounts("65534:0", nil, nil),
		specs: []apktest.Spec{base},
		under: []string{"/home/nobody"},
		want:  "/home/nobody d 0700 65534:65534 [config accounts]",
	}, {
		name:  "a home that is there, also through a symlink, stays",
		cfg:   withAccounts("", []types.User{{UserName: "app", UID: 900, HomeDir: "/srv/l"}}, nil),
		specs: []apktest.Spec{base, pkg("x-1-r0", "root/ mode=711", "srv/d/", "srv/l -> d")},
		under: []string{"/root", "/srv/*"},
		want: `
/root d 0711 0:0 [package x]
/srv/d d 0755 0:0 [package x]
/srv/l l 0777 0:0 -> d [package x]
`,
	}, {
		name:  "a home that a file is in already",
		cfg:   &config.Config{Files: []config.File{{Path: "/home/ann/.profile", Bytes: []byte("x"), UID: 1000}}},
		specs: []apktest.Spec{base},
		under: []string{"/home*"},
		want: `
/home d 0755 0:0 [generator implied-directory]
/home/ann d 0700 1000:1000 [config accounts]
/home/ann/.profile f 0644 1000:0 1 2d711642 [config files[0]]
`,
	}, {
		name: "accounts that an included file gives too",
		cfg: withAccounts("", []types.User{{UserName: "app", UID: 900, GID: id(5)}, {UserName: "app", UID: 900, GID: id(5)}},
			[]types.Group{{GroupName: "g", GID: 5, Members: []string{"a"}}, {GroupName: "g", GID: 5, Members: []string{"b", "a"}}}),
		text: map[string]string{"etc/passwd": "app:x:900:5:Account created by cairn:/home/app:/bin/sh\n", "etc/group": "g:x:5:a,b\n"},
	}, {
		name: "accounts that contradict each other",
		cfg:  withAccounts("", []types.User{{UserName: "app", UID: 900}, {UserName: "app", UID: 900, Shell: "/bin/x"}}, nil),
		err:  "accounts: user \"app\": name app is given twice",
	}, {
		name: "accounts add to a passwd that files brings",
		cfg: func() *config.Config {
			c := withAccounts("", []types.User{{UserName: "app", UID: 900}}, nil)
			c.Files = []config.File{{Path: "/etc/passwd", Bytes: []byte("own:x:5:5::/:/x\n")}}
			return c
		}(),
		text: map[string]string{"etc/passwd": "own:x:5:5::/:/x\napp:x:900:900:Account created by cairn:/home/app:/bin/sh\n"},
	}, {
		name:  "packages' files belong to the configuration's users by name",
		cfg:   withAccounts("", []types.User{{UserName: "www", UID: 65532}}, []types.Group{{GroupName: "web", GID: 65000}}),
		specs: []apktest.Spec{base, pkg("x-1-r0", "srv/d/ own=101:102 name=www:web")},
		under: []string{"/srv/d"},
		want:  "/srv/d d 0755 65532:65000 [package x]",
	}, {
		name:  "a home that is a file",
		cfg:   withAccounts("", []types.User{{UserName: "app", UID: 900, HomeDir: "/srv/f"}}, nil),
		specs: []apktest.Spec{pkg("x-1-r0", "srv/f")},
		err:   "accounts: home directory of app: /srv/f: not a directory, x has a file there",
	}, {
		name:  "a home below a file",
		cfg:   withAccounts("", []types.User{{UserName: "app", UID: 900, HomeDir: "/srv/f/home"}}, nil),
		specs: []apktest.Spec{pkg("x-1-r0", "srv/f")},
		err:   "accounts: home directory of app: srv/f: not a directory",
	}, {
		name:  "a system user's home that cannot be",
		specs: []apktest.Spec{pkg("x-1-r0", "srv/f", "etc/passwd is=u:x:1001:1::/srv/f/home:/x|")},
		under: []string{"/srv/*"},
		want:  "/srv/f f 0644 0:0 5 e86e2e0a [package x]",
	}, {
		name:  "an id that the image has under this name already",
		cfg:   withAccounts("", []types.User{{UserName: "ann", UID: 900}}, nil),
		specs: []apktest.Spec{base},
		err:   "accounts: ",
	}, {
		name:  "a passwd that is a directory",
		specs: []apktest.Spec{pkg("x-1-r0", "etc/passwd/")},
		err:   "/etc/passwd: expected a regular file",
	}} {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, c.cfg, c.specs...)
			tree, err := Plan(context.Background(), in)
			if c.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.err) {
					t.Errorf("error %v, expected %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.Validate(); err != nil {
				t.Error(err)
			}
			if len(c.under) > 0 {
				if diff := cmp.Diff(strings.TrimSpace(c.want), strings.TrimSpace(dump(t, tree, c.under...))); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
			for p, want := range c.text {
				if got := content(t, tree, p); got != want {
					t.Errorf("/%s: %q, expected %q", p, got, want)
				}
			}
		})
	}
}

func TestRunAs(t *testing.T) {
	base := pkg("base-1-r0", "etc/passwd is=daemon:x:2:2::/:/x|", "etc/group is=web:x:44:|")
	for runAs, want := range map[string]string{"": "", "daemon": "2", "daemon:web": "2:44", "app": "900", "7:8": "7:8", "nobody-knows": "nobody-knows"} {
		tree := plan(t, input(t, withAccounts(runAs, []types.User{{UserName: "app", UID: 900}}, nil), base))
		if tree.User != want {
			t.Errorf("%q: %q, expected %q", runAs, tree.User, want)
		}
	}
	tree := plan(t, input(t, withAccounts("", []types.User{{UserName: "other", UID: 2}}, nil), base))
	if len(tree.Warnings) != 1 || !strings.Contains(tree.Warnings[0], "daemon") {
		t.Errorf("warnings %q", tree.Warnings)
	}
}
