// Package source takes what a build needs from elsewhere before its sandbox starts:
// files by URL, and checkouts of git repositories. Everything has the hash or the
// commit that the definition pins, and is kept in a cache, so that it is taken once
// and builds go on without a network.
//
// It does not unpack and runs nothing of what it takes. What a definition calls
// unchecked is taken as it comes, every time that a cache does not have it, and is
// recorded by the hash that it had.
//
//	set, err := source.Take(ctx, build.Sources, source.Options{Cache: dir})
//	if err != nil {
//		return err
//	}
//	defer set.Close()
//	// set.Dir is to be definition.SourcesDir in the sandbox
//
// The files are named as definition.Source.File and definition.GitSource.File say.
package source

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/packages/definition"
)

// What callers tell apart.
var (
	// ErrMismatch: what was taken is not what the definition pins.
	ErrMismatch = errors.New("is not what the definition pins")
	// ErrUnavailable: a source cannot be had.
	ErrUnavailable = errors.New("cannot be had")
)

// maxFile bounds a file, in bytes.
const maxFile = 32 << 30

// Options say how sources are taken.
type Options struct {
	// Cache is the directory that they are kept in; it is made when it is not there.
	Cache string
	// Offline takes nothing that the cache does not have.
	Offline bool
	// Client makes the requests; nil for one with sane limits of time.
	Client *http.Client
	// Log is told what is taken; may be nil.
	Log io.Writer
	// Jobs is how many are taken at a time; less than 1 is 4.
	Jobs int
}

// Material is something that was taken, for provenance.
type Material struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"` // by algorithm: sha256, sha512, gitCommit
}

// Set is what one build needs.
type Set struct {
	// Dir has a file for each source, and nothing else.
	Dir       string
	Materials []Material
}

// Close removes the set; the cache stays.
func (s *Set) Close() error { return os.RemoveAll(s.Dir) }

// fileName is what sources may be called: they become names of files.
var fileName = regexp.MustCompile(`^(sha256|sha512|uri|git):[0-9a-fA-F]{40,128}$`)

