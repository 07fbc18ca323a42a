package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/verify"
)

// decider lets in what has "good" in its name.
type decider struct {
	mu       sync.Mutex
	decided  []string
	resolved atomic.Int64
	delay    time.Duration
	version  string
	user     string // of the last request's credentials
	until    time.Time
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func (d *decider) Version() string { return d.version }

func (d *decider) Resolve(_ context.Context, image string, _ authn.Keychain) (v1.Hash, error) {
	d.resolved.Add(1)
	if strings.Contains(image, "nowhere") {
		return v1.Hash{}, fmt.Errorf("%s: %w", image, target.ErrNotFound)
	}
	return v1.NewHash(digest)
}

func (d *decider) Decide(ctx context.Context, image string, tagged bool, k authn.Keychain) (*verify.Verdict, error) {
	d.mu.Lock()
	d.decided = append(d.decided, fmt.Sprintf("%s %v", image, tagged))
	if ref, err := name.ParseReference(image); err == nil {
		if a, err := k.Resolve(ref.Context()); err == nil {
			if c, err := a.Authorization(); err == nil {
				d.user = c.Username
			}
		}
	}
	d.mu.Unlock()
	select {
	case <-time.After(d.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	v := &verify.Verdict{Image: image, Until: d.until}
	switch {
	case strings.Contains(image, "panic"):
		panic("boom")
	case strings.Contains(image, "unreachable"):
		return nil, fmt.Errorf("dial: %w", target.ErrUnreachable)
	case strings.Contains(image, "good"):
		v.Add("signers", "", "1", "1", "")
	default:
		v.Add("signers", "", "1", "0", "no signature is attached")
	}
	v.Close()
	return v, nil
}

func (d *decider) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.decided)
}

func pod(images ...string) string {
	var list []string
	for i, img := range images {
		list = append(list, fmt.Sprintf(`{"name":"c%d","image":%q}`, i, img))
	}
	return `{"metadata":{"name":"p"},"spec":{"containers":[` + strings.Join(list, ",") + `]}}`
}

func review(kind, operation, object, old string) []byte {
	raw, err := json.Marshal(Review{APIVersion: apiVersion, Kind: "AdmissionReview", Request: &Request{UID: "u1", Kind: GroupVersionKind{Kind: kind},
		Namespace: "team", Operation: operation, Object: json.RawMessage(object), OldObject: json.RawMessage(old)}})
	if err != nil {
		panic(err)
	}
	return raw
}

func ask(t testing.TB, s *Server, path string, body []byte) *Response {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", path, bytes.NewReader(body)))
	var r Review
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || r.Response == nil {
		t.Fatalf("found %d %s", w.Code, w.Body)
	}
	if r.Response.UID != "u1" || r.APIVersion != "admission.k8s.io/v1" || r.Kind != "AdmissionReview" {
		t.Errorf("found %+v", r)
	}
	return r.Response
}

func TestDecisions(t *testing.T) {
	good, bad := "r.example/good@"+digest, "r.example/bad@"+digest
	in := func(wrap, spec string) string { return strings.Replace(wrap, "SPEC", spec, 1) }
	const template = `{"spec":{"template":{"spec":SPEC}}}`
	spec := func(image string) string { return `{"containers":[{"image":"` + image + `"}]}` }
	refusal := bad + ": signers: no signature is attached"
	cases := []struct{ name, kind, operation, object, old, want string }{
		{"pod", "Pod", "CREATE", pod(good), "", ""},
		{"pod refused", "Pod", "CREATE", pod(bad), "", refusal},
		{"one of two", "Pod", "CREATE", pod(good, bad), "", refusal},
		{"init container", "Pod", "CREATE", `{"spec":{"containers":[{"image":"` + good + `"}],"initContainers":[{"image":"` + bad + `"}]}}`, "", refusal},
		{"ephemeral container", "Pod", "UPDATE", `{"spec":{"containers":[{"image":"` + good + `"}],"ephemeralContainers":[{"image":"` + bad + `"}]}}`, pod(good), refusal},
		{"image volume", "Pod", "CREATE", `{"spec":{"volumes":[{"name":"a","emptyDir":{}},{"name":"v","image":{"reference":"` + bad + `"}}]}}`, "", refusal},
		{"deployment", "Deployment", "CREATE", in(template, spec(bad)), "", refusal},
		{"stateful set", "StatefulSet", "CREATE", in(template, spec(bad)), "", refusal},
		{"daemon set", "DaemonSet", "CREATE", in(template, spec(bad)), "", refusal},
		{"replica set", "ReplicaSet", "CREATE", in(template, spec(bad)), "", refusal},
		{"replication controller", "ReplicationController", "CREATE", in(template, spec(bad)), "", refusal},
		{"replication controller without template", "ReplicationController", "CREATE", `{"spec":{}}`, "", ""},
		{"job", "Job", "CREATE", in(template, spec(bad)), "", refusal},
		{"cron job", "CronJob", "CREATE", in(`{"spec":{"jobTemplate":{"spec":{"template":{"spec":SPEC}}}}}`, spec(bad)), "", refusal},
		{"pod template", "PodTemplate", "CREATE", in(`{"template":{"spec":SPEC}}`, spec(bad)), "", refusal},
		{"unknown kind", "Widget", "CREATE", `{}`, "", `kind "Widget": not understood: expected one of CronJob, DaemonSet, Deployment, Job, Pod, PodTemplate, ReplicaSet, ReplicationController, StatefulSet`},
		{"object that is none", "Pod", "CREATE", `[]`, "", "object: json: cannot unmarshal array into Go value of type admission.objectHeader"},
		{"deletion", "Pod", "DELETE", "null", pod(bad), ""},
		{"being deleted", "Pod", "UPDATE", `{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"containers":[{"image":"` + bad + `"}]}}`, "", ""},
		{"a label changes", "Pod", "UPDATE", pod(bad), pod(bad), ""},
		{"the image changes", "Pod", "UPDATE", pod(bad), pod(good), refusal},
		{"a tag", "Pod", "CREATE", pod("r.example/good:1"), "", ""},
		{"a tag that is not there", "Pod", "CREATE", pod("r.example/nowhere:1"), "", "r.example/nowhere:1: not there: r.example/nowhere:1: not found"},
		{"not a reference", "Pod", "CREATE", pod("UPPER CASE"), "", `UPPER CASE: cannot be verified: image "UPPER CASE": not a reference: white space or a control character: expected host/repository:tag, host/repository@sha256:…, dir/ or oci:dir`},
		{"a directory of the server", "Pod", "CREATE", pod("/etc"), "", `/etc: cannot be verified: image "/etc": not a reference: expected one in a registry`},
		{"unreachable", "Pod", "CREATE", pod("r.example/unreachable@" + digest), "", "r.example/unreachable@" + digest + ": cannot be verified: dial: unreachable"},
		{"a panic", "Pod", "CREATE", pod("r.example/panic@" + digest), "", "r.example/panic@" + digest + ": cannot be verified: the verifier gave up: boom"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			resp := ask(t, New(&decider{}, Options{}), "/validate", review(c.kind, c.operation, c.object, c.old))
			got := ""
			if resp.Status != nil {
				got = resp.Status.Message
			}
			if got != c.want || resp.Allowed != (c.want == "") {
				t.Errorf("found %v %q\nexpected %q", resp.Allowed, got, c.want)
			}
		})
	}
}

