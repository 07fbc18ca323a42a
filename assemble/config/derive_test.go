package config

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestWorld(t *testing.T) {
	c := load(t, "contents:\n  repositories: ['@edge https://a.example']\n"+
		"  packages: [zlib, 'bash=5.2-r0', zlib, 'curl@edge', 'git@edge>=2', 'jq=1@edge', '!busybox', 'so:libz.so.1', 'a~1.2', 'b><Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=']\n")
	world, err := c.World()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range world {
		got = append(got, d.String())
	}
	want := []string{"!busybox", "a~1.2", "b><Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "bash=5.2-r0", "curl@edge", "git@edge>=2", "jq@edge=1", "so:libz.so.1", "zlib"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestApkoDefect_OperatorsIgnored: apko reads "~=", "==" and "><" as any version.
func TestApkoDefect_OperatorsIgnored(t *testing.T) {
	world, err := load(t, "contents: {packages: ['a~=9', 'b==1', 'c><Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=']}").World()
	if err != nil {
		t.Fatal(err)
	}
	want := []apk.Op{apk.OpFuzzy, apk.OpEqual, apk.OpChecksum}
	for i, d := range world {
		if d.Op&want[i] != want[i] || d.Version == "" {
			t.Errorf("%+v: expected operator %v", d, want[i])
		}
	}
}

// TestApkoDefect_ConflictRefused: apko cannot keep a package out.
func TestApkoDefect_ConflictRefused(t *testing.T) {
	world, err := load(t, "contents: {packages: ['!busybox', '!ssl<3']}").World()
	if err != nil || len(world) != 2 || !world[0].Conflict || !world[1].Conflict {
		t.Errorf("found %v, %v", world, err)
	}
}

// TestApkoDefect_UnknownTagAccepted: apko takes a tag that no repository has
// for no tag at all.
func TestApkoDefect_UnknownTagAccepted(t *testing.T) {
	c := load(t, "contents:\n  repositories: ['@edge https://a.example', '@local ./packages']\n  packages:\n    - curl@egde\n")
	_, err := c.World()
	want := `image.yaml:4:7: contents.packages[0]: unknown tag: found "curl@egde", expected a repository written "@egde URL"; there are @edge, @local`
	if err == nil || err.Error() != want {
		t.Errorf("found\n%v\nexpected\n%s", err, want)
	}
	if err := c.Apply(Overrides{Repositories: []string{"@egde https://b.example"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.World(); err != nil {
		t.Errorf("with the repository from a flag: %v", err)
	}
	if err := c.Apply(Overrides{Packages: []string{"jq@x"}}); err != nil {
		t.Fatal(err)
	}
	_, err = c.World()
	want = `--package-append: unknown tag: found "jq@x", expected a repository written "@x URL"; there are @edge, @local, @egde`
	if err == nil || err.Error() != want {
		t.Errorf("found\n%v\nexpected\n%s", err, want)
	}
}

func TestRepositories(t *testing.T) {
	c := load(t, "contents:\n"+
		"  build_repositories: [./packages/, https://z.example]\n"+
		"  repositories: [https://z.example/, https://b.example///, '@edge https://e.example/', /]\n"+
		"  runtime_repositories: [https://a.example, https://b.example]\n")
	build := []Repository{{"", "./packages"}, {"", "https://z.example"}, {"", "https://b.example"}, {"edge", "https://e.example"}, {"", "/"}}
	if diff := cmp.Diff(build, c.BuildSources()); diff != "" {
		t.Errorf("build: %s", diff)
	}
	var lines []string
	for _, r := range c.RuntimeRepositories() {
		lines = append(lines, r.String())
	}
	want := []string{"/", "@edge https://e.example", "https://a.example", "https://b.example", "https://z.example"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("runtime: %s", diff)
	}
}

func TestRepositoryKeys(t *testing.T) {
	c := load(t, "contents: {repositories: [https://a.example/os], keyring: [b.pub, a.pub, b.pub]}\n"+
		"keyrings:\n  https://a.example/os/: [k.pub]\n  https://b.example: [l.pub]\n  https://a.example/so: [m.pub]\n")
	_, err := c.RepositoryKeys()
	want := "image.yaml:4:3: keyrings.https://b.example: no such repository: found \"https://b.example\", expected one of repositories or build_repositories\n" +
		"  hint: did you mean https://a.example/os?\n" +
		"image.yaml:5:3: keyrings.https://a.example/so: no such repository: found \"https://a.example/so\", expected one of repositories or build_repositories\n" +
		"  hint: did you mean https://a.example/os?"
	if err == nil || err.Error() != want {
		t.Errorf("found\n%v\nexpected\n%s", err, want)
	}
	if err := c.Apply(Overrides{BuildRepositories: []string{"https://b.example", "https://a.example/so"}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.RepositoryKeys()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"https://a.example/os": {"k.pub"}, "https://b.example": {"l.pub"}, "https://a.example/so": {"m.pub"}}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a.pub", "b.pub"}, c.Keyring()); diff != "" {
		t.Error(diff)
	}
}

func TestCommands(t *testing.T) {
	for _, tc := range []struct {
		text            string
		entrypoint, cmd []string
	}{
		{"work-dir: /", nil, nil},
		{"cmd: ''", nil, nil},
		{"entrypoint: {command: '/bin/sh -c \"a b\"'}\ncmd: x 'y z'", []string{"/bin/sh", "-c", "a b"}, []string{"x", "y z"}},
		{"entrypoint: {shell-fragment: 'exec \"$@\" # it''s'}", []string{"/bin/sh", "-c", `exec "$@" # it's`}, nil},
		{"entrypoint: {shell-fragment: a, command: b}", []string{"/bin/sh", "-c", "a"}, nil},
		{"entrypoint: {type: service-bundle, services: {a: b}}", []string{"/bin/s6-svscan", "/sv"}, nil},
	} {
		c := load(t, tc.text)
		if diff := cmp.Diff(tc.entrypoint, c.EntrypointArgs()); diff != "" {
			t.Errorf("%s: entrypoint: %s", tc.text, diff)
		}
		if diff := cmp.Diff(tc.cmd, c.CmdArgs()); diff != "" {
			t.Errorf("%s: cmd: %s", tc.text, diff)
		}
	}
}

func TestServiceBundle(t *testing.T) {
	for text, want := range map[string][]string{
		"entrypoint: {type: service-bundle, services: {a: b}}":                                {"s6"},
		"entrypoint: {type: service-bundle, services: {a: b}}\ncontents: {packages: [s6, a]}": {"s6", "a"},
		"entrypoint: {command: a}": nil,
	} {
		if diff := cmp.Diff(want, load(t, text).Contents.Packages); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestEnv(t *testing.T) {
	got := load(t, "environment: {PATH: /bin, B: 1, A: true, EMPTY: , ZERO: 007}").Env()
	want := []string{"A=true", "B=1", "EMPTY=", "PATH=/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "ZERO=007"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := load(t, "cmd: a").Env()[0]; got != "PATH=/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin" {
		t.Errorf("found %s", got)
	}
}

func TestAccounts(t *testing.T) {
	c := load(t, `
accounts:
  run-as: app
  users:
    - {username: app, uid: 1000}
    - {username: app, uid: 1000, gid: 1000, shell: /bin/sh, homedir: /home/app}
    - {username: other, uid: 5, gid: 0, shell: /bin/false, homedir: /nonexistent}
    - {username: same, uid: 5}
  groups:
    - {groupname: app, gid: 1000}
    - {groupname: app, gid: 1000}
    - {groupname: nogid}
`)
	gid := func(g uint32) types.GID { return &g }
	want := []types.User{
		{UserName: "app", UID: 1000, GID: gid(1000), Shell: "/bin/sh", HomeDir: "/home/app"},
		{UserName: "other", UID: 5, GID: gid(0), Shell: "/bin/false", HomeDir: "/nonexistent"},
		{UserName: "same", UID: 5, GID: gid(5), Shell: "/bin/sh", HomeDir: "/home/same"},
	}
	if diff := cmp.Diff(want, c.Users()); diff != "" {
		t.Error(diff)
	}
	if got := c.User(); got != "1000" {
		t.Errorf("user %q", got)
	}
	var warnings []string
	for _, w := range c.Warnings {
		warnings = append(warnings, w.String())
	}
	if diff := cmp.Diff([]string{
		"image.yaml:6:7: accounts.users[1]: duplicate user: app is the same at image.yaml:5:7",
		"image.yaml:8:29: accounts.users[3].uid: shared number: found 5 for same, which other has too",
		"image.yaml:11:7: accounts.groups[1]: duplicate group: app is the same at image.yaml:10:7",
		"image.yaml:12:7: accounts.groups[2].gid: missing: the group gets number 0, which is root's",
	}, warnings); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"cmd: a": "", "accounts: {run-as: 0}": "0", "accounts: {run-as: www-data}": "www-data",
		"accounts: {run-as: 'a:b'}": "a:b", "accounts: {run-as: '65532:0'}": "65532:0",
	} {
		if got := load(t, text).User(); got != want {
			t.Errorf("%s: user %q, expected %q", text, got, want)
		}
	}
}

func TestArchitectures(t *testing.T) {
	all := []string{"linux/386", "linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7", "linux/loong64", "linux/ppc64le", "linux/riscv64", "linux/s390x"}
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"cmd: a", all},
		{"archs: []", all},
		{"archs: [all]", all},
		{"archs: [x86_64, amd64, aarch64]", []string{"linux/amd64", "linux/arm64"}},
		{"archs: [s390x, armhf, arm/v7, 386]", []string{"linux/s390x", "linux/arm/v6", "linux/arm/v7", "linux/386"}},
		{"archs: [s390x, all]", append([]string{"linux/s390x"}, slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "linux/s390x" })...)},
	} {
		var got []string
		for _, a := range load(t, tc.text).Architectures() {
			got = append(got, a.String())
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", tc.text, diff)
		}
	}
	var names []string
	for _, a := range load(t, "archs: [all]").Architectures() {
		names = append(names, a.APK)
	}
	if diff := cmp.Diff([]string{"x86", "x86_64", "aarch64", "armhf", "armv7", "loongarch64", "ppc64le", "riscv64", "s390x"}, names); diff != "" {
		t.Error(diff)
	}
	if got := load(t, "archs: [host]").Architectures(); len(got) != 1 {
		t.Errorf("host: %v", got)
	}
	for in, want := range map[[2]string]types.Architecture{
		{"amd64", ""}: "amd64", {"arm", "6"}: "arm/v6", {"arm", "7"}: "arm/v7", {"arm", ""}: "arm/v7", {"386", "sse2"}: "386",
	} {
		if got := hostArch(in[0], in[1]); got != want {
			t.Errorf("host %v: %s, expected %s", in, got, want)
		}
	}
}

func TestLayers(t *testing.T) {
	for text, want := range map[string][2]any{
		"cmd: a":                       {"package", 100},
		"layering: {}":                 {"package", 100},
		"layering: {budget: 5}":        {"package", 5},
		"layering: {strategy: origin}": {"origin", 100},
		"layering: {strategy: origin, budget: 127}": {"origin", 127},
		"layering: {strategy: single}":              {"single", 1},
	} {
		strategy, budget := load(t, text).Layers()
		if strategy != want[0] || budget != want[1] {
			t.Errorf("%s: %s %d, expected %v", text, strategy, budget, want)
		}
	}
}

func TestPermissionsGiven(t *testing.T) {
	c := load(t, "paths:\n- {path: /a, type: symlink, source: b}\n- {path: /a, type: directory, permissions: 0}\n- {path: /c, type: directory, permissions: 0o700}\n")
	for i, want := range []bool{false, true, true} {
		if got := c.PermissionsGiven(i); got != want {
			t.Errorf("%d: %v", i, got)
		}
	}
	c = &Config{ImageConfiguration: c.ImageConfiguration}
	if c.PermissionsGiven(0) || !c.PermissionsGiven(2) {
		t.Error("without positions, permissions other than 0 count as given")
	}
}

func TestImageAnnotations(t *testing.T) {
	const source, revision = "org.opencontainers.image.source", "org.opencontainers.image.revision"
	for _, tc := range []struct {
		text string
		want map[string]string
	}{
		{"cmd: a", map[string]string{}},
		{"vcs-url: https://h/r@c0ffee", map[string]string{source: "https://h/r", revision: "c0ffee"}},
		{"vcs-url: https://h/r@c0ffee\nannotations: {" + source + ": x, a: b}", map[string]string{source: "https://h/r", revision: "c0ffee", "a": "b"}},
		{"vcs-url: git+ssh://git@h/r@c0ffee", map[string]string{source: "git+ssh://git@h/r", revision: "c0ffee"}},
		{"vcs-url: git@h:r", map[string]string{source: "git", revision: "h:r"}},
		{"vcs-url: https://git@h/r", map[string]string{}},
	} {
		c := load(t, tc.text)
		before := maps.Clone(c.Annotations)
		if diff := cmp.Diff(tc.want, c.ImageAnnotations()); diff != "" {
			t.Errorf("%s: %s", tc.text, diff)
		}
		if !maps.Equal(before, c.Annotations) {
			t.Errorf("%s: the configuration changed", tc.text)
		}
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"paths: [{path: /a, type: directory, permissions: 755}]":                "image.yaml:1:50: paths[0].permissions: decimal permissions: found 755, which is 0o1363\n  hint: write 0o755 if that is meant",
		"paths: [{path: /a, type: directory, permissions: 493}]":                "",
		"paths: [{path: /a, type: directory, permissions: 420}]":                "",
		"paths: [{path: /a, type: directory, permissions: 0755}]":               "",
		"paths: [{path: /a, type: directory, permissions: 0o1777}]":             "",
		"paths: [{path: /a, type: directory}]":                                  "image.yaml:1:9: paths[0].permissions: missing: apko sets mode 0 then; expected such as 0o755",
		"paths: [{path: /a, type: symlink, source: b}]":                         "",
		"paths: [{path: /a, type: symlink, source: b, recursive: true}]":        "image.yaml:1:57: paths[0].recursive: without effect: only directory and permissions go below their path",
		"paths: [{path: /a, type: directory, source: b, permissions: 0o755}]":   "image.yaml:1:45: paths[0].source: without effect: type directory has no source",
		"files: [{path: /a, content: x, mode: 644}]":                            "image.yaml:1:38: files[0].mode: decimal permissions: found 644, which is 0o1204\n  hint: write 0o644 if that is meant",
		"layering: {strategy: single, budget: 5}":                               "image.yaml:1:38: layering.budget: without effect: strategy single makes one layer",
		"entrypoint: {command: a, shell-fragment: b}":                           "image.yaml:1:42: entrypoint.shell-fragment: replaces the command: expected one of command, shell-fragment and type: service-bundle",
		"entrypoint: {type: service-bundle, command: a}":                        "image.yaml:1:45: entrypoint.command: without effect: a service bundle runs /bin/s6-svscan /sv",
		"entrypoint: {services: {a: b}}":                                        "image.yaml:1:24: entrypoint.services: not started: expected type: service-bundle beside it",
		"vcs-url: https://h/r":                                                  `image.yaml:1:10: vcs-url: no revision: found "https://h/r", expected URL@REVISION; no annotation is made of it`,
		"contents: {keyring: [a/k.pub, b/k.pub, a/k.pub]}":                      "image.yaml:1:31: contents.keyring[1]: key name twice: found b/k.pub, but a key at image.yaml:1:22 is also named k.pub",
		"contents: {repositories: [https://a.example, '@t https://a.example']}": "image.yaml:1:46: contents.repositories[1]: repository twice: found @t https://a.example, which stands at image.yaml:1:27 with another tag",
		"contents: {repositories: [https://a.example, https://a.example/]}":     "",
	} {
		got := ""
		for _, w := range load(t, text).Warnings {
			got += w.String()
		}
		if got != want {
			t.Errorf("%s: found\n%s\nexpected\n%s", text, got, want)
		}
	}
}

func TestApply(t *testing.T) {
	c := load(t, "contents: {packages: [a], repositories: [https://a.example]}\nannotations: {x: old, y: kept}\narchs: [amd64]\npaths: [{path: /a, type: directory, permissions: 755}]\n")
	err := c.Apply(Overrides{
		Repositories: []string{"https://b.example/", "@t ./packages"}, BuildRepositories: []string{"c"},
		Keyring: []string{"k.pub", "builtin://demo/demo.rsa.pub"}, Packages: []string{"b@t", "!d"},
		Annotations: map[string]string{"x": "new", "z": "added"}, Archs: []string{"s390x", "aarch64", "arm64"},
		VCSURL: "https://h/r@1",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := load(t, `
contents:
  packages: [a, b@t, "!d"]
  repositories: [https://a.example, https://b.example, "@t ./packages"]
  build_repositories: [c]
  keyring: [k.pub, "builtin://demo/demo.rsa.pub"]
annotations: {x: new, "y": kept, z: added}
archs: [arm64, s390x]
vcs-url: https://h/r@1
paths: [{path: /a, type: directory, permissions: 0o1363}]
`)
	if diff := cmp.Diff(want.ImageConfiguration, c.ImageConfiguration); diff != "" {
		t.Error(diff)
	}
	if len(c.Warnings) != 1 {
		t.Errorf("warnings %v, expected that of before", c.Warnings)
	}
	if _, err := c.World(); err != nil {
		t.Error(err)
	}
}

func TestApplyMistakes(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Overrides
		want string
	}{
		{"repository", Overrides{Repositories: []string{"ok", "ftp://u:secret@x"}},
			`--repository-append: invalid repository: found "ftp://u:xxxxx@x", expected https://, http://, file://, builtin:// or a directory`},
		{"build repository", Overrides{BuildRepositories: []string{"@a"}},
			`--build-repository-append: invalid repository: found "@a", expected "@tag URL"`},
		{"key", Overrides{Keyring: []string{""}},
			`--keyring-append: invalid key location: found nothing, expected https://, http://, file://, builtin://NAME/FILE, a file or PEM text`},
		{"package", Overrides{Packages: []string{"a b", "c="}},
			"--package-append: invalid package: found white space in \"a b\", expected one package such as \"openssl>=3.1\"\n" +
				`--package-append: invalid package: found "c=": no version after "="`},
		{"annotation", Overrides{Annotations: map[string]string{"a b": "c", "": "d"}},
			"--annotations: impossible value: found annotation key \"\", expected one without white space and \"=\" and not empty\n" +
				`--annotations: impossible value: found annotation key "a b", expected one without white space and "=" and not empty`},
		{"architecture", Overrides{Archs: []string{"x64"}},
			"--arch: unknown architecture: found \"x64\", expected one of 386, x86, amd64, x86_64, arm64, aarch64, arm/v6, armhf, arm/v7, armv7, loong64, loongarch64, ppc64le, riscv64, s390x, all, host"},
		{"VCS", Overrides{VCSURL: "a b"}, `--vcs-url: impossible value: found white space in "a b", expected URL@REVISION`},
		{"contradiction with the file", Overrides{Packages: []string{"!a"}},
			`--package-append: contradiction: found "!a", but also "a" at image.yaml:1:23`},
		{"contradiction among flags", Overrides{Packages: []string{"b=1", "b=2"}},
			`--package-append: contradiction: found "b=2", but also "b=1" by --package-append`},
	} {
		c := load(t, "contents: {packages: [a]}")
		before, _ := c.YAML()
		err := c.Apply(tc.o)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: found\n%v\nexpected\n%s", tc.name, err, tc.want)
		}
		var e *Errors
		if !errors.As(err, &e) {
			t.Errorf("%s: %T, expected *Errors", tc.name, err)
		}
		if after, _ := c.YAML(); string(after) != string(before) {
			t.Errorf("%s: the configuration changed:\n%s", tc.name, after)
		}
	}
}

// TestApplyOnBaseImage: annotations from a flag are refused like written ones.
func TestApplyOnBaseImage(t *testing.T) {
	c := load(t, "contents: {baseimage: {image: a, apkindex: b}}")
	err := c.Apply(Overrides{Annotations: map[string]string{"a": "b"}})
	if err == nil {
		t.Error("no error")
	}
	if err := c.Apply(Overrides{Packages: []string{"x"}}); err != nil {
		t.Error(err)
	}
}

// TestApplyToLiteral: a configuration that no file was read for.
func TestApplyToLiteral(t *testing.T) {
	var c Config
	if err := c.Apply(Overrides{Packages: []string{"a", "b"}, Annotations: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(Overrides{Packages: []string{"!b"}}); err == nil || err.Error() != `--package-append: contradiction: found "!b", but also "b" by --package-append` {
		t.Errorf("found %v", err)
	}
	world, err := c.World()
	if err != nil || len(world) != 2 {
		t.Errorf("found %v, %v", world, err)
	}
	if _, err := c.YAML(); err != nil {
		t.Error(err)
	}
}

func TestParseArch(t *testing.T) {
	for name, want := range map[string]string{
		"x86_64": "linux/amd64", "amd64": "linux/amd64", "armhf": "linux/arm/v6", "arm/v7": "linux/arm/v7",
		"all": "", "z80": "", "": "", "noarch": "",
	} {
		got, ok := ParseArch(name)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("ParseArch(%q) = %v, %v", name, got, ok)
		}
	}
	if a, ok := ParseArch("host"); !ok || a.APK == "" {
		t.Errorf("host: %v, %v", a, ok)
	}
}
