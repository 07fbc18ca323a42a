package repository

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
)

// cache is a directory of three kinds of files, each written whole or not at
// all, and none ever changed in place:
//
//	urls/<sha256 of the URL>.json   which content a URL had, sealed
//	files/<sha256>                  that content
//	parsed/<sha256>.v<N>            an index parsed
//
// What is damaged, forged or of another version counts as absent.
type cache struct {
	dir    string
	secret []byte
}

func openCache(dir string, secret []byte) (*cache, error) {
	for _, sub := range []string{"urls", "files", "parsed"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("cache %s: %w", dir, pathProblem(err))
		}
	}
	return &cache{dir: dir, secret: bytes.Clone(secret)}, nil
}

// record says what a URL had the last time it was asked.
type record struct {
	URL          string     `json:"url"` // redacted, for people
	ETag         string     `json:"etag,omitempty"`
	LastModified string     `json:"last_modified,omitempty"`
	SHA256       apk.SHA256 `json:"sha256"`
	Size         int64      `json:"size"`
	Seal         string     `json:"seal"`
}

// seal covers the record and the URL it is for.
func (r record) seal(secret []byte, key string) string {
	r.Seal = ""
	b, err := json.Marshal(r)
	if err != nil {
		return ""
	}
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "cairn url record\n%s\n%s", key, b)
	return hex.EncodeToString(m.Sum(nil))
}

// urlKey names a URL in the cache. User information does not count: it says who
// asks, not for what.
func urlKey(rawURL string) string {
	if sch, rest, ok := strings.Cut(rawURL, "://"); ok {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			rawURL = sch + "://" + rest[at+1:]
		}
	}
	sum := sha256.Sum256([]byte(rawURL))
	return hex.EncodeToString(sum[:])
}

func (c *cache) urlPath(key string) string      { return filepath.Join(c.dir, "urls", key+".json") }
func (c *cache) filePath(sum apk.SHA256) string { return filepath.Join(c.dir, "files", sum.Hex()) }
func (c *cache) parsedPath(sum apk.SHA256) string {
	return filepath.Join(c.dir, "parsed", sum.Hex()+parsedSuffix)
}

var parsedSuffix = fmt.Sprintf(".v%d", FormatVersion)

// lookup returns what is known of a URL, and its content, verified against the
// recorded digest.
func (c *cache) lookup(rawURL string, limit int64) (record, []byte, bool) {
	if c == nil {
		return record{}, nil, false
	}
	key := urlKey(rawURL)
	b, err := readFileLimit(c.urlPath(key), 64<<10)
	if err != nil {
		return record{}, nil, false
	}
	var r record
	if json.Unmarshal(b, &r) != nil || !hmac.Equal([]byte(r.seal(c.secret, key)), []byte(r.Seal)) {
		return record{}, nil, false
	}
	content, err := readFileLimit(c.filePath(r.SHA256), limit)
	if err != nil || sha256.Sum256(content) != r.SHA256 {
		return record{}, nil, false
	}
	c.touch(c.urlPath(key))
	return r, content, true
}

// readOnly hides that nothing can be kept in a cache that is mounted read-only:
// it may still be read from.
func readOnly(err error) error {
	if errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
}

// store keeps the content of a URL.
func (c *cache) store(rawURL string, r record, content []byte) error {
	if c == nil {
		return nil
	}
	r.URL = Redact(rawURL)
	r.SHA256 = sha256.Sum256(content)
	r.Size = int64(len(content))
	key := urlKey(rawURL)
	r.Seal = r.seal(c.secret, key)
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := c.storeFile(r.SHA256, content); err != nil {
		return readOnly(err)
	}
	return readOnly(writeAtomic(c.urlPath(key), append(b, '\n'), 0o600))
}

// storeFile does not write again what is there already and right.
func (c *cache) storeFile(sum apk.SHA256, content []byte) error {
	name := c.filePath(sum)
	if b, err := readFileLimit(name, int64(len(content))); err == nil && bytes.Equal(b, content) {
		c.touch(name)
		return nil
	}
	return writeAtomic(name, content, 0o600)
}