func TestModes(t *testing.T) {
	bad := review("Pod", "CREATE", pod("r.example/bad@"+digest), "")
	if r := ask(t, New(&decider{}, Options{Mode: Warn}), "/validate", bad); !r.Allowed || len(r.Warnings) != 1 {
		t.Errorf("warn: found %+v", r)
	}
	if r := ask(t, New(&decider{}, Options{Mode: DryRun}), "/validate", bad); !r.Allowed || len(r.Warnings) != 0 || r.AuditAnnotations["not-verified"] == "" {
		t.Errorf("dry-run: found %+v", r)
	}
}

func TestMutationPinsTags(t *testing.T) {
	r := ask(t, New(&decider{}, Options{}), "/mutate", review("Pod", "CREATE", pod("r.example/good:1", "r.example/x@"+digest, "r.example/good:1", "r.example/nowhere:2"), ""))
	want := `[{"op":"replace","path":"/spec/containers/0/image","value":"r.example/good:1@` + digest + `"},{"op":"replace","path":"/spec/containers/2/image","value":"r.example/good:1@` + digest + `"}]`
	if string(r.Patch) != want || r.PatchType != "JSONPatch" || !r.Allowed {
		t.Errorf("found %s", r.Patch)
	}
	if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], "r.example/nowhere:2: not there") {
		t.Errorf("found %v", r.Warnings)
	}
}

