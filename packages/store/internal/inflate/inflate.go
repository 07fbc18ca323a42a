// Package inflate decompresses gzip streams (RFC 1951, RFC 1952) of one or more
// members, faster than the general-purpose readers and stricter about what
// stands between and behind the members.
//
// It is made for reading a whole stream in large steps into buffers that the
// caller hands on; it does not seek, and it does not implement io.Reader.
//
//	z := inflate.NewReader(next) // next returns the following compressed bytes
//	for {
//		n, err := z.Next(buf)
//		use(buf[inflate.Window : inflate.Window+n])
//		if err == io.EOF {
//			break
//		}
//	}
package inflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	// Window is the distance that matches can reach back, in bytes.
	Window = 32 << 10
	// MinBuffer is the least length of a buffer for [Reader.Next]. Longer ones
	// cost less: each call copies the window twice.
	MinBuffer = 2 * Window

	// A step of decoding may write this far behind the position it checked: the
	// longest match, three literals before it and the overhang of wide copies.
	slack = 258 + 3 + 32
)

// Errors of [Reader.Next]. A stream that ends early gives an error that wraps
// [io.ErrUnexpectedEOF].
var (
	ErrFormat   = errors.New("not gzip")
	ErrDeflate  = errors.New("invalid deflate data")
	ErrChecksum = errors.New("gzip checksum does not match")
	ErrGarbage  = errors.New("bytes that are not gzip after the compressed data")
)

type step uint8

const (
	atMember step = iota
	atBlock
	inStored
	inCodes
	atTrailer
)

// Reader decompresses one stream.
type Reader struct {
	next func() ([]byte, error)
	in   []byte
	pos  int // of the next byte of in that is not in bits

	bits  uint64 // low bits first
	nbits uint   // how many are valid; the others are zero between steps

	err     error
	step    step
	members int
	final   bool // the current block is the member's last
	stored  int  // bytes left of a stored block
	crc     uint32
	size    uint32
	start   int // in the buffer: where the bytes begin that crc does not cover yet

	history [Window]byte // the end of the output so far
	known   int          // how many bytes of it are the current member's
	lowest  int          // in the buffer: where the current member's bytes begin

	codes codes
}

// NewReader returns a reader of the stream whose compressed bytes next returns
// piece by piece. next is called only when all bytes of the piece before have
// been consumed; it returns io.EOF, without bytes, at the end.
func NewReader(next func() ([]byte, error)) *Reader {
	r := &Reader{}
	r.Reset(next)
	return r
}

// Reset makes r a reader of another stream and keeps its memory.
func (r *Reader) Reset(next func() ([]byte, error)) {
	r.next, r.in, r.pos = next, nil, 0
	r.bits, r.nbits = 0, 0
	r.err, r.step, r.members, r.known = nil, atMember, 0, 0
}

// Next decompresses into buf[Window:], uses buf[:Window] itself, and returns how
// many bytes it wrote: at least one unless there is an error. buf must have at
// least MinBuffer bytes. At the end of the stream the error is io.EOF; the
// member's checksum has been checked when the bytes after it are returned.
func (r *Reader) Next(buf []byte) (int, error) {
	if len(buf) < MinBuffer {
		return 0, fmt.Errorf("inflate: buffer of %d bytes, expected at least %d", len(buf), MinBuffer)
	}
	copy(buf[Window-r.known:Window], r.history[Window-r.known:])
	out := Window
	r.start, r.lowest = out, Window-r.known
	for r.err == nil && out <= len(buf)-slack {
		out, r.err = r.advance(buf, out)
	}
	r.sum(buf[:out])
	r.remember(buf[:out])
	if out > Window && errors.Is(r.err, io.EOF) {
		return out - Window, nil // said with the next call
	}
	return out - Window, r.err
}

// advance does one step, from out on, and returns the new position.
func (r *Reader) advance(buf []byte, out int) (int, error) {
	switch r.step {
	case atMember:
		r.start, r.lowest = out, out
		return out, r.memberHeader()
	case atBlock:
		return out, r.blockHeader()
	case inStored:
		return r.copyStored(buf, out)
	case atTrailer:
		r.sum(buf[:out])
		return out, r.trailer()
	}
	return r.decode(buf, out)
}

// sum adds the bytes since r.start to the member's checksum.
func (r *Reader) sum(buf []byte) {
	r.crc = crc32.Update(r.crc, crc32.IEEETable, buf[r.start:])
	r.size += uint32(len(buf) - r.start)
	r.start = len(buf)
}

// remember keeps the last bytes of the output for the next call. buf starts
// with the window before this call's output.
func (r *Reader) remember(buf []byte) {
	r.known = min(Window, len(buf)-r.lowest)
	copy(r.history[:], buf[len(buf)-Window:])
}

// more fetches compressed bytes when there are none left.
func (r *Reader) more() error {
	for r.pos == len(r.in) {
		b, err := r.next()
		if err != nil {
			return err
		}
		r.in, r.pos = b, 0
	}
	return nil
}

