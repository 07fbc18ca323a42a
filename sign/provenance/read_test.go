package provenance

import (
	"errors"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
)

func TestLock(t *testing.T) {
	build := built(t)
	text, err := build.Result.Lock.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want, err := lock.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	predicate := predicateOf(t, build)
	if got, err := Lock(predicate); err != nil || got != want.Cairn.Digest {
		t.Errorf("found %s, %v: expected %s", got, err, want.Cairn.Digest)
	}
	for _, c := range []struct{ name, predicate, want string }{
		{"not JSON", "{", "provenance: predicate: unexpected end of JSON input"},
		{"another builder's", `{"buildDefinition":{"buildType":"https://example.org/build"}}`, `provenance: build type "https://example.org/build", expected "` + BuildType + `"`},
		{"no lock", `{"buildDefinition":{"buildType":"` + BuildType + `"}}`, "provenance: externalParameters.lock.id: "},
		{"a lock that is none", strings.Replace(string(predicate), want.Cairn.Digest.String(), "sha256:abc", 1), "provenance: externalParameters.lock.id: "},
	} {
		if got, err := Lock([]byte(c.predicate)); !errors.Is(err, ErrIncomplete) || !got.IsZero() || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %s, %v\nexpected %s", c.name, got, err, c.want)
		}
	}
}

// TestApkosLock: such a lock pins packages and names no indexes; what it does
// not say is not in the predicate.
func TestApkosLock(t *testing.T) {
	build := built(t)
	r, l := *build.Result, *build.Result.Lock
	l.Cairn, l.Contents.Packages = nil, append(l.Contents.Packages[:0:0], l.Contents.Packages...)
	for i := range l.Contents.Packages {
		l.Contents.Packages[i].Cairn = nil
	}
	r.Lock, build.Result = &l, &r
	build.Options.Lock = &l
	p := value(t, predicateOf(t, build))
	if got := in(t, p, "buildDefinition", "externalParameters", "lock"); got.(map[string]any)["given"] != true || got.(map[string]any)["id"] != nil {
		t.Errorf("lock %v", got)
	}
	for _, d := range in(t, p, "buildDefinition", "resolvedDependencies").([]any) {
		if kind := in(t, d, "annotations", "kind"); kind == "index" {
			t.Errorf("index %v: the lock names none", d)
		}
	}
}

// TestBaseImage: an image that is built upon is pinned as the lock pins it.
func TestBaseImage(t *testing.T) {
	build := built(t)
	r, l, own := *build.Result, *build.Result.Lock, *build.Result.Lock.Cairn
	own.Format, own.Request.Base = lock.FormatBase, []lock.Base{{Architecture: "x86_64", Image: apk.SHA256{1}, Index: apk.SHA256{2}, Packages: []string{}}}
	l.Cairn, r.Lock, build.Result = &own, &l, &r
	var found []any
	for _, d := range in(t, value(t, predicateOf(t, build)), "buildDefinition", "resolvedDependencies").([]any) {
		if in(t, d, "annotations", "kind") == "base image" {
			found = append(found, d)
		}
	}
	if len(found) != 1 || in(t, found[0], "digest", "sha256") != (apk.SHA256{1}).Hex() || in(t, found[0], "annotations", "indexSha256") != (apk.SHA256{2}).Hex() {
		t.Errorf("base images %v", found)
	}
}