func TestCacheIsKeyedByDigestAndPolicy(t *testing.T) {
	now := time.Now()
	d := &decider{version: "1"}
	s := New(d, Options{TTL: time.Minute, Now: func() time.Time { return now }})
	good := review("Pod", "CREATE", pod("r.example/good:1", "r.example/good:2"), "")
	ask(t, s, "/validate", good)
	ask(t, s, "/validate", good)
	if n := d.count(); n != 1 {
		t.Errorf("verified %d times, expected once: %v", n, d.decided)
	}
	if n := d.resolved.Load(); n != 4 {
		t.Errorf("resolved %d times, expected every tag every time", n)
	}
	d.version = "2"
	ask(t, s, "/validate", good)
	if n := d.count(); n != 2 {
		t.Errorf("verified %d times after another policy", n)
	}
	now = now.Add(2 * time.Minute)
	ask(t, s, "/validate", good)
	if n := d.count(); n != 3 {
		t.Errorf("verified %d times after the time to live", n)
	}
}

// A decision is not used after an age that it rests on is exceeded, however long
// decisions are kept.
func TestCacheEndsWithTheVerdict(t *testing.T) {
	now := time.Now()
	d := &decider{until: now.Add(20 * time.Second)}
	s := New(d, Options{TTL: time.Hour, Now: func() time.Time { return now }})
	good := review("Pod", "CREATE", pod("r.example/good@"+digest), "")
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {19 * time.Second, 1}, {2 * time.Second, 2}, {0, 3}} { // after its end it is not kept at all
		now = now.Add(c.after)
		ask(t, s, "/validate", good)
		if n := d.count(); n != c.want {
			t.Errorf("verified %d times, expected %d", n, c.want)
		}
	}
}

// Errors are not kept: the next request tries again.
func TestErrorsAreNotCached(t *testing.T) {
	d := &decider{}
	s := New(d, Options{})
	for range 2 {
		ask(t, s, "/validate", review("Pod", "CREATE", pod("r.example/unreachable@"+digest), ""))
	}
	if n := d.count(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestOneVerificationForManyRequests(t *testing.T) {
	d := &decider{delay: 100 * time.Millisecond}
	s := New(d, Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if r := ask(t, s, "/validate", review("Pod", "CREATE", pod("r.example/good@"+digest), "")); !r.Allowed {
				t.Error("refused")
			}
		})
	}
	wg.Wait()
	if n := d.count(); n != 1 {
		t.Errorf("verified %d times", n)
	}
}

func TestAnswersBeforeTheWebhooksDeadline(t *testing.T) {
	s := New(&decider{delay: time.Minute}, Options{Timeout: 10 * time.Second})
	r := ask(t, s, "/validate?timeout=250ms", review("Pod", "CREATE", pod("r.example/good@"+digest), ""))
	if r.Allowed || r.Status.Message != "r.example/good@"+digest+": not verified in time" {
		t.Errorf("found %+v", r)
	}
	for text, want := range map[string]time.Duration{"": 10 * time.Second, "x": 10 * time.Second, "-1s": 10 * time.Second, "30s": 10 * time.Second, "5s": 4500 * time.Millisecond, "1s": 800 * time.Millisecond} {
		if got := s.deadline(text); got != want {
			t.Errorf("%q: found %v", text, got)
		}
	}
}

