package packages

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
)

func TestResolvePinsEverything(t *testing.T) {
	key := apktest.NewKey("a.rsa.pub")
	dir, keyFile := repo(t, key, []string{"x86_64", "aarch64"}, spec("lib", "1.2-r0", 100), spec("app", "1-r0", 200, "lib"))
	w := open(t, Options{})
	l := resolve(t, w, Request{
		Packages: []string{"app"}, Repositories: []string{dir}, Keyring: []string{keyFile},
		Architectures: []string{"x86_64", "aarch64"}, Name: "image.yaml", Checksum: "sha256-x",
	})
	if diff := cmp.Diff([]string{"x86_64", "aarch64"}, l.Architectures()); diff != "" {
		t.Error(diff)
	}
	for _, arch := range l.Architectures() {
		if got := ids(l, arch); got != "app-1-r0 lib-1.2-r0" {
			t.Errorf("%s: %s", arch, got)
		}
		receipts, err := w.Fetch(t.Context(), l, arch, FetchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range l.For(arch) {
			r := receipts[i]
			if p.Cairn.SHA256 != r.FileSHA256 || p.Cairn.Size != r.FileSize || p.Cairn.DiffID != r.DiffID || p.Cairn.Receipt != r.Digest() {
				t.Errorf("%s %s: %+v differs from its receipt", arch, p.Name, p.Cairn)
			}
		}
	}
	if got := l.For("x86_64")[0].Cairn.Reason; got.Kind != "depends" || got.Dependency != "lib" {
		t.Errorf("reason of lib: %+v", got)
	}
	if got := l.Cairn.Indexes[0]; got.Newest != 200 || got.KeyName != "a.rsa.pub" || got.SHA256.IsZero() || got.Key.IsZero() {
		t.Errorf("index: %+v", got)
	}
	if l.Config.Name != "image.yaml" || l.Config.Checksum != "sha256-x" {
		t.Errorf("config: %+v", l.Config)
	}
	if len(l.Contents.Keyring) != 1 || l.Contents.Keyring[0].Content != string(key.PublicPEM()) || l.Contents.Keyring[0].URL != keyFile {
		t.Errorf("keyring: %+v", l.Contents.Keyring)
	}
}

func TestResolveIsAFunctionOfTheRepositories(t *testing.T) {
	dir, keyFile := repo(t, apktest.NewKey("a.rsa.pub"), []string{"x86_64", "aarch64"},
		spec("d", "1-r0", 1), spec("c", "1-r0", 1, "d"), spec("b", "1-r0", 1, "c"), spec("a", "1-r0", 1, "b", "d"))
	r := Request{Packages: []string{"a"}, Repositories: []string{dir}, Keyring: []string{keyFile}, Architectures: []string{"x86_64", "aarch64"}}
	first := marshal(t, resolve(t, open(t, Options{Jobs: 1}), r))
	for range 5 {
		if diff := cmp.Diff(first, marshal(t, resolve(t, open(t, Options{Jobs: 8}), r))); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestKeyringsArePerRepository(t *testing.T) {
	one, two := apktest.NewKey("one.rsa.pub"), apktest.NewKey("two.rsa.pub")
	dirOne, keyOne := repo(t, one, []string{"x86_64"}, spec("a", "1-r0", 1))
	dirTwo, keyTwo := repo(t, two, []string{"x86_64"}, spec("b", "1-r0", 1))
	base := Request{Packages: []string{"a", "b"}, Repositories: []string{dirOne, dirTwo}}

	ok := x86(base)
	ok.Keyring, ok.Keyrings = []string{keyOne}, map[string][]string{dirTwo: {keyTwo}}
	l := resolve(t, open(t, Options{}), ok)
	if len(l.Contents.Keyring) != 2 {
		t.Errorf("keyring of the lock: %+v", l.Contents.Keyring)
	}

	// A repository with keys of its own trusts no others, and its own count
	// nowhere else.
	for name, r := range map[string]Request{
		"global key does not count":   {Keyring: []string{keyOne, keyTwo}, Keyrings: map[string][]string{dirTwo: {keyOne}}},
		"own key counts nowhere else": {Keyring: []string{keyTwo}, Keyrings: map[string][]string{dirTwo: {keyTwo, keyOne}}},
	} {
		t.Run(name, func(t *testing.T) {
			r = x86(r)
			r.Packages, r.Repositories = base.Packages, base.Repositories
			_, err := open(t, Options{}).Resolve(t.Context(), r)
			var unknown *repository.UnknownKeyError
			if !errors.As(err, &unknown) {
				t.Fatalf("error %v, expected an unknown key", err)
			}
		})
	}
}

// publish makes a server answer with a key set.
func publish(s *server, key *apktest.Key) {
	s.extra["/apk-configuration"] = func(w http.ResponseWriter) {
		json.NewEncoder(w).Encode(map[string]string{"jwks_uri": s.URL + "/keys"})
	}
	s.extra["/keys"] = func(w http.ResponseWriter) {
		b64 := base64.RawURLEncoding.EncodeToString
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "use": "sig", "kid": strings.TrimSuffix(key.Name, ".rsa.pub"),
			"n": b64(key.Public().N.Bytes()), "e": b64(big.NewInt(int64(key.Public().E)).Bytes()),
		}}})
	}
}

