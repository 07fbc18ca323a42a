package admission

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the server's own; nothing is registered globally.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	images   *prometheus.CounterVec
	cache    *prometheus.CounterVec
	seconds  prometheus.Histogram
}

func newMetrics(entries func() float64) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_admission_requests_total", Help: "Reviews answered, by whether the object was let in."}, []string{"allowed"}),
		images:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_admission_images_total", Help: "Images decided about, by outcome: passed, failed, error."}, []string{"outcome"}),
		cache:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_admission_cache_total", Help: "Decisions looked for in the cache, by result: hit, miss."}, []string{"result"}),
		seconds:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "cairn_admission_request_duration_seconds", Help: "Time from a review to its answer.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
	}
	m.registry.MustRegister(m.requests, m.images, m.cache, m.seconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cairn_admission_cache_entries", Help: "Decisions in the cache."}, entries))
	return m
}

func (m *metrics) answered(allowed bool, d time.Duration) {
	m.requests.WithLabelValues(strconv.FormatBool(allowed)).Inc()
	m.seconds.Observe(d.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