func TestBadRequests(t *testing.T) {
	s := New(&decider{}, Options{})
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/validate", "{", 400, "not an admission review: unexpected end of JSON input\n"},
		{"POST", "/validate", `{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}`, 400, "not an admission review: found \"admission.k8s.io/v1beta1\" \"AdmissionReview\", expected admission.k8s.io/v1 AdmissionReview\n"},
		{"POST", "/validate", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, 400, "not an admission review: request is missing\n"},
		{"POST", "/validate", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`, 400, "not an admission review: request.uid is missing\n"},
		{"POST", "/validate", strings.Repeat(" ", maxReview+1), 413, "review: too large: expected at most 8388608 bytes\n"},
		{"GET", "/validate", "", 405, "Method Not Allowed\n"},
		{"GET", "/healthz", "", 200, "ok\n"},
		{"GET", "/other", "", 404, "404 page not found\n"},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.code || w.Body.String() != c.want {
			t.Errorf("%s %s %.60s: found %d %q", c.method, c.path, c.body, w.Code, w.Body)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := New(&decider{}, Options{})
	ask(t, s, "/validate", review("Pod", "CREATE", pod("r.example/good@"+digest, "r.example/bad@"+digest), ""))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`cairn_admission_requests_total{allowed="false"} 1`, `cairn_admission_images_total{outcome="passed"} 1`,
		`cairn_admission_images_total{outcome="failed"} 1`, `cairn_admission_cache_total{result="miss"} 2`, "cairn_admission_cache_entries 2"} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("%s is missing in\n%s", want, w.Body)
		}
	}
}

func TestPullSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(path, content string) {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("team/one/.dockerconfigjson", `{"auths":{"https://r.example":{"username":"host","password":"x"},"r.example/good":{"auth":"cGF0aDp4"}}}`)
	write("team/two.json", `{"auths":{"r.example":{"username":"two","password":"x"}}}`)
	write("other/three.json", `{"auths":{"r.example":{"username":"three","password":"x"}}}`)
	write("team/bad.json", `{`)
	for _, c := range []struct{ secrets, image, want string }{
		{"one", "r.example/good", "path"}, {"one", "r.example/gooder", "host"}, {"two", "r.example/good", "two"},
		{"three", "r.example/good", ""}, {"../other/three", "r.example/good", ""}, {"bad", "r.example/good", ""}, {"one", "s.example/good", ""},
	} {
		d := &decider{}
		s := New(d, Options{Secrets: Directory(dir)})
		object := `{"spec":{"containers":[{"image":"` + c.image + "@" + digest + `"}],"imagePullSecrets":[{"name":"` + c.secrets + `"}]}}`
		ask(t, s, "/validate", review("Pod", "CREATE", object, ""))
		if d.user != c.want {
			t.Errorf("%s %s: found user %q, expected %q", c.secrets, c.image, d.user, c.want)
		}
	}
	if _, err := Directory(dir).Secret("team", "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %v", err)
	}
}

func FuzzReview(f *testing.F) {
	f.Add(review("Pod", "CREATE", pod("r.example/good@"+digest), ""), true)
	f.Add(review("CronJob", "UPDATE", `{"spec":{"jobTemplate":{}}}`, `{}`), false)
	s := New(&decider{}, Options{})
	f.Fuzz(func(t *testing.T, body []byte, validate bool) {
		path := "/mutate"
		if validate {
			path = "/validate"
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("POST", path, bytes.NewReader(body)))
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("found %d %s", w.Code, w.Body)
		}
	})
}

func TestLogNamesTheRefused(t *testing.T) {
	var b bytes.Buffer
	ask(t, New(&decider{}, Options{Log: slog.New(slog.NewTextHandler(&b, nil))}), "/validate", review("Pod", "CREATE", pod("r.example/bad@"+digest), ""))
	if !strings.Contains(b.String(), "namespace=team") || !strings.Contains(b.String(), "no signature is attached") {
		t.Errorf("found %s", b.String())
	}
}