func TestKeysAreDiscoveredOnlyWhenNoConfiguredKeyFits(t *testing.T) {
	key, other := apktest.NewKey("published.rsa.pub"), apktest.NewKey("other.rsa.pub")
	dir, keyFile := repo(t, key, []string{"x86_64"}, spec("a", "1-r0", 1))
	_, otherFile := repo(t, other, nil)
	asked := 0
	s := serve(t, dir)
	publish(s, key)
	answer := s.extra["/apk-configuration"]
	s.extra["/apk-configuration"] = func(w http.ResponseWriter) { asked++; answer(w) }
	r := x86(Request{Packages: []string{"a"}, Repositories: []string{s.URL}})

	r.Keyring = []string{keyFile}
	resolve(t, open(t, Options{}), r)
	if asked != 0 {
		t.Error("keys were looked for although a configured key made the signature")
	}
	r.Keyring = []string{otherFile}
	l := resolve(t, open(t, Options{}), r)
	if asked == 0 {
		t.Error("no keys were looked for")
	}
	if got := l.Cairn.Indexes[0].KeyName; got != "published.rsa.pub" {
		t.Errorf("index signed by %q", got)
	}
	// The lock carries the key: it is enough for the build, and says where
	// trust came from.
	found := false
	for _, k := range l.Contents.Keyring {
		if k.Name == "published.rsa.pub" {
			found = true
			if k.URL != "" {
				t.Errorf("url of a discovered key: %q", k.URL)
			}
		}
	}
	if !found {
		t.Errorf("the discovered key is not in the lock: %+v", l.Contents.Keyring)
	}
	// Keys of a repository's own are all that counts: nothing is discovered.
	asked = 0
	r.Keyring, r.Keyrings = nil, map[string][]string{s.URL: {otherFile}}
	_, err := open(t, Options{}).Resolve(t.Context(), r)
	wantError(t, err, "signed by unknown key published.rsa.pub")
	if asked != 0 {
		t.Error("keys were looked for although the repository has keys of its own")
	}
}

func TestDiscoveredKeysCountForTheirRepositoryOnly(t *testing.T) {
	key := apktest.NewKey("published.rsa.pub")
	dir, _ := repo(t, key, []string{"x86_64"}, spec("a", "1-r0", 1))
	local, _ := repo(t, key, []string{"x86_64"}, spec("b", "1-r0", 1))
	s := serve(t, dir)
	publish(s, key)
	_, err := open(t, Options{}).Resolve(t.Context(), x86(Request{Packages: []string{"a", "b"}, Repositories: []string{s.URL, local}}))
	wantError(t, err, local, "signed by unknown key published.rsa.pub")
}