// need makes at least n (at most 32) bits valid.
func (r *Reader) need(n uint) error {
	for r.nbits < n {
		if err := r.more(); err != nil {
			return early(err)
		}
		r.bits |= uint64(r.in[r.pos]) << r.nbits
		r.pos++
		r.nbits += 8
	}
	return nil
}

func early(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("gzip: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func (r *Reader) take(n uint) uint32 {
	v := uint32(r.bits & (1<<n - 1))
	r.bits >>= n
	r.nbits -= n
	return v
}

// readBits returns the next n (at most 32) bits.
func (r *Reader) readBits(n uint) (uint32, error) {
	if err := r.need(n); err != nil {
		return 0, err
	}
	return r.take(n), nil
}

// memberHeader reads the header of a gzip member (RFC 1952, 2.3), or finds the
// end of the stream.
func (r *Reader) memberHeader() error {
	if r.nbits == 0 {
		if err := r.more(); err != nil {
			if r.members == 0 {
				err = early(err)
			}
			return err
		}
	}
	h := headerReader{r: r}
	magic := h.number(2)
	if r.members > 0 && h.err == nil && magic != 0x8b1f || r.members > 0 && errors.Is(h.err, io.ErrUnexpectedEOF) {
		return ErrGarbage
	}
	method, flags := h.number(1), h.number(1)
	h.number(4) // time
	h.number(2) // extra flags, operating system
	switch {
	case h.err != nil:
		return h.err
	case magic != 0x8b1f || method != 8 || flags&0xe0 != 0:
		return fmt.Errorf("%w: it begins with %04x, method %d, flags %#02x", ErrFormat, magic, method, flags)
	}
	if flags&4 != 0 {
		for range h.number(2) {
			h.number(1)
		}
	}
	for _, text := range []uint32{8, 16} { // name, comment
		for flags&text != 0 && h.number(1) != 0 && h.err == nil {
		}
	}
	if sum := h.crc & 0xffff; flags&2 != 0 && h.number(2) != sum && h.err == nil {
		return fmt.Errorf("%w: member header", ErrChecksum)
	}
	r.members++
	r.crc, r.size, r.final = 0, 0, false
	r.step = atBlock
	return h.err
}

// headerReader reads little-endian numbers and sums them up.
type headerReader struct {
	r   *Reader
	crc uint32
	err error
}

func (h *headerReader) number(bytes uint) uint32 {
	if h.err != nil {
		return 0
	}
	var v uint32
	if v, h.err = h.r.readBits(8 * bytes); h.err != nil {
		return 0
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	h.crc = crc32.Update(h.crc, crc32.IEEETable, b[:bytes])
	return v
}

// trailer checks the CRC-32 and the size behind a member's data.
func (r *Reader) trailer() error {
	r.take(r.nbits & 7)
	crc, err := r.readBits(32)
	if err != nil {
		return err
	}
	size, err := r.readBits(32)
	if err != nil {
		return err
	}
	if crc != r.crc || size != r.size {
		return fmt.Errorf("%w: crc-32 %08x of %d bytes, the trailer says %08x of %d", ErrChecksum, r.crc, r.size, crc, size)
	}
	r.step = atMember
	return nil
}

// blockHeader reads the header of a deflate block (RFC 1951, 3.2.3).
func (r *Reader) blockHeader() error {
	if r.final {
		r.final = false
		r.step = atTrailer
		return nil
	}
	v, err := r.readBits(3)
	if err != nil {
		return err
	}
	r.final = v&1 != 0
	switch v >> 1 {
	case 0:
		return r.storedHeader()
	case 1:
		r.codes.fixed()
		r.step = inCodes
		return nil
	case 2:
		r.step = inCodes
		return r.dynamicHeader()
	}
	return fmt.Errorf("%w: block type 3", ErrDeflate)
}

func (r *Reader) storedHeader() error {
	r.take(r.nbits & 7)
	v, err := r.readBits(32)
	if err != nil {
		return err
	}
	if v&0xffff != ^v>>16 {
		return fmt.Errorf("%w: stored block of %d bytes, complement %d", ErrDeflate, v&0xffff, v>>16)
	}
	r.stored = int(v & 0xffff)
	r.step = inStored
	return nil
}

func (r *Reader) copyStored(buf []byte, out int) (int, error) {
	for r.stored > 0 && r.nbits >= 8 && out < len(buf) {
		buf[out] = byte(r.take(8))
		out++
		r.stored--
	}
	if r.stored > 0 && out < len(buf) {
		if err := r.more(); err != nil {
			return out, early(err)
		}
		n := copy(buf[out:], r.in[r.pos:min(len(r.in), r.pos+r.stored)])
		out += n
		r.pos += n
		r.stored -= n
	}
	if r.stored == 0 {
		r.step = atBlock
	}
	return out, nil
}