// forget drops what is kept of a URL, because its server wants that.
func (c *cache) forget(rawURL string) error {
	if c == nil {
		return nil
	}
	err := os.Remove(c.urlPath(urlKey(rawURL)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return readOnly(err)
}

// parsed returns the parsed form of an index file, or nil.
func (c *cache) parsed(sum apk.SHA256, size int64) *table {
	if c == nil {
		return nil
	}
	name := c.parsedPath(sum)
	b, err := readFileLimit(name, math.MaxUint32)
	if err != nil {
		return nil
	}
	t, err := openTable(b, c.secret)
	if err != nil || apk.SHA256(t.sha()) != sum || t.size() != size {
		return nil
	}
	c.touch(name)
	return t
}

func (c *cache) storeParsed(sum apk.SHA256, b []byte) error {
	if c == nil {
		return nil
	}
	return readOnly(writeAtomic(c.parsedPath(sum), b, 0o600))
}

// touch marks a file as used, at most once a day. That it may not work matters
// to nobody but prune.
func (c *cache) touch(name string) {
	now := time.Now()
	if st, err := os.Stat(name); err == nil && now.Sub(st.ModTime()) > 24*time.Hour {
		_ = os.Chtimes(name, now, now)
	}
}

// CacheInfo sums up a client's cache.
type CacheInfo struct {
	URLs   int   `json:"urls"`   // indexes and keys known by their URL
	Files  int   `json:"files"`  // their contents
	Parsed int   `json:"parsed"` // parsed indexes
	Bytes  int64 `json:"bytes"`  // of all files
}

// CacheInfo counts what the cache holds; all zero without one.
func (c *Client) CacheInfo() (CacheInfo, error) {
	var info CacheInfo
	if c.cache == nil {
		return info, nil
	}
	err := c.cache.walk(func(sub, _ string, st fs.FileInfo) error {
		switch sub {
		case "urls":
			info.URLs++
		case "files":
			info.Files++
		case "parsed":
			info.Parsed++
		}
		info.Bytes += st.Size()
		return nil
	})
	return info, err
}

// walk visits the files of the cache in a fixed order.
func (c *cache) walk(visit func(sub, name string, st fs.FileInfo) error) error {
	for _, sub := range []string{"files", "parsed", "urls"} {
		entries, err := os.ReadDir(filepath.Join(c.dir, sub))
		if err != nil {
			return fmt.Errorf("cache %s: %w", c.dir, err)
		}
		for _, e := range entries {
			st, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) || err == nil && !st.Mode().IsRegular() {
				continue
			}
			if err != nil {
				return fmt.Errorf("cache %s: %w", c.dir, err)
			}
			if err := visit(sub, filepath.Join(c.dir, sub, e.Name()), st); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckCache reads every file of the cache and returns the paths of those that
// are damaged, or were sealed with another secret. They are harmless: a load
// takes them for absent.
func (c *Client) CheckCache(ctx context.Context) (bad []string, err error) {
	if c.cache == nil {
		return nil, nil
	}
	err = c.cache.walk(func(sub, name string, _ fs.FileInfo) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if isTemporary(name) {
			return nil
		}
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !c.cache.sound(sub, filepath.Base(name), b) {
			bad = append(bad, name)
		}
		return nil
	})
	return bad, err
}

// sound reports whether a file of the cache is what its name says.
func (c *cache) sound(sub, base string, b []byte) bool {
	sum := sha256.Sum256(b)
	switch sub {
	case "files":
		return base == hex.EncodeToString(sum[:])
	case "parsed":
		t, err := openTable(b, c.secret)
		return err == nil && base == hex.EncodeToString(t.sha())+parsedSuffix
	}
	var r record
	key := strings.TrimSuffix(base, ".json")
	return json.Unmarshal(b, &r) == nil && hmac.Equal([]byte(r.seal(c.secret, key)), []byte(r.Seal))
}

// PruneCache removes what was not used since the given time, contents that no
// URL has any more, and what was left by killed processes. It returns the number
// of files and bytes freed. Other processes may use the cache meanwhile.
func (c *Client) PruneCache(ctx context.Context, before time.Time) (files int, size int64, err error) {
	if c.cache == nil {
		return 0, 0, nil
	}
	needed := map[string]bool{}
	remove := func(name string, st fs.FileInfo) error {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		files++
		size += st.Size()
		return nil
	}
	prune := func(only bool) func(sub, name string, st fs.FileInfo) error {
		return func(sub, name string, st fs.FileInfo) error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if (sub == "urls") != only {
				return nil
			}
			old := st.ModTime().Before(before)
			if sub == "urls" && !old && !isTemporary(name) {
				noteNeeded(name, needed)
				return nil
			}
			sum, _, _ := strings.Cut(filepath.Base(name), ".")
			if !old || sub == "files" && needed[sum] {
				return nil
			}
			return remove(name, st)
		}
	}
	if err := c.cache.walk(prune(true)); err != nil {
		return files, size, err
	}
	return files, size, c.cache.walk(prune(false))
}

func noteNeeded(name string, needed map[string]bool) {
	var r record
	if b, err := os.ReadFile(name); err == nil && json.Unmarshal(b, &r) == nil {
		needed[r.SHA256.Hex()] = true
	}
}
