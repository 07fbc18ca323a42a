package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Load finds, verifies and parses the index of a source.
//
// Over HTTP, the server is asked each time, but only whether the cached index
// changed; offline, the cached one is used. The signature is verified in every
// case. With [Source.Discover], keys are looked for when none of the keyring
// made the signature. Errors name the index's location and wrap ErrUnsigned,
// *UnknownKeyError, *SignatureError, *FormatError, *MissingIndexError,
// *HTTPError, ErrOffline or ErrLimit.
func (c *Client) Load(ctx context.Context, src Source) (*Index, error) {
	if err := src.check(); err != nil {
		return nil, err
	}
	src.URL = trimSlashes(src.URL)
	location := Redact(src.IndexURL())
	ix, err := c.load(ctx, src)
	var missing *MissingIndexError
	if errors.As(err, &missing) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", location, err)
	}
	ix.URL, ix.Arch, ix.source = location, src.Arch, src
	return ix, nil
}

func (c *Client) load(ctx context.Context, src Source) (*Index, error) {
	f, err := c.indexBytes(ctx, src)
	if err != nil {
		return nil, err
	}
	sum := apk.SHA256(sha256.Sum256(f.content))
	// The parsed form is read and checked while the signature is: each hashes
	// megabytes.
	early := make(chan *table, 1)
	go func() { early <- c.cache.parsed(sum, int64(len(f.content))) }()
	v, keys, err := c.verify(ctx, src, f.content, sum)
	t := <-early
	if err != nil {
		return nil, err
	}
	if t == nil {
		if t, err = c.parse(v); err != nil {
			return nil, err
		}
	}
	// Only now: what is kept is what was found good.
	if err := c.keepFetched(src.IndexURL(), f); err != nil {
		return nil, err
	}
	ix := v.index(t)
	ix.keys = keys
	return ix, nil
}

// indexBytes reads the index file from wherever it is.
func (c *Client) indexBytes(ctx context.Context, src Source) (fetched, error) {
	if src.Remote() {
		f, err := c.fetch(ctx, src.IndexURL(), c.opt.Limits.Index)
		if errors.Is(err, ErrNotFound) {
			err = &MissingIndexError{Location: Redact(src.IndexURL()), Arch: src.Arch, Err: err,
				Hint: "check the repository's URL: the index is expected below it in " + src.Arch + "/" + IndexFile}
		}
		return f, err
	}
	r, size, err := c.openFile(src, IndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fetched{}, c.missingFile(src, err)
	}
	if err != nil {
		return fetched{}, pathProblem(err)
	}
	b, err := readSized(r, size, c.opt.Limits.Index)
	return fetched{content: b}, errors.Join(err, r.Close())
}

// missingFile tells how to make a local index.
func (c *Client) missingFile(src Source, err error) error {
	e := &MissingIndexError{Location: src.IndexURL(), Arch: src.Arch, Err: pathProblem(err)}
	if src.Builtin() {
		return e
	}
	dir := filepath.Dir(e.Location)
	e.Hint = fmt.Sprintf("put the packages into %s and make one: cairn index create %s", dir, dir)
	if packages, err := filepath.Glob(filepath.Join(quoteGlob(c.at(dir)), "*.apk")); err == nil && len(packages) > 0 {
		e.Hint = fmt.Sprintf("%d packages are there; make one: cairn index create %s", len(packages), dir)
	}
	return e
}

func quoteGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// openFile opens a file of a local or builtin repository. size is in bytes.
func (c *Client) openFile(src Source, name string) (r io.ReadCloser, size int64, err error) {
	var f fs.File
	if src.Builtin() {
		builtin, p := src.builtinPath(name)
		files, ok := c.opt.Builtins[builtin]
		if !ok {
			return nil, 0, fmt.Errorf("no builtin repository of this name%s", c.builtinNames())
		}
		f, err = files.Open(p)
	} else {
		// A fifo in place of the file must not hang the program.
		f, err = os.OpenFile(c.at(src.join(name)), os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("is a %s: expected a regular file", kind(st.Mode()))
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "fifo"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func (c *Client) builtinNames() string {
	names := sortedKeys(c.opt.Builtins)
	if len(names) == 0 {
		return ": there is none in this program"
	}
	return ": expected " + strings.Join(names, ", ")
}

// verify judges the signature, looking for keys if that helps and is wanted.
func (c *Client) verify(ctx context.Context, src Source, b []byte, sum apk.SHA256) (*verified, *Keyring, error) {
	keys := src.Keyring
	v, err := verifyIndex(b, sum, keys, false)
	var unknown *UnknownKeyError
	if errors.As(err, &unknown) && src.Discover && src.Remote() {
		found, problem := c.Discover(ctx, src)
		if err := context.Cause(ctx); err != nil {
			return nil, nil, err
		}
		keys = NewKeyring(append(keys.Keys(), found...)...)
		if v, err = verifyIndex(b, sum, keys, false); errors.As(err, &unknown) {
			unknown.Discovery = problem
			err = fmt.Errorf("index: %w", unknown) // a wrapper has its text already
		}
	}
	if err != nil && src.UnsafeUnsigned {
		v, err = verifyIndex(b, sum, keys, true)
	}
	return v, keys, err
}

// parse makes the parsed form, and keeps it.
func (c *Client) parse(v *verified) (*table, error) {
	var secret []byte
	if c.cache != nil {
		secret = c.cache.secret
	}
	raw, err := v.parse(c.opt.Limits.IndexInflated, secret)
	if err != nil {
		return nil, err
	}
	t, err := newTable(raw, raw[:len(raw)-sealSize])
	if err != nil {
		return nil, err
	}
	if err := c.cache.storeParsed(v.sha256, raw); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return t, nil
}