func TestBuildRepositoriesAreRecordedApart(t *testing.T) {
	key := apktest.NewKey("a.rsa.pub")
	build, keyFile := repo(t, key, []string{"x86_64"}, spec("tool", "1-r0", 1))
	run, _ := repo(t, key, []string{"x86_64"}, spec("app", "1-r0", 1, "tool"))
	l := resolve(t, open(t, Options{}), x86(Request{
		Packages: []string{"app"}, BuildRepositories: []string{build}, Repositories: []string{run}, Keyring: []string{keyFile},
	}))
	if got := ids(l, "x86_64"); got != "app-1-r0 tool-1-r0" {
		t.Errorf("packages: %s", got)
	}
	if n := len(l.Contents.BuildRepositories); n != 1 || !strings.HasPrefix(l.Contents.BuildRepositories[0].URL, build) {
		t.Errorf("build repositories: %+v", l.Contents.BuildRepositories)
	}
	if n := len(l.Contents.Repositories); n != 1 || !strings.HasPrefix(l.Contents.Repositories[0].URL, run) {
		t.Errorf("repositories: %+v", l.Contents.Repositories)
	}
}

func TestTaggedRepositories(t *testing.T) {
	key := apktest.NewKey("a.rsa.pub")
	stable, keyFile := repo(t, key, []string{"x86_64"}, spec("app", "1-r0", 1), spec("lib", "1-r0", 1))
	edge, _ := repo(t, key, []string{"x86_64"}, spec("app", "2-r0", 1), spec("lib", "2-r0", 1))
	r := x86(Request{Repositories: []string{stable, "@edge " + edge}, Keyring: []string{keyFile}})
	r.Packages = []string{"app", "lib"}
	if got := ids(resolve(t, open(t, Options{}), r), "x86_64"); got != "app-1-r0 lib-1-r0" {
		t.Errorf("without a tag: %s", got)
	}
	r.Packages = []string{"app@edge", "lib"}
	l := resolve(t, open(t, Options{}), r)
	if got := ids(l, "x86_64"); got != "app-2-r0 lib-1-r0" {
		t.Errorf("with a tag: %s", got)
	}
	for _, p := range l.For("x86_64") {
		if want := map[string]string{"app": "edge"}[p.Name]; p.Cairn.Tag != want {
			t.Errorf("%s: tag %q, expected %q", p.Name, p.Cairn.Tag, want)
		}
	}
	r.Packages = []string{"app@testing"}
	_, err := open(t, Options{}).Resolve(t.Context(), r)
	var unknown *solve.UnknownTagError
	if !errors.As(err, &unknown) {
		t.Errorf("error %v, expected an unknown tag", err)
	}
}

// Where one architecture lags behind, all get the version that all have.
func TestArchitecturesAgree(t *testing.T) {
	key := apktest.NewKey("a.rsa.pub")
	dir, keyFile := repo(t, key, []string{"x86_64"}, spec("app", "1-r0", 1), spec("app", "2-r0", 1))
	fill(t, dir, key, []string{"aarch64"}, spec("app", "1-r0", 1))
	l := resolve(t, open(t, Options{}), Request{
		Packages: []string{"app"}, Repositories: []string{dir}, Keyring: []string{keyFile}, Architectures: []string{"x86_64", "aarch64"},
	})
	for _, arch := range l.Architectures() {
		if got := ids(l, arch); got != "app-1-r0" {
			t.Errorf("%s: %s", arch, got)
		}
	}
}

