package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// OpenPackage opens the file of a package that ix lists and [Client.Load] gave.
// size is its length in bytes, or -1 when neither the index nor the server says.
//
// Reading gives exactly the bytes that the index entry's size announces or an
// error; without such a size at most [Limits.Package]. A download that breaks off
// is resumed. What the bytes are is not looked at: the reader of the stream
// verifies them. The caller closes the stream.
//
// A file that is not there gives a *MissingPackageError.
func (c *Client) OpenPackage(ctx context.Context, ix *Index, p *apk.Package) (r io.ReadCloser, size int64, err error) {
	if err := ix.source.check(); err != nil {
		return nil, 0, fmt.Errorf("package %s: index was not loaded by a client: %w", p.ID(), err)
	}
	return c.OpenFile(ctx, ix.source, p)
}

// OpenFile is OpenPackage without an index: src says where, and p which file and
// how long, as a lock does.
func (c *Client) OpenFile(ctx context.Context, src Source, p *apk.Package) (r io.ReadCloser, size int64, err error) {
	name := p.Filename()
	if !fs.ValidPath(name) || strings.ContainsAny(name, "/\\\x00") || p.Name == "" || p.Version == "" {
		return nil, 0, fmt.Errorf("package %.200q: no possible file name", p.ID())
	}
	if err := src.check(); err != nil {
		return nil, 0, fmt.Errorf("package %s: %w", p.ID(), err)
	}
	location := Redact(src.PackageURL(name))
	if src.Remote() {
		r, size, err = c.openRemote(ctx, src.PackageURL(name))
	} else {
		r, size, err = c.openFile(src, name)
		err = pathProblem(err)
	}
	if err != nil {
		return nil, 0, packageProblem(p, location, err)
	}
	limit := c.opt.Limits.Package
	switch {
	case p.Size > 0 && size >= 0 && size != p.Size:
		err = fmt.Errorf("is %d bytes: the index entry says %d", size, p.Size)
	case p.Size <= 0 && size > limit:
		err = fmt.Errorf("%w: %d bytes: at most %d expected", ErrLimit, size, limit)
	}
	if err != nil {
		return nil, 0, packageProblem(p, location, errors.Join(err, r.Close()))
	}
	s := &stream{ctx: ctx, closer: r, p: p, location: location}
	if p.Size > 0 {
		s.r, size = &exactReader{r: r, want: p.Size}, p.Size
	} else {
		s.r = newLimitReader(r, limit)
	}
	return s, size, nil
}

func (c *Client) openRemote(ctx context.Context, rawURL string) (io.ReadCloser, int64, error) {
	d, err := c.get(ctx, rawURL, nil)
	if err != nil {
		return nil, 0, err
	}
	return d, d.total, nil
}

func packageProblem(p *apk.Package, location string, err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return &MissingPackageError{Package: p.ID(), Location: location, Err: err,
			Hint: "the repository changed since its index was made or read; renew the index, or the lock (cairn lock --update)"}
	}
	return fmt.Errorf("package %s: %s: %w", p.ID(), location, err)
}

// stream names the package in every error, and ends with its context.
type stream struct {
	ctx      context.Context
	r        io.Reader
	closer   io.Closer
	p        *apk.Package
	location string
}

func (s *stream) Read(b []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, packageProblem(s.p, s.location, err)
	}
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		err = packageProblem(s.p, s.location, err)
	}
	return n, err
}

func (s *stream) Close() error { return s.closer.Close() }
