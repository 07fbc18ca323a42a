package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sync/singleflight"
)

// Mode says what becomes of an object with an image that does not pass.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce" // refused
	Warn    Mode = "warn"    // let in with a warning to the user
	DryRun  Mode = "dry-run" // let in; audit log and metrics say what would have been
)

// Modes lists the modes.
var Modes = []Mode{Enforce, Warn, DryRun}

// Options say how the server behaves. Zero fields have defaults.
type Options struct {
	Mode Mode // Enforce
	// Timeout is the longest an answer may take when the API server does not say
	// less; 8 s, below the webhook's 10.
	Timeout time.Duration
	// TTL is how long a decision is kept, 10 min; RefusalTTL how long a refusal
	// is, 30 s, so that a signature that was late counts soon.
	TTL, RefusalTTL time.Duration
	// Entries is the most decisions that are kept; 10,000.
	Entries int
	// Keychain gives credentials for everybody, Secrets those that an object
	// names; nil for none.
	Keychain authn.Keychain
	Secrets  Secrets
	// Log takes one line per object that was not let in; nil for none.
	Log *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = Enforce
	}
	for _, d := range []struct {
		to *time.Duration
		is time.Duration
	}{{&o.Timeout, 8 * time.Second}, {&o.TTL, 10 * time.Minute}, {&o.RefusalTTL, 30 * time.Second}} {
		if *d.to <= 0 {
			*d.to = d.is
		}
	}
	if o.Entries <= 0 {
		o.Entries = 10_000
	}
	if o.Keychain == nil {
		o.Keychain = authn.NewMultiKeychain()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Bounds of a request: its size in bytes, and the images of one object.
const (
	maxReview = 8 << 20
	maxImages = 200
)

// parallel is how many images of one object are verified at a time.
const parallel = 8

// Server answers admission reviews. It is an [http.Handler] with the paths
// /validate, /mutate, /healthz and /metrics.
type Server struct {
	decider Decider
	options Options
	cache   *cache
	flights singleflight.Group
	metrics *metrics
	mux     *http.ServeMux
}

// New makes a server.
func New(d Decider, o Options) *Server {
	o = o.withDefaults()
	s := &Server{decider: d, options: o, cache: newCache(o.Entries, o.Now), mux: http.NewServeMux()}
	s.metrics = newMetrics(func() float64 { return float64(s.cache.len()) })
	s.mux.HandleFunc("POST /validate", s.review(s.validate))
	s.mux.HandleFunc("POST /mutate", s.review(s.mutate))
	// Whether the registry answers is no matter of the server's health: a
	// restart would not help.
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	s.mux.Handle("GET /metrics", s.metrics.handler())
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// review reads a request, answers with what f says, and turns whatever goes
// wrong into a refusal.
func (s *Server) review(f func(context.Context, *Request) *Response) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			http.Error(w, fmt.Sprintf("review: too large: expected at most %d bytes", maxReview), http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			return // the client is gone
		}
		req, err := ParseReview(raw)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.deadline(r.URL.Query().Get("timeout")))
		defer cancel()
		resp := s.answer(ctx, req, f)
		s.metrics.answered(resp.Allowed, time.Since(start))
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(Review{APIVersion: apiVersion, Kind: kind, Response: resp}); err != nil {
			s.options.Log.Warn("answer not sent", "error", err)
		}
	}
}

func (s *Server) answer(ctx context.Context, req *Request, f func(context.Context, *Request) *Response) (resp *Response) {
	defer func() {
		if r := recover(); r != nil {
			resp = s.refuse(req, fmt.Sprintf("the server gave up: %v", r))
		}
		resp.UID = req.UID
	}()
	return f(ctx, req)
}

// refuse is a refusal in the mode that asks for one.
func (s *Server) refuse(req *Request, reason string) *Response {
	s.options.Log.Info("not verified", "mode", s.options.Mode, "kind", req.Kind.Kind, "namespace", req.Namespace, "name", req.Name, "reason", reason)
	resp := &Response{Allowed: s.options.Mode != Enforce, AuditAnnotations: map[string]string{"not-verified": reason}}
	switch s.options.Mode {
	case Enforce:
		resp.Status = &Status{Code: http.StatusForbidden, Message: reason}
	case Warn:
		resp.Warnings = strings.Split(reason, "\n")
	}
	return resp
}