func TestPreviousVersionsAreKept(t *testing.T) {
	key := apktest.NewKey("a.rsa.pub")
	dir, keyFile := repo(t, key, []string{"x86_64"}, spec("lib", "1-r0", 10), spec("app", "1-r0", 10, "lib"))
	r := x86(Request{Packages: []string{"app"}, Repositories: []string{dir}, Keyring: []string{keyFile}})
	old := resolve(t, open(t, Options{}), r)
	fill(t, dir, key, []string{"x86_64"}, spec("lib", "1-r0", 10), spec("app", "1-r0", 10, "lib"),
		spec("lib", "2-r0", 20), spec("app", "2-r0", 20, "lib"))

	for _, c := range []struct {
		name, want string
		set        func(*Request)
	}{
		{"nothing asked for", "app-1-r0 lib-1-r0", func(*Request) {}},
		{"one package", "app-1-r0 lib-2-r0", func(r *Request) { r.Update = []string{"lib"} }},
		{"all", "app-2-r0 lib-2-r0", func(r *Request) { r.UpdateAll = true }},
		{"the request wins", "app-2-r0 lib-1-r0", func(r *Request) { r.Packages = []string{"app>1-r0"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := r
			r.Previous = old
			c.set(&r)
			if got := ids(resolve(t, open(t, Options{}), r), "x86_64"); got != c.want {
				t.Errorf("%s, expected %s", got, c.want)
			}
		})
	}
	r.Previous, r.Update = old, []string{"libb"}
	_, err := open(t, Options{}).Resolve(t.Context(), r)
	wantError(t, err, `update: package "libb": not in the lock`)
}

func TestRollbackIsRefused(t *testing.T) {
	key := apktest.NewKey("a.rsa.pub")
	dir, keyFile := repo(t, key, []string{"x86_64"}, spec("app", "1-r0", 1000), spec("app", "2-r0", 2000))
	r := x86(Request{Packages: []string{"app"}, Repositories: []string{dir}, Keyring: []string{keyFile}})
	r.Previous = resolve(t, open(t, Options{}), r)
	fill(t, dir, key, []string{"x86_64"}, spec("app", "1-r0", 1000))

	for _, all := range []bool{false, true} { // renewing everything is no excuse
		r.UpdateAll = all
		_, err := open(t, Options{}).Resolve(t.Context(), r)
		var rollback *repository.RollbackError
		if !errors.As(err, &rollback) || rollback.Newest != 1000 || rollback.Recorded != 2000 {
			t.Errorf("all=%v: error %v, expected a rollback from 2000 to 1000", all, err)
		}
	}
	r.AllowRollback = true
	if got := ids(resolve(t, open(t, Options{}), r), "x86_64"); got != "app-1-r0" {
		t.Errorf("allowed: %s", got)
	}
}

func TestUnsignedIndexesAreRecorded(t *testing.T) {
	dir, _ := repo(t, nil, []string{"x86_64"}, spec("app", "1-r0", 1))
	r := x86(Request{Packages: []string{"app"}, Repositories: []string{dir}})
	_, err := open(t, Options{}).Resolve(t.Context(), r)
	if !errors.Is(err, repository.ErrUnsigned) {
		t.Fatalf("error %v, expected %v", err, repository.ErrUnsigned)
	}
	r.Unsafe.UnsignedIndex = true
	l := resolve(t, open(t, Options{}), r)
	if diff := cmp.Diff([]string{UnsafeUnsignedIndex}, l.Cairn.Unsafe); diff != "" {
		t.Error(diff)
	}
	// The permission alone is nothing to record.
	signed, keyFile := repo(t, apktest.NewKey("a.rsa.pub"), []string{"x86_64"}, spec("app", "1-r0", 1))
	r.Repositories, r.Keyring = []string{signed}, []string{keyFile}
	if l := resolve(t, open(t, Options{}), r); len(l.Cairn.Unsafe) != 0 {
		t.Errorf("unsafe: %q although the index is signed", l.Cairn.Unsafe)
	}
}

func TestResolveErrors(t *testing.T) {
	dir, keyFile := repo(t, apktest.NewKey("a.rsa.pub"), []string{"x86_64"},
		spec("openssl", "3-r0", 1), spec("broken", "1-r0", 1, "nothing"), spec("old", "1-r0", 1, "openssl<3"))
	none := &lock.Lock{}
	for _, c := range []struct {
		name string
		r    Request
		want []string
	}{
		{"not an atom", Request{Packages: []string{"a b"}}, []string{"packages: ", `"a b"`}},
		{"unknown name", Request{Packages: []string{"opensl"}}, []string{`package "opensl" for x86_64: in no repository`, "similar names: openssl"}},
		{"unknown version", Request{Packages: []string{"openssl=9"}}, []string{"openssl=9", "3-r0"}},
		{"missing dependency", Request{Packages: []string{"broken"}}, []string{"broken", "nothing"}},
		{"conflict", Request{Packages: []string{"openssl", "old"}}, []string{"old", "openssl<3"}},
		{"repository", Request{Repositories: []string{"ftp://example.org/x"}}, []string{"repository ftp://example.org/x: unknown scheme"}},
		{"tag", Request{Repositories: []string{"@edge"}}, []string{`repository "@edge": expected "@tag URL"`}},
		{"no index", Request{Repositories: []string{dir + "-missing"}}, []string{"no index for x86_64"}},
		{"no such key", Request{Keyring: []string{keyFile + ".missing"}}, []string{keyFile + ".missing", "no such file"}},
		{"not in the lock", Request{Previous: none, Update: []string{"openssl"}}, []string{`update: package "openssl": not in the lock`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := x86(c.r)
			if r.Packages == nil {
				r.Packages = []string{"openssl"}
			}
			if r.Repositories == nil {
				r.Repositories = []string{dir}
			}
			if r.Keyring == nil {
				r.Keyring = []string{keyFile}
			}
			l, err := open(t, Options{}).Resolve(t.Context(), r)
			wantError(t, err, c.want...)
			if l != nil {
				t.Error("a lock beside an error")
			}
		})
	}
}

func TestCredentialsStayOutOfTheLock(t *testing.T) {
	key := apktest.NewKey("a.rsa.pub")
	dir, keyFile := repo(t, key, []string{"x86_64"}, spec("app", "1-r0", 1))
	s := serve(t, dir)
	s.user, s.password = "robot", "s3cret"
	secret := strings.Replace(s.URL, "http://", "http://robot:s3cret@", 1)
	r := x86(Request{Packages: []string{"app"}, Repositories: []string{secret}, Keyring: []string{keyFile}})
	var events []Event
	l := resolve(t, open(t, Options{Progress: func(e Event) { events = append(events, e) }}), r)
	text := marshal(t, l)
	if strings.Contains(text, "s3cret") || strings.Contains(text, "robot") {
		t.Errorf("the lock has the password:\n%s", text)
	}
	for _, e := range events {
		if strings.Contains(e.Subject, "s3cret") {
			t.Errorf("an event has the password: %+v", e)
		}
	}
	// From the lock in an empty store: only with the configuration's line.
	w := open(t, Options{})
	if _, err := w.Fetch(t.Context(), l, "x86_64", FetchOptions{}); err == nil {
		t.Error("fetched without credentials")
	}
	if _, err := w.Fetch(t.Context(), l, "x86_64", FetchOptions{Repositories: []string{"@other http://127.0.0.1:1", secret}}); err != nil {
		t.Error(err)
	}
}

func TestSecretQueriesStayOutOfTheLock(t *testing.T) {
	dir, keyFile := repo(t, apktest.NewKey("a.rsa.pub"), []string{"x86_64"}, spec("app", "1-r0", 1))
	s := serve(t, dir)
	line := s.URL + "?token=s3cret"
	r := x86(Request{Packages: []string{"app"}, Repositories: []string{line}, Keyring: []string{keyFile}})
	l := resolve(t, open(t, Options{}), r)
	if text := marshal(t, l); strings.Contains(text, "s3cret") {
		t.Errorf("the lock has the token:\n%s", text)
	}
	if _, err := open(t, Options{}).Fetch(t.Context(), l, "x86_64", FetchOptions{Repositories: []string{line}}); err != nil {
		t.Error(err)
	}
}

func TestProgress(t *testing.T) {
	dir, keyFile := repo(t, apktest.NewKey("a.rsa.pub"), []string{"x86_64", "aarch64"}, spec("lib", "1-r0", 1), spec("app", "1-r0", 1, "lib"))
	cache := t.TempDir()
	r := Request{Packages: []string{"app"}, Repositories: []string{dir}, Keyring: []string{keyFile}, Architectures: []string{"x86_64", "aarch64"}}
	run := func() map[string]int {
		count := map[string]int{} // without a mutex: events never come at the same time
		w := open(t, Options{CacheDir: cache, Progress: func(e Event) {
			k := string(e.Kind) + " " + e.Arch
			if e.Reused {
				k += " reused"
			}
			count[k]++
			if e.Bytes <= 0 || e.Kind != PackagesChosen && e.Subject == "" {
				t.Errorf("event %+v", e)
			}
		}})
		resolve(t, w, r)
		return count
	}
	want := map[string]int{"index x86_64": 1, "index aarch64": 1, "chosen x86_64": 1, "chosen aarch64": 1, "package x86_64": 2, "package aarch64": 2}
	if diff := cmp.Diff(want, run()); diff != "" {
		t.Error(diff)
	}
	for _, arch := range r.Architectures {
		delete(want, "package "+arch)
		want["package "+arch+" reused"] = 2
	}
	if diff := cmp.Diff(want, run()); diff != "" {
		t.Error("warm:", diff)
	}
}

func TestResolveStopsWithTheContext(t *testing.T) {
	dir, keyFile := repo(t, apktest.NewKey("a.rsa.pub"), []string{"x86_64"}, spec("app", "1-r0", 1))
	for _, line := range []string{dir, serve(t, dir).URL} {
		_, err := open(t, Options{}).Resolve(cancelled(), x86(Request{Packages: []string{"app"}, Repositories: []string{line}, Keyring: []string{keyFile}}))
		if err == nil || !strings.Contains(err.Error(), "context canceled") {
			t.Errorf("%s: error %v, expected that of the context", line, err)
		}
	}
}

// TestResolveOnBase: what a base image holds is neither fetched nor locked, and
// the lock says that it is there.
func TestResolveOnBase(t *testing.T) {
	key := apktest.NewKey("a.rsa.pub")
	dir, keyFile := repo(t, key, []string{"x86_64"}, spec("lib", "1.2-r0", 100), spec("app", "1-r0", 200, "lib", "old"))
	held := []*apk.Package{{Name: "lib", Version: "1-r0"}, {Name: "old", Version: "7-r0"}}
	record := lock.Request{Base: []lock.Base{{Architecture: "x86_64", Image: apk.SHA256{1}, Index: apk.SHA256{2}, Packages: []string{"lib=1-r0", "old=7-r0"}}}}
	r := Request{
		Packages: []string{"app"}, Repositories: []string{dir}, Keyring: []string{keyFile}, Architectures: []string{"x86_64"},
		Held: map[string][]*apk.Package{"x86_64": held}, Record: record,
	}
	l := resolve(t, open(t, Options{}), r)
	if got := ids(l, "x86_64"); got != "app-1-r0" || l.Cairn.Format != lock.FormatBase || l.Base("x86_64").Version("old") != "7-r0" {
		t.Errorf("locked %s, %+v", got, l.Cairn)
	}
	r.Packages = []string{"lib>1.1"}
	_, err := open(t, Options{}).Resolve(t.Context(), r)
	var unsatisfiable *solve.UnsatisfiableError
	if !errors.As(err, &unsatisfiable) || !strings.Contains(err.Error(), "lib-1.2-r0 is excluded: the base image holds lib-1-r0") {
		t.Errorf("error %v", err)
	}
	r.Packages, r.Held = []string{"app"}, map[string][]*apk.Package{"x86_64": {}}
	if _, err := open(t, Options{}).Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "old") {
		t.Errorf("error %v", err)
	}
}
