package assemble

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cairn-dev/cairn/assemble/target"
)

// faulty stands in front of a registry and does to requests, at random, what
// networks and registries do. Its tokens are worth a few requests only.
type faulty struct {
	inner  http.Handler
	mu     sync.Mutex
	rand   *rand.Rand
	rate   float64        // of requests that something happens to; 0: nothing, and no tokens are asked for
	tokens map[string]int // requests that each is worth
	seen   map[string]int
}

var faultKinds = []string{"429", "500", "reset before", "reset after", "upload cut short", "answer cut short", "wrong bytes", "slow"}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		f.mu.Lock()
		token := fmt.Sprintf("t%d", len(f.tokens))
		f.tokens[token] = 5 + f.rand.IntN(20)
		fmt.Fprintf(w, `{"token":%q}`, token)
		f.mu.Unlock()
		return
	}
	f.mu.Lock()
	kind, authorized := "", true
	if f.rate > 0 {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		authorized = f.tokens[token] > 0
		f.tokens[token]--
		if authorized && f.rand.Float64() < f.rate {
			kind = faultKinds[f.rand.IntN(len(faultKinds))]
		}
		if !authorized && token != "" {
			f.seen["expired token"]++
		} else if kind != "" {
			f.seen[kind]++
		}
	}
	half := f.rand.Float64()
	f.mu.Unlock()
	switch {
	case !authorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test",scope="repository:team/app:pull,push"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	case kind == "429":
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case kind == "500":
		w.WriteHeader([]int{500, 502, 503, 504}[int(half*4)])
		return
	case kind == "reset before":
		panic(http.ErrAbortHandler)
	case kind == "upload cut short":
		body, _ := io.ReadAll(r.Body)
		if len(body) == 0 {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:int(half*float64(len(body)))]), cut{}))
		f.inner.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	answer := httptest.NewRecorder()
	f.inner.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	switch {
	case kind == "reset after":
		panic(http.ErrAbortHandler)
	case kind == "wrong bytes" && len(body) > 0:
		body[int(half*float64(len(body)))] ^= 0x20
	case kind == "slow":
		time.Sleep(3 * time.Millisecond)
	}
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	if kind == "answer cut short" && len(body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(answer.Code)
		w.Write(body[:int(half*float64(len(body)))])
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(answer.Code)
	w.Write(body)
}

// cut is the end of an upload that was cut short.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestPublishThroughFaults: whatever happens on the way, the tag names an image that
// is whole: the new one, or, when publishing failed, the one of before. The same
// command then completes it.
func TestPublishThroughFaults(t *testing.T) {
	f := newFixture(t)
	old, fresh := f.build(f.config("cmd: old\n"), Options{}), f.build(f.config("layering: {strategy: package, budget: 3}\n"), Options{Kit: true})
	outcomes, seen := map[bool]int{}, map[string]int{}
	for seed := range uint64(50) {
		proxy := &faulty{inner: registry.New(registry.WithReferrersSupport(seed%2 == 0), registry.Logger(log.New(io.Discard, "", 0))),
			rand: rand.New(rand.NewPCG(seed, 1)), tokens: map[string]int{}, seen: seen}
		srv := httptest.NewUnstartedServer(proxy)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.Start()
		host := strings.TrimPrefix(srv.URL, "http://")
		o := PublishOptions{References: []string{host + "/team/app:1"}, Receipts: seed%3 == 0,
			Registry: target.Options{Attempts: 4, Wait: time.Millisecond, Transport: &http.Transport{}}}
		if _, err := old.Publish(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		proxy.rate = []float64{0.02, 0.15, 0.6}[seed%3]
		_, err := fresh.Publish(t.Context(), o)
		proxy.rate = 0
		outcomes[err == nil]++
		want := old.Digest
		if err == nil {
			want = fresh.Digest
		}
		if whole(t, host+"/team/app:1", want); t.Failed() {
			t.Fatalf("seed %d: publishing ended with %v", seed, err)
		}
		again, err := fresh.Publish(t.Context(), o)
		if err != nil || again[0].Digest != fresh.Digest {
			t.Fatalf("seed %d: the second time: %+v, %v", seed, again, err)
		}
		whole(t, host+"/team/app:1", fresh.Digest)
		if list, err := at(t, host+"/team/app:1").Referrers(t.Context(), fresh.Digest); err != nil || len(list) != 1 || list[0].Digest.String() != fresh.KitDigest {
			t.Fatalf("seed %d: referrers %v, %v", seed, list, err)
		}
		srv.CloseClientConnections()
		srv.Close()
	}
	if outcomes[true] == 0 || outcomes[false] == 0 {
		t.Errorf("%d ended well and %d did not: expected some of both", outcomes[true], outcomes[false])
	}
	for _, kind := range append([]string{"expired token"}, faultKinds...) {
		if seen[kind] == 0 {
			t.Errorf("%s: never happened", kind)
		}
	}
	t.Log(outcomes, seen)
}

// whole reads an image with go-containerregistry's client, every byte of it.
func whole(t *testing.T, reference string, digest v1.Hash) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Get(ref)
	if err != nil {
		t.Error(err)
		return
	}
	if d.Digest != digest {
		t.Errorf("the tag names %s, expected %s", d.Digest, digest)
	}
	index, err := d.ImageIndex()
	if err == nil {
		err = validate.Index(index)
	}
	if err != nil {
		t.Error(err)
	}
}