// images finds the images of a request that have to be looked at.
func images(req *Request) ([]Use, []string, error) {
	if req.Operation == "DELETE" || req.Operation == "CONNECT" || len(req.Object) == 0 || string(req.Object) == "null" {
		return nil, nil, nil
	}
	w, err := objectOf(req.Kind.Kind, req.Object)
	if err != nil || w.gone {
		return nil, nil, err
	}
	if len(w.uses) > maxImages {
		return nil, nil, fmt.Errorf("object: found %d images, expected at most %d", len(w.uses), maxImages)
	}
	if req.Operation == "UPDATE" && len(req.OldObject) > 0 && string(req.OldObject) != "null" {
		old, err := objectOf(req.Kind.Kind, req.OldObject)
		if err != nil {
			return nil, nil, err
		}
		return w.changed(old), w.secrets, nil
	}
	return w.uses, w.secrets, nil
}

// validate decides about an object.
func (s *Server) validate(ctx context.Context, req *Request) *Response {
	uses, secrets, err := images(req)
	if err != nil {
		return s.refuse(req, err.Error())
	}
	names := distinct(uses)
	results := make([]judged, len(names))
	k, credentials := s.keychain(req.Namespace, secrets)
	each(len(names), func(i int) { results[i] = s.judge(ctx, names[i], credentials, k) })
	var reasons []string
	for _, j := range results {
		if j.outcome != outcomePassed {
			reasons = append(reasons, j.image+": "+j.reason)
		}
	}
	if len(reasons) > 0 {
		return s.refuse(req, strings.Join(reasons, "\n"))
	}
	return &Response{Allowed: true}
}

func distinct(uses []Use) []string {
	var out []string
	seen := map[string]bool{}
	for _, u := range uses {
		if !seen[u.Image] {
			seen[u.Image] = true
			out = append(out, u.Image)
		}
	}
	return out
}

// each runs f for every index, a few at a time. f does not panic.
func each(n int, f func(int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// patch is one operation of a JSON patch (RFC 6902).
type patch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value"`
}

// mutate puts digests behind tags. It verifies nothing: what it cannot resolve
// stays as it is, and is decided about by validate, which comes later.
func (s *Server) mutate(ctx context.Context, req *Request) *Response {
	resp := &Response{Allowed: true}
	uses, secrets, err := images(req)
	if err != nil {
		resp.Warnings = []string{shorten(err.Error())}
		return resp
	}
	k, _ := s.keychain(req.Namespace, secrets)
	names := distinct(uses)
	pinned, failed := make([]string, len(names)), make([]string, len(names))
	each(len(names), func(i int) { pinned[i], failed[i] = s.pin(ctx, names[i], k) })
	to := map[string]string{}
	for i, name := range names {
		if failed[i] != "" {
			resp.Warnings = append(resp.Warnings, failed[i])
		} else if pinned[i] != name {
			to[name] = pinned[i]
		}
	}
	var patches []patch
	for _, u := range uses {
		if p := to[u.Image]; p != "" {
			patches = append(patches, patch{"replace", u.Path, p})
		}
	}
	if len(patches) > 0 {
		raw, err := json.Marshal(patches)
		if err != nil {
			panic(err) // texts only
		}
		resp.Patch, resp.PatchType = raw, "JSONPatch"
	}
	return resp
}

// pin returns the reference with its digest, or why there is none.
func (s *Server) pin(ctx context.Context, image string, k authn.Keychain) (pinned, failed string) {
	digest, tagged, err := s.digest(ctx, image, k)
	switch {
	case err != nil:
		return "", shorten(image + ": " + errorText(err))
	case !tagged:
		return image, ""
	}
	return image + "@" + digest.String(), ""
}
