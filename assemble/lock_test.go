package assemble

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/lock"
)

func TestLockRecordsLayers(t *testing.T) {
	f := newFixture(t)
	l := f.lock(f.config(""), LockOptions{})
	if len(l.Cairn.Layers) != 2 || l.Cairn.Layers[0].Architecture != "x86_64" {
		t.Fatalf("layers: %+v", l.Cairn.Layers)
	}
	var all []string
	for _, s := range l.Segments("aarch64") {
		all = append(all, s...)
	}
	if len(all) != 3 {
		t.Errorf("segments of aarch64: %v", all)
	}
	// Locking again, from the lock as read, changes no byte.
	a, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.lock(f.config(""), LockOptions{Previous: f.throughFile(l)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Error(diff)
	}
}

// The layers of a locked image stay where they are when a package joins.
func TestLayersAreSticky(t *testing.T) {
	f := newFixture(t)
	var specs = []string{"p0", "p1", "p2", "p3", "p4", "p5"}
	pkgs := append([]string{"base"}, specs...)
	all := []string{"base"}
	write := func(extra ...string) {
		list := []string{}
		list = append(list, specs...)
		list = append(list, extra...)
		built := f.specs(list)
		f.packages([]string{"x86_64"}, append(built, base())...)
	}
	write("a")
	yaml := func(names []string) string {
		return "  packages: [" + strings.Join(names, ", ") + "]\nlayering: {strategy: package, budget: 4}\narchs: [x86_64]\n"
	}
	old := f.lock(f.config(yaml(pkgs)), LockOptions{})
	now := f.lock(f.config(yaml(append(pkgs, "a"))), LockOptions{Previous: old})
	home := func(l *lock.Lock, name string) string {
		for _, s := range l.Segments("x86_64") {
			for _, n := range s {
				if n == name {
					return s[0]
				}
			}
		}
		return ""
	}
	for _, name := range append(all, specs...) {
		if a, b := home(old, name), home(now, name); a != b && b != "a" {
			t.Errorf("%s moved from the layer of %s to that of %s", name, a, b)
		}
	}
}

func TestStaleLocks(t *testing.T) {
	f := newFixture(t)
	l := f.lock(f.config("archs: [x86_64]\n"), LockOptions{})
	for _, c := range []struct{ name, yaml, want string }{
		{"package", "  packages: [base, app, extra]\narchs: [x86_64]\n", "packages: added extra"},
		{"fewer packages", "  packages: [base]\narchs: [x86_64]\n", "packages: removed app"},
		{"version", "  packages: [base, 'app>=1']\narchs: [x86_64]\n", "packages: added app>=1"},
		{"repository", "  build_repositories: [/other]\narchs: [x86_64]\n", "repositories: added /other"},
		{"architecture", "archs: [x86_64, aarch64]\n", "archs: added aarch64"},
		{"layering", "layering: {strategy: origin, budget: 9}\narchs: [x86_64]\n", "layering: locked package/100, now origin/9"},
		{"keys of a repository", "keyrings: {" + f.dir + "/repo: [" + f.dir + "/key.rsa.pub]}\narchs: [x86_64]\n", "keyring: added "},
		{"files", "files: [{path: /a, content: b}]\narchs: [x86_64]\n", "files: added /a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := f.config(c.yaml)
			err := f.fail(cfg, Options{Lock: l}, "lock of "+f.dir+"/image.yaml: stale: the configuration changed since:\n"+c.want, "\nhint: cairn lock ")
			var stale *StaleError
			if !errors.As(err, &stale) || len(stale.Changes) == 0 {
				t.Errorf("error %T", err)
			}
			if err := CheckLock(t.Context(), l, cfg); !errors.As(err, &stale) {
				t.Errorf("CheckLock: %v", err)
			}
		})
	}
	// What does not decide packages, files or layers leaves the lock current.
	for _, yaml := range []string{"cmd: sh\narchs: [x86_64]\n", "annotations: {a: b}\narchs: [x86_64]\n", "paths: [{path: /x, type: directory, permissions: 0755}]\narchs: [x86_64]\n"} {
		if err := CheckLock(t.Context(), l, f.config(yaml)); err != nil {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}

// stripped is what apko would have written for the same packages.
func stripped(l *lock.Lock, checksum string, keyContent bool) *lock.Lock {
	out := *l
	out.Cairn = nil
	out.Config.Checksum = checksum
	out.Contents.Packages = nil
	for _, p := range l.Contents.Packages {
		p.Cairn = nil
		out.Contents.Packages = append(out.Contents.Packages, p)
	}
	out.Contents.Keyring = nil
	for _, k := range l.Contents.Keyring {
		if !keyContent {
			k.Content = ""
		}
		out.Contents.Keyring = append(out.Contents.Keyring, k)
	}
	return &out
}

func TestLocksByApko(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("")
	want := f.build(cfg, Options{}).Digest
	l := f.lock(cfg, LockOptions{})
	for _, content := range []bool{true, false} {
		theirs := f.throughFile(stripped(l, cfg.ApkoChecksum, content))
		if theirs.Cairn != nil {
			t.Fatal("not a lock as apko writes it")
		}
		if got := f.buildWith(f.open(t.TempDir()), cfg, Options{Lock: theirs}).Digest; got != want {
			t.Errorf("keys in the lock: %v: %s, expected %s", content, got, want)
		}
	}
	f.fail(cfg, Options{Lock: stripped(l, "sha256-other", true)}, "stale", "checksum: locked sha256-other, now "+cfg.ApkoChecksum)
	// Without a checksum, as locks before apko 0.13 are, there is nothing to compare.
	f.build(cfg, Options{Lock: stripped(l, "", true)})
	// An architecture that it has no packages for is noticed all the same.
	one := f.lock(f.config("archs: [x86_64]\n"), LockOptions{})
	f.fail(cfg, Options{Lock: stripped(one, "", true)}, "archs: aarch64 is not locked")
}

func TestLockOfAConfigurationWithSecrets(t *testing.T) {
	f := newFixture(t)
	cfg := f.load("secret.yaml", `
contents:
  repositories: ["https://user:s3cret@127.0.0.1:1/repo"]
  keyring: ["https://user:s3cret@127.0.0.1:1/k.rsa.pub"]
  packages: [a]
archs: [x86_64]
`)
	r, err := request(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(r.Record.Repositories, r.Record.Keyring...) {
		if strings.Contains(s, "s3cret") {
			t.Errorf("recorded: %s", s)
		}
	}
	if _, err := Lock(t.Context(), f.ws, cfg, LockOptions{}); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v", err)
	}
}

func TestLockErrors(t *testing.T) {
	f := newFixture(t)
	if _, err := Lock(cancelled(), f.ws, f.config(""), LockOptions{}); err == nil {
		t.Error("locked although the context is done")
	}
	_, err := Lock(t.Context(), f.ws, f.config("  packages: [lbi]\n"), LockOptions{})
	if err == nil || !strings.Contains(err.Error(), "similar names: lib") {
		t.Errorf("error %v", err)
	}
	_, err = Lock(t.Context(), f.ws, f.config(""), LockOptions{Previous: &lock.Lock{}, Update: []string{"x"}})
	if err == nil || err.Error() != `update: package "x": not in the lock` {
		t.Errorf("error %v", err)
	}
}

func TestRedactedKeepsTags(t *testing.T) {
	got := redacted([]string{"@edge https://u:p@h/r", "https://u:p@h/r", "dir"})
	if diff := cmp.Diff([]string{"@edge https://h/r", "https://h/r", "dir"}, got); diff != "" {
		t.Error(diff)
	}
	keys := keyNames([]string{"-----BEGIN PUBLIC KEY-----\nx", "https://u:p@h/k", "k.pub"})
	if !strings.HasPrefix(keys[0], "inline sha256:") || keys[1] != "https://h/k" || keys[2] != "k.pub" {
		t.Errorf("%q", keys)
	}
}
