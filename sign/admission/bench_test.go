package admission

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkCached is the answer about a pod of two images that were decided
// about before; p99 in milliseconds.
func BenchmarkCached(b *testing.B) {
	s := New(&decider{}, Options{})
	body := string(review("Pod", "CREATE", pod("r.example/good@"+digest, "r.example/good2@"+digest), ""))
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/validate", strings.NewReader(body)))
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkRate offers 200 requests a second over TLS, whatever the answers take,
// for images that were decided about before: the time from when a request is due
// to its answer, of 99 in 100.
func BenchmarkRate(b *testing.B) {
	const perSecond, requests = 200, 2000
	server := httptest.NewTLSServer(New(&decider{}, Options{}))
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = perSecond
	body := string(review("Pod", "CREATE", pod("r.example/good@"+digest, "r.example/good2@"+digest), ""))
	for b.Loop() {
		times := make([]time.Duration, requests)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range requests {
			due := start.Add(time.Duration(i) * time.Second / perSecond)
			time.Sleep(time.Until(due))
			wg.Go(func() {
				resp, err := client.Post(server.URL+"/validate?timeout=10s", "application/json", strings.NewReader(body))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					err = errors.Join(err, resp.Body.Close())
				}
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Errorf("%v %v", resp, err)
				}
				times[i] = time.Since(due)
			})
		}
		wg.Wait()
		slices.Sort(times)
		b.ReportMetric(float64(times[requests*99/100].Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(requests)/time.Since(start).Seconds(), "requests/s")
	}
}

// BenchmarkDistinctDigests is 100,000 images with different digests: the memory
// that is held afterwards, in megabytes, and the decisions that are kept.
func BenchmarkDistinctDigests(b *testing.B) {
	for b.Loop() {
		d := &decider{}
		s := New(d, Options{})
		before := heap()
		for i := range 100_000 {
			body := string(review("Pod", "CREATE", pod(fmt.Sprintf("r.example/bad@sha256:%064x", i)), ""))
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/validate", strings.NewReader(body)))
			if i%1000 == 0 {
				d.mu.Lock()
				d.decided = nil
				d.mu.Unlock()
			}
		}
		b.ReportMetric(float64(heap()-before)/1e6, "held-MB")
		b.ReportMetric(float64(s.cache.len()), "entries")
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The cache never holds more than it may, and drops what was used longest ago.
func TestCacheIsBounded(t *testing.T) {
	now := time.Now()
	c := newCache(3, func() time.Time { return now })
	for i := range 10 {
		c.put(fmt.Sprint(i), decision{passed: true}, time.Minute)
		c.get("0")
	}
	if n := c.len(); n != 3 {
		t.Errorf("found %d entries", n)
	}
	for key, want := range map[string]bool{"0": true, "9": true, "8": true, "7": false} {
		if _, ok := c.get(key); ok != want {
			t.Errorf("%s: found %v", key, ok)
		}
	}
	now = now.Add(time.Minute)
	if _, ok := c.get("0"); ok || c.len() != 2 {
		t.Error("an expired entry is kept")
	}
}