// Take takes sources, several at a time, and returns a directory with them.
func Take(ctx context.Context, uses []definition.SourceUse, o Options) (_ *Set, err error) {
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Cache, ".set-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // a sandbox may read it as another user
		return nil, err
	}
	t := &taker{o: o}
	if t.o.Client == nil {
		t.o.Client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: time.Minute, TLSHandshakeTimeout: 30 * time.Second}}
	}
	set := &Set{Dir: dir}
	type entry struct {
		name string
		take func(context.Context, string) (Material, error)
	}
	var list []entry
	seen := map[string]bool{}
	for i := range uses {
		var e entry
		switch u := &uses[i]; {
		case u.Source != nil:
			e = entry{u.Source.File, func(ctx context.Context, to string) (Material, error) { return t.file(ctx, u.Source, to) }}
		case u.Git != nil:
			e = entry{u.Git.File, func(ctx context.Context, to string) (Material, error) { return t.git(ctx, u.Git, to) }}
		default:
			continue
		}
		if !fileName.MatchString(e.name) {
			return nil, fmt.Errorf("source %.200q: not the name of a source", e.name)
		}
		if !seen[e.name] {
			seen[e.name] = true
			list = append(list, e)
		}
	}
	set.Materials = make([]Material, len(list))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(o.Jobs, 4))
	for i, e := range list {
		g.Go(func() error {
			cached := filepath.Join(o.Cache, e.name)
			m, err := e.take(gctx, cached)
			if err != nil {
				return err
			}
			set.Materials[i] = m
			return place(cached, filepath.Join(dir, e.name))
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return set, nil
}

// place gives a cached file another name, by a link where that is possible.
func place(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(0o444), out.Close()) // whatever the umask
}

type taker struct{ o Options }

func (t *taker) say(format string, args ...any) {
	if t.o.Log != nil {
		fmt.Fprintf(t.o.Log, format+"\n", args...)
	}
}

// file takes a file by its URL.
func (t *taker) file(ctx context.Context, s *definition.Source, to string) (Material, error) {
	m := Material{URI: redacted(s.URI), Digest: map[string]string{}}
	sums, err := sumsOf(to)
	if err == nil && t.fits(s, sums) == nil {
		m.Digest["sha256"], m.Digest["sha512"] = sums["sha256"], sums["sha512"]
		return m, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	u, err := url.Parse(s.URI)
	if err != nil {
		return m, fmt.Errorf("source %s: %w: %w", m.URI, ErrUnavailable, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file" {
		return m, fmt.Errorf("source %s: %w: scheme %q, expected https, http or file", m.URI, ErrUnavailable, u.Scheme)
	}
	if t.o.Offline && u.Scheme != "file" {
		return m, fmt.Errorf("source %s: %w: offline, and not in %s", m.URI, ErrUnavailable, t.o.Cache)
	}
	tries := max(1, s.Retries)
	for try := 1; ; try++ {
		t.say("fetching %s", m.URI)
		sums, err = t.fetch(ctx, u, s, to)
		var later *passing
		if err == nil || !errors.As(err, &later) || try >= tries || ctx.Err() != nil {
			break
		}
		if wait(ctx, time.Duration(try)*250*time.Millisecond) != nil {
			break
		}
	}
	if err != nil {
		return m, fmt.Errorf("source %s: %w", m.URI, err)
	}
	m.Digest["sha256"], m.Digest["sha512"] = sums["sha256"], sums["sha512"]
	return m, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// passing is a failure that may not happen again.
type passing struct{ error }

func (p *passing) Unwrap() error { return p.error }

// redacted is a URL without credentials.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return s
	}
	return u.Redacted()
}

// fits compares hashes with what the definition pins.
func (t *taker) fits(s *definition.Source, sums map[string]string) error {
	for algorithm, want := range map[string]string{"sha256": s.SHA256, "sha512": s.SHA512} {
		if want != "" && !strings.EqualFold(want, sums[algorithm]) {
			return fmt.Errorf("%w: %s is %s, expected %s", ErrMismatch, algorithm, sums[algorithm], strings.ToLower(want))
		}
	}
	return nil
}

// fetch reads a URL into a file, which appears when it is complete and right.
func (t *taker) fetch(ctx context.Context, u *url.URL, s *definition.Source, to string) (map[string]string, error) {
	body, err := t.open(ctx, u)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	f, err := os.CreateTemp(filepath.Dir(to), ".source-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // after a rename it is gone
	h := newHashes()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(body, maxFile+1))
	err2 := f.Chmod(0o444)
	if e := f.Close(); err == nil {
		err = errors.Join(err2, e)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &passing{fmt.Errorf("%w: %w", ErrUnavailable, err)}
	case n > maxFile:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrUnavailable, int64(maxFile))
	}
	sums := h.sums()
	if err := t.fits(s, sums); err != nil {
		return nil, err
	}
	return sums, os.Rename(f.Name(), to)
}

func (t *taker) open(ctx context.Context, u *url.URL) (io.ReadCloser, error) {
	if u.Scheme == "file" {
		f, err := os.Open(u.Path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return f, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.o.Client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &passing{fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
	if resp.StatusCode == http.StatusOK {
		return &whole{resp.Body, resp.ContentLength}, nil
	}
	resp.Body.Close()
	err = fmt.Errorf("%w: %s", ErrUnavailable, resp.Status)
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout {
		err = &passing{err}
	}
	return nil, err
}

// whole is a body that must be as long as it was said to be.
type whole struct {
	io.ReadCloser
	left int64 // -1: not said
}

func (w *whole) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if w.left >= 0 {
		if w.left -= int64(n); err == io.EOF && w.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// hashes are both that definitions use.
type hashes map[string]hash.Hash

func newHashes() hashes { return hashes{"sha256": sha256.New(), "sha512": sha512.New()} }

func (h hashes) Write(p []byte) (int, error) {
	for _, one := range h {
		one.Write(p)
	}
	return len(p), nil
}

func (h hashes) sums() map[string]string {
	out := map[string]string{}
	for name, one := range h {
		out[name] = hex.EncodeToString(one.Sum(nil))
	}
	return out
}

func sumsOf(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := newHashes()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.sums(), nil
}
