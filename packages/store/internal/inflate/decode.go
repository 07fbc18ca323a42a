package inflate

import (
	"encoding/binary"
	"fmt"
)

// decode reads symbols of a Huffman-coded block until the block or the room in
// buf ends.
func (r *Reader) decode(buf []byte, out int) (int, error) {
	for r.step == inCodes && out <= len(buf)-slack {
		if len(r.in)-r.pos >= margin {
			var err error
			if out, err = r.fast(buf, out); err != nil {
				return out, err
			}
		}
		if r.step != inCodes || out > len(buf)-slack {
			break
		}
		var err error
		if out, err = r.slow(buf, out); err != nil {
			return out, err
		}
	}
	return out, nil
}

var (
	errSymbol   = fmt.Errorf("%w: code without a meaning", ErrDeflate)
	errDistance = fmt.Errorf("%w: distance reaches before the data", ErrDeflate)
)

// margin is how many compressed bytes one step of fast may look at.
const margin = 16

// fast decodes while there is enough to read and enough room for a whole step.
func (r *Reader) fast(buf []byte, out int) (int, error) {
	in, pos, bits, nbits := r.in, r.pos, r.bits, r.nbits
	literal, distance := &r.codes.literal, &r.codes.distance
	lowest, inEnd, outEnd := r.lowest, len(in)-margin, len(buf)-slack
	var err error
loop:
	for pos <= inEnd && out <= outEnd {
		// Fill up to 56 to 63 valid bits. The bits above are right too, and are
		// read again at the same place next time.
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
		pos += int((63 - nbits) >> 3)
		nbits |= 56

		// Up to three literals of the first table: at most 33 bits.
		e := literal[bits&(1<<literalBits-1)]
		if e&flagLiteral != 0 {
			bits >>= e & 63
			nbits -= uint(e & 0xff)
			buf[out] = byte(e >> 16)
			out++
			e = literal[bits&(1<<literalBits-1)]
			if e&flagLiteral != 0 {
				bits >>= e & 63
				nbits -= uint(e & 0xff)
				buf[out] = byte(e >> 16)
				out++
				e = literal[bits&(1<<literalBits-1)]
				if e&flagLiteral != 0 {
					bits >>= e & 63
					nbits -= uint(e & 0xff)
					buf[out] = byte(e >> 16)
					out++
					continue
				}
			}
		}
		if e&flagOther != 0 {
			if e&flagEnd == 0 && e>>16&maskStart != 0 {
				e = literal[(e>>16&maskStart+uint32(bits>>literalBits)&(1<<(e>>8&15)-1))&(literalEntries-1)]
			}
			if e&flagLiteral != 0 {
				bits >>= e & 63
				nbits -= uint(e & 0xff)
				buf[out] = byte(e >> 16)
				out++
				continue
			}
			if e&flagOther != 0 {
				if e&flagEnd == 0 {
					err = errSymbol
					break loop
				}
				bits >>= e & 63
				nbits -= uint(e & 0xff)
				r.step = atBlock
				break loop
			}
		}
		length := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&63))
		bits >>= e & 63
		nbits -= uint(e & 0xff)

		bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
		pos += int((63 - nbits) >> 3)
		nbits |= 56
		d := distance[bits&(1<<distanceBits-1)]
		if d&flagSub != 0 {
			if d>>16&maskStart != 0 {
				d = distance[(d>>16&maskStart+uint32(bits>>distanceBits)&(1<<(d>>8&15)-1))&(distanceEntries-1)]
			}
			if d&flagSub != 0 {
				err = errSymbol
				break loop
			}
		}
		dist := int(d>>16) + int(bits&(1<<(d&63)-1)>>(d>>8&63))
		bits >>= d & 63
		nbits -= uint(d & 0xff)
		if out-dist < lowest {
			err = errDistance
			break loop
		}
		copyMatch(buf, out, dist, length)
		out += length
	}
	r.pos, r.bits, r.nbits = pos, bits&(1<<nbits-1), nbits
	return out, err
}

// copyMatch repeats length bytes from dist bytes back at out. It may write up to
// 31 bytes more than that.
func copyMatch(buf []byte, out, dist, length int) {
	src, end := out-dist, out+length
	switch {
	case dist >= 16:
		if length > 64 && dist >= length {
			copy(buf[out:end], buf[src:])
			return
		}
		for ; out < end; out, src = out+16, src+16 {
			from, to := buf[src:src+16], buf[out:out+16]
			a, b := binary.LittleEndian.Uint64(from), binary.LittleEndian.Uint64(from[8:])
			binary.LittleEndian.PutUint64(to, a)
			binary.LittleEndian.PutUint64(to[8:], b)
		}
	case dist >= 8:
		for ; out < end; out, src = out+8, src+8 {
			binary.LittleEndian.PutUint64(buf[out:], binary.LittleEndian.Uint64(buf[src:]))
		}
	case dist == 1:
		v := uint64(buf[src]) * 0x0101010101010101
		for ; out < end; out += 8 {
			binary.LittleEndian.PutUint64(buf[out:], v)
		}
	default:
		for ; out < end; out, src = out+1, src+1 {
			buf[out] = buf[src]
		}
	}
}

// slow decodes with care for the end of the compressed piece, until there is
// enough at hand for fast again.
func (r *Reader) slow(buf []byte, out int) (int, error) {
	for out <= len(buf)-slack && len(r.in)-r.pos < margin {
		e, err := r.symbol(r.codes.literal[:], literalBits, flagOther)
		if err != nil {
			return out, err
		}
		v := int(e>>16&maskStart) + int(r.take(uint(e&0xff))>>(e>>8&63))
		switch {
		case e&flagLiteral != 0:
			buf[out] = byte(e >> 16)
			out++
			continue
		case e&flagOther != 0:
			r.step = atBlock
			return out, nil
		}
		d, err := r.symbol(r.codes.distance[:], distanceBits, flagSub)
		if err != nil {
			return out, err
		}
		dist := int(d>>16) + int(r.take(uint(d&0xff))>>(d>>8&63))
		if out-dist < r.lowest {
			return out, errDistance
		}
		copyMatch(buf, out, dist, v)
		out += v
	}
	return out, nil
}

// symbol returns the table's entry for the next code; it and its extra bits are
// at hand then.
func (r *Reader) symbol(table []uint32, first uint, sub uint32) (uint32, error) {
	for {
		e := table[r.bits&(1<<first-1)]
		if start := e >> 16 & maskStart; e&sub != 0 && start != 0 {
			e = table[start+uint32(r.bits>>first)&(1<<(e>>8&15)-1)]
		}
		if n := uint(e & 0xff); n != 0 && n <= r.nbits {
			return e, nil
		}
		if e&0xff == 0 && r.nbits >= maxCode {
			return 0, errSymbol
		}
		if err := r.need(r.nbits + 1); err != nil {
			return 0, err
		}
	}
}
