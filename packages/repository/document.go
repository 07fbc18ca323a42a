package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// fetched is the content of a URL, and how to keep it.
type fetched struct {
	content []byte
	record  record
	fresh   bool // came over the network just now
	keep    bool // may be kept
}

// fetch gets a document: over the network, asking only whether it changed when
// the cache has it, or from the cache when offline. It keeps nothing yet.
func (c *Client) fetch(ctx context.Context, rawURL string, limit int64) (fetched, error) {
	r, content, cached := c.cache.lookup(rawURL, limit)
	if c.opt.Offline {
		if !cached {
			return fetched{}, fmt.Errorf("%w: not in the cache%s", ErrOffline, c.cacheHint())
		}
		return fetched{content: content, record: r}, nil
	}
	var conditions http.Header
	if cached && (r.ETag != "" || r.LastModified != "") {
		conditions = http.Header{}
		if r.ETag != "" {
			conditions.Set("If-None-Match", r.ETag)
		}
		if r.LastModified != "" {
			conditions.Set("If-Modified-Since", r.LastModified)
		}
	}
	d, err := c.get(ctx, rawURL, conditions)
	if err != nil {
		return fetched{}, err
	}
	if d == nil {
		return fetched{content: content, record: r}, nil
	}
	return d.document(limit)
}

func (c *Client) cacheHint() string {
	if c.cache == nil {
		return ", because there is none"
	}
	return "\nhint: run once with the network"
}

// document reads a whole body.
func (d *download) document(limit int64) (f fetched, err error) {
	defer func() { err = errors.Join(err, d.Close()) }()
	f.content, err = readSized(d, d.total, limit)
	if err != nil {
		return f, err
	}
	f.fresh = true
	f.keep = !hasDirective(d.header, "no-store")
	f.record = record{ETag: d.header.Get("ETag"), LastModified: d.header.Get("Last-Modified")}
	return f, nil
}

// hasDirective reports whether Cache-Control has it. Of the directives, only
// no-store matters here: what is kept is never used without asking the server.
func hasDirective(h http.Header, directive string) bool {
	for _, line := range h.Values("Cache-Control") {
		for _, word := range strings.Split(line, ",") {
			if strings.EqualFold(strings.TrimSpace(word), directive) {
				return true
			}
		}
	}
	return false
}

// keepFetched stores a document that was found good.
func (c *Client) keepFetched(rawURL string, f fetched) error {
	var err error
	switch {
	case !f.fresh:
	case f.keep:
		err = c.cache.store(rawURL, f.record, f.content)
	default:
		err = c.cache.forget(rawURL)
	}
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}

// memo keeps documents of one client for a while, and makes concurrent requests
// for one of them a single one.
type memo struct {
	mu      sync.Mutex
	entries map[string]*memoEntry
}

const memoTime = 5 * time.Minute

type memoEntry struct {
	turn    chan struct{} // holds one element while someone fetches
	at      time.Time
	content []byte
}

func (m *memo) entry(key string) *memoEntry {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[string]*memoEntry{}
	}
	e := m.entries[key]
	if e == nil {
		e = &memoEntry{turn: make(chan struct{}, 1)}
		m.entries[key] = e
	}
	return e
}

// document fetches a small document, at most once in a few minutes, and keeps it
// once accept has found it good.
func (c *Client) document(ctx context.Context, rawURL string, accept func([]byte) error) error {
	e := c.documents.entry(rawURL)
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if e.content != nil && time.Since(e.at) < memoTime {
		return accept(e.content)
	}
	f, err := c.fetch(ctx, rawURL, c.opt.Limits.Key)
	if err != nil {
		return err
	}
	if f.content == nil {
		f.content = []byte{}
	}
	if err := accept(f.content); err != nil {
		return err
	}
	e.content, e.at = f.content, time.Now()
	return c.keepFetched(rawURL, f)
}

var _ io.ReadCloser = (*download)(nil)
