package inflate

import (
	"io"

	"github.com/klauspost/compress/gzip"
)

const Window = 32 << 10

type Reader struct {
	z   *gzip.Reader
	src src
}

type src struct {
	next func() ([]byte, error)
	b    []byte
	err  error
}

func (s *src) Read(p []byte) (int, error) {
	for len(s.b) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.b, s.err = s.next()
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

func (s *src) ReadByte() (byte, error) {
	for len(s.b) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.b, s.err = s.next()
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c, nil
}

func NewReader(next func() ([]byte, error)) *Reader {
	return &Reader{src: src{next: next}}
}

func (r *Reader) Next(buf []byte) (int, error) {
	if r.z == nil {
		z, err := gzip.NewReader(&r.src)
		if err != nil {
			return 0, err
		}
		r.z = z
	}
	n := Window
	for n < len(buf) {
		k, err := r.z.Read(buf[n:])
		n += k
		if err == io.EOF && n > Window {
			return n - Window, nil
		}
		if err != nil {
			return n - Window, err
		}
	}
	return n - Window, nil
}
