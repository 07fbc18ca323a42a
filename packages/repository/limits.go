package repository

import (
	"errors"
	"fmt"
	"io"
)

// Limits bound what is read from outside, in bytes. A zero field means its
// default, a negative one no limit.
type Limits struct {
	Index         int64 // an index file as it comes; default 300 MiB
	IndexInflated int64 // and inflated; default 300 MiB
	Key           int64 // a key, releases.json or JWKS document; default 4 MiB
	Package       int64 // a package whose index entry gives no size; default 8 GiB
	Response      int64 // the body of any answer over HTTP; default 8 GiB
}

const (
	defaultIndexLimit   = 300 << 20
	defaultKeyLimit     = 4 << 20
	defaultPackageLimit = 8 << 30
	noLimit             = 1<<63 - 2
)

func (l Limits) withDefaults() Limits {
	set := func(n *int64, def int64) {
		switch {
		case *n == 0:
			*n = def
		case *n < 0:
			*n = noLimit
		}
	}
	set(&l.Index, defaultIndexLimit)
	set(&l.IndexInflated, defaultIndexLimit)
	set(&l.Key, defaultKeyLimit)
	set(&l.Package, defaultPackageLimit)
	set(&l.Response, defaultPackageLimit)
	return l
}

// limitReader gives ErrLimit, not EOF, once more than the limit is there.
type limitReader struct {
	r     io.Reader
	left  int64
	limit int64
}

func newLimitReader(r io.Reader, limit int64) *limitReader { return &limitReader{r, limit, limit} }

func (l *limitReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		n = int(l.left)
		l.left = 0
		return n, overLimit(l.limit)
	}
	l.left -= int64(n)
	return n, err
}

func overLimit(limit int64) error {
	return fmt.Errorf("%w: more than %d bytes", ErrLimit, limit)
}

// readLimit reads all of r, at most limit bytes.
func readLimit(r io.Reader, limit int64) ([]byte, error) {
	return io.ReadAll(newLimitReader(r, limit))
}

// readSized is readLimit for something of probably size bytes (-1: unknown),
// which it does not rely on.
func readSized(r io.Reader, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes: at most %d expected", ErrLimit, size, limit)
	}
	const most = 64 << 20 // what an announcement alone may reserve
	l := newLimitReader(r, limit)
	if size < 0 {
		size = 32 << 10
	}
	b := make([]byte, 0, min(size, most)+1) // one more, to meet the end without growing
	for {
		n, err := l.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// exactReader gives an error unless r holds exactly the announced bytes.
type exactReader struct {
	r    io.Reader
	want int64
	got  int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if left := e.want - e.got; int64(len(p)) > left+1 {
		p = p[:left+1]
	}
	n, err := e.r.Read(p)
	e.got += int64(n)
	if e.got > e.want {
		return n - int(e.got-e.want), fmt.Errorf("%w: more than the %d bytes of the index entry", ErrLimit, e.want)
	}
	if errors.Is(err, io.EOF) && e.got < e.want {
		return n, fmt.Errorf("%w: %d bytes: the index entry says %d", io.ErrUnexpectedEOF, e.got, e.want)
	}
	return n, err
}
