package sbom

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
)

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// stream writes one JSON object, element by element, so that a document of any
// size needs little memory. Each element of an array stands on a line of its
// own. After an error it does nothing; flush returns the error.
type stream struct {
	w   *bufio.Writer
	buf bytes.Buffer
	enc *json.Encoder
	any bool // something is in the current object or array
	err error
	sum hash.Hash // of what was written
}

// newStream begins a document; sum is the hash that others refer to it by.
func newStream(w io.Writer, sum hash.Hash) *stream {
	s := &stream{sum: sum}
	s.w = bufio.NewWriterSize(io.MultiWriter(w, s.sum), 64<<10)
	s.enc = json.NewEncoder(&s.buf)
	s.enc.SetEscapeHTML(false)
	s.text("{")
	return s
}

func (s *stream) text(t string) {
	if s.err == nil {
		_, s.err = s.w.WriteString(t)
	}
}

func (s *stream) separate() {
	if s.any {
		s.text(",")
	}
	s.text("\n")
	s.any = true
}

func (s *stream) value(v any) { s.encode(v, "\n") }

// open writes an element of the current array but for the brace that ends it.
func (s *stream) open(v any) {
	s.separate()
	s.encode(v, "}\n")
}

// encode writes a value without its last bytes.
func (s *stream) encode(v any, without string) {
	if s.err != nil {
		return
	}
	s.buf.Reset()
	if s.err = s.enc.Encode(v); s.err == nil {
		_, s.err = s.w.Write(bytes.TrimSuffix(s.buf.Bytes(), []byte(without)))
	}
}

// field writes a member of the object.
func (s *stream) field(name string, v any) {
	s.separate()
	s.value(name)
	s.text(":")
	s.value(v)
}

// array writes a member that is an array; fill calls element for each value.
func (s *stream) array(name string, fill func()) {
	s.separate()
	s.value(name)
	s.text(":[")
	s.any = false
	fill()
	s.any = true
	s.text("\n]")
}

// element writes an element of the current array.
func (s *stream) element(v any) {
	s.separate()
	s.value(v)
}

// appender is an element that writes itself.
type appender interface{ appendJSON(b []byte) []byte }

// appended writes an element of the current array without reflection.
func (s *stream) appended(v appender) {
	s.separate()
	s.append(v)
}

func (s *stream) append(v appender) {
	if s.err == nil {
		_, s.err = s.w.Write(v.appendJSON(s.w.AvailableBuffer()))
	}
}

// end closes the object and flushes.
func (s *stream) end() error {
	s.text("\n}\n")
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return s.err
}
