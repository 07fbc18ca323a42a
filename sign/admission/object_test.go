package admission

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Every place in every kind that names an image is found, at its pointer.
func TestEveryPlaceIsFound(t *testing.T) {
	const spec = `{"initContainers":[{"image":"i0"},{"image":"i1"}],"containers":[{"name":"no image yet"},{"image":"c1"}],
		"ephemeralContainers":[{"image":"e0"}],"volumes":[{"name":"v"},{"image":{"reference":"v1"}},{"image":{}}],
		"imagePullSecrets":[{"name":"s0"},{"name":"s1"}]}`
	want := []string{"initContainers/0/image i0", "initContainers/1/image i1", "containers/1/image c1", "ephemeralContainers/0/image e0", "volumes/1/image/reference v1"}
	for kind, path := range podPaths {
		object := spec
		for _, key := range slices.Backward(path) {
			object = fmt.Sprintf(`{%q:%s}`, key, object)
		}
		w, err := objectOf(kind, json.RawMessage(object))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		var got []string
		for _, u := range w.uses {
			got = append(got, strings.TrimPrefix(u.Path, "/"+strings.Join(path, "/")+"/")+" "+u.Image)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: found %q", kind, got)
		}
		if !slices.Equal(w.secrets, []string{"s0", "s1"}) {
			t.Errorf("%s: found secrets %v", kind, w.secrets)
		}
	}
}

func TestObjectsThatAreNone(t *testing.T) {
	for _, c := range []struct{ kind, object, want string }{
		{"Pod", `{"spec":[]}`, "object/spec: json: cannot unmarshal array into Go value of type admission.podSpec"},
		{"Pod", `{"spec":{"containers":{}}}`, "object/spec: json: cannot unmarshal object into Go struct field podSpec.containers of type []admission.container"},
		{"Deployment", `{"spec":{"template":3}}`, "object/spec/template: json: cannot unmarshal number into Go value of type map[string]json.RawMessage"},
		{"Job", `{"spec":null}`, ""},
		{"Pod", `{}`, ""},
	} {
		_, err := objectOf(c.kind, json.RawMessage(c.object))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s: found %q", c.kind, c.object, got)
		}
	}
}

func TestTooManyImages(t *testing.T) {
	var names []string
	for i := range maxImages + 1 {
		names = append(names, fmt.Sprintf("r.example/good%d@%s", i, digest))
	}
	r := ask(t, New(&decider{}, Options{}), "/validate", review("Pod", "CREATE", pod(names...), ""))
	if r.Allowed || r.Status.Message != "object: found 201 images, expected at most 200" {
		t.Errorf("found %+v", r)
	}
	if r := ask(t, New(&decider{}, Options{}), "/validate", review("Pod", "CREATE", pod(names[1:]...), "")); !r.Allowed {
		t.Errorf("found %+v", r)
	}
}

// A long reason is cut where it is kept and shown.
func TestReasonsAreBounded(t *testing.T) {
	if got := shorten(strings.Repeat("ä", maxReason)); len(got) > maxReason+4 || !strings.HasSuffix(got, "…") {
		t.Errorf("found %d bytes", len(got))
	}
	if got := shorten(" a\n b "); got != "a b" {
		t.Errorf("found %q", got)
	}
}

// Panics and errors of some requests harm no other, at the same time.
func TestAPanicKillsNothing(t *testing.T) {
	s := New(&decider{}, Options{})
	var wg sync.WaitGroup
	for i := range 100 {
		name, want := "good", true
		if i%3 == 1 {
			name, want = "panic", false
		} else if i%3 == 2 {
			name, want = "unreachable", false
		}
		wg.Go(func() {
			r := ask(t, s, "/validate", review("Pod", "CREATE", pod(fmt.Sprintf("r.example/%s%d@%s", name, i, digest)), ""))
			if r.Allowed != want {
				t.Errorf("%s: found %+v", name, r)
			}
		})
	}
	wg.Wait()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Code != 200 {
		t.Errorf("found %d", w.Code)
	}
}

func TestMutationOfOtherObjects(t *testing.T) {
	r := ask(t, New(&decider{}, Options{}), "/mutate", review("Deployment", "CREATE", `{"spec":{"template":{"spec":{"containers":[{"image":"r.example/good:1"}]}}}}`, ""))
	if want := `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"r.example/good:1@` + digest + `"}]`; string(r.Patch) != want {
		t.Errorf("found %s", r.Patch)
	}
	r = ask(t, New(&decider{}, Options{}), "/mutate", review("Widget", "CREATE", `{}`, ""))
	if !r.Allowed || len(r.Patch) != 0 || len(r.Warnings) != 1 {
		t.Errorf("found %+v", r)
	}
	r = ask(t, New(&decider{}, Options{}), "/mutate", review("Pod", "DELETE", `null`, ""))
	if !r.Allowed || len(r.Patch) != 0 {
		t.Errorf("found %+v", r)
	}
}
