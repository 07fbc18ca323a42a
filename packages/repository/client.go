package repository

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// AlpineReleases is where Alpine lists its releases and their keys.
const AlpineReleases = "https://alpinelinux.org/releases.json"

// Options configures a [Client]. The zero value works: no cache, no
// credentials, network allowed.
type Options struct {
	// CacheDir is a directory for this package alone, made when missing. Empty:
	// nothing is kept.
	CacheDir string
	// CacheSecret, when set, keys the seals of what is cached: entries written
	// with another secret, or none, count as absent. Keep it outside CacheDir
	// ([CacheSecretFile]); then who can write to the cache alone, such as the
	// jobs sharing it on a build server, cannot supply keys or entries.
	CacheSecret []byte
	// Dir is the directory that relative paths of local repositories and keys
	// are relative to. Default: the working directory.
	Dir string
	// Offline forbids the network: indexes and keys come from the cache, and
	// what is not there gives ErrOffline.
	Offline bool
	// Timeout is the longest wait without progress: for a connection, for the
	// response's header, and between two pieces of a body. Default 30 s.
	Timeout time.Duration
	// Retries is how often a request is repeated after a network failure, a
	// 5xx or 429 answer, and how often a broken body is resumed without any
	// progress. 0 means 4, a negative number none.
	Retries int
	// RetryWait is the pause before the first repetition; it doubles each time.
	// Default 500 ms.
	RetryWait time.Duration
	// MaxRetryWait bounds a pause, also one that Retry-After asks for: a server
	// that wants more is not asked again. Default 60 s.
	MaxRetryWait time.Duration
	// Auth says which credentials go where; see [AuthFromEnvironment].
	Auth *Auth
	// Builtins are the repositories builtin://NAME, by name; the index is at
	// ARCH/APKINDEX.tar.gz in each.
	Builtins map[string]fs.FS
	// Limits bounds what is read.
	Limits Limits
	// UserAgent is sent with each request. Default "cairn".
	UserAgent string
	// TLS replaces the defaults of the system, for private authorities.
	TLS *tls.Config
	// Proxy chooses a proxy for a request. Default http.ProxyFromEnvironment
	// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
	Proxy func(*http.Request) (*url.URL, error)
	// AlpineReleasesURL replaces [AlpineReleases].
	AlpineReleasesURL string
	// Now replaces time.Now where Alpine's keys have an end date.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Retries == 0 {
		o.Retries = 4
	}
	o.Retries = max(o.Retries, 0)
	if o.RetryWait <= 0 {
		o.RetryWait = 500 * time.Millisecond
	}
	if o.MaxRetryWait <= 0 {
		o.MaxRetryWait = time.Minute
	}
	if o.UserAgent == "" {
		o.UserAgent = "cairn"
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.AlpineReleasesURL == "" {
		o.AlpineReleasesURL = AlpineReleases
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Limits = o.Limits.withDefaults()
	return o
}

// Client loads indexes and keys and opens packages. It is safe for concurrent
// use, and several clients, of several processes, may share a cache directory.
// It keeps connections, and key documents for a few minutes; make one per build.
type Client struct {
	opt       Options
	http      *retryablehttp.Client
	cache     *cache
	documents memo
}

// NewClient checks the options and makes the cache directory.
func NewClient(o Options) (*Client, error) {
	o = o.withDefaults()
	for name, f := range o.Builtins {
		if f == nil || name == "" {
			return nil, fmt.Errorf("builtin repository %q: no name or no files", name)
		}
	}
	if _, err := parseURL(o.AlpineReleasesURL); err != nil {
		return nil, fmt.Errorf("releases URL: %w", err)
	}
	c := &Client{opt: o}
	if o.CacheDir != "" {
		var err error
		if c.cache, err = openCache(o.CacheDir, o.CacheSecret); err != nil {
			return nil, err
		}
	}
	c.http = newHTTP(o)
	return c, nil
}

// at returns where the file of a relative path is.
func (c *Client) at(name string) string {
	if c.opt.Dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.opt.Dir, name)
}

// Close drops idle connections. The client can still be used.
func (c *Client) Close() { c.http.HTTPClient.CloseIdleConnections() }

// CacheSecretFile reads the secret for [Options.CacheSecret] from a file, and
// makes it (32 random bytes, mode 0600) when there is none.
func CacheSecretFile(name string) ([]byte, error) {
	for range 2 {
		b, err := readFileLimit(name, 4096)
		if err == nil && len(b) < 16 {
			return nil, fmt.Errorf("cache secret %s: %d bytes: expected at least 16; remove the file to have a new one made", name, len(b))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		secret := make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return nil, err
		}
		// Whoever links first wins; the others read the winner's.
		if err := writeNew(name, secret, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return readFileLimit(name, 4096)
}

// sleep waits, unless the context ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
