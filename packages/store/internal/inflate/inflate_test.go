package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"
)

// pieces returns a source that hands out b in pieces of n bytes.
func pieces(b []byte, n int) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(b) == 0 {
			return nil, io.EOF
		}
		p := b[:min(n, len(b))]
		b = b[len(p):]
		return p, nil
	}
}

func readAll(next func() ([]byte, error), size int) ([]byte, error) {
	z := NewReader(next)
	buf := make([]byte, size)
	var out []byte
	for {
		n, err := z.Next(buf)
		out = append(out, buf[Window:Window+n]...)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if n == 0 {
			return out, errors.New("neither bytes nor an error")
		}
	}
}

func compress(b []byte, level int) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, level)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// samples are inputs of different character.
func samples() map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	skewed := make([]byte, 500_000)
	for i := range skewed {
		skewed[i] = byte(rnd.NormFloat64() * 20)
	}
	mixed := bytes.Clone(skewed)
	for i := 0; i < len(mixed)-2000; i += rnd.IntN(1500) + 1 {
		from, n := rnd.IntN(i+1), rnd.IntN(600)
		copy(mixed[i:i+n], mixed[from:])
	}
	geometric := make([]byte, 200_000) // long codes
	for i := range geometric {
		geometric[i] = byte(rnd.ExpFloat64() * 9)
	}
	return map[string][]byte{
		"empty": {}, "one": {7}, "zeros": make([]byte, 700_000), "random": random, "skewed": skewed, "mixed": mixed,
		"geometric": geometric, "text": bytes.Repeat([]byte("the quick brown fox, 0123456789; "), 9000),
		"period 3": bytes.Repeat([]byte("abc"), 50_000), "period 9": bytes.Repeat([]byte("abcdefghi"), 50_000),
	}
}

func TestRoundTrip(t *testing.T) {
	for name, b := range samples() {
		for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.BestCompression, flate.HuffmanOnly} {
			z := compress(b, level)
			for _, piece := range []int{1, 7, 40, 4096, len(z)} {
				for _, buf := range []int{MinBuffer, MinBuffer + 1000, 1 << 18} {
					got, err := readAll(pieces(z, piece), buf)
					if err != nil || !bytes.Equal(got, b) {
						t.Fatalf("%s, level %d, pieces of %d, buffer of %d: %d bytes of %d, %v", name, level, piece, buf, len(got), len(b), err)
					}
				}
			}
		}
	}
}

func TestSeveralMembers(t *testing.T) {
	var z, want []byte
	for _, part := range []string{"first ", "", "second, longer than the first ", "third"} {
		z = append(z, compress([]byte(part), 6)...)
		want = append(want, part...)
	}
	for piece := 1; piece < len(z); piece++ {
		got, err := readAll(pieces(z, piece), MinBuffer)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("pieces of %d: %q, %v", piece, got, err)
		}
	}
}

// A match must not reach into the member before.
func TestWindowEndsWithTheMember(t *testing.T) {
	var dict bytes.Buffer
	w, err := flate.NewWriterDict(&dict, 9, []byte("abcdefghijklmnopqrstuvwxyz"))
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("abcdefghijklmnopqrstuvwxyz"))
	w.Close()
	second := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), dict.Bytes()...)
	second = append(second, 0, 0, 0, 0, 26, 0, 0, 0)
	z := append(compress([]byte("abcdefghijklmnopqrstuvwxyz"), 6), second...)
	if _, err := readAll(pieces(z, len(z)), MinBuffer); !errors.Is(err, ErrDeflate) {
		t.Errorf("error %v", err)
	}
}

func TestHeaderFields(t *testing.T) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Name, w.Comment, w.Extra = "name", "comment", []byte("ab\x02\x00xy")
	w.Write([]byte("content"))
	w.Close()
	if got, err := readAll(pieces(out.Bytes(), 3), MinBuffer); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	// FHCRC: the CRC-32 of the ten bytes before, low half.
	z := []byte("\x1f\x8b\x08\x02\x00\x00\x00\x00\x00\xff")
	sum := crc32.ChecksumIEEE(z)
	rest := compress([]byte("content"), 6)[10:]
	good := append(append(bytes.Clone(z), byte(sum), byte(sum>>8)), rest...)
	if got, err := readAll(pieces(good, 100), MinBuffer); err != nil || string(got) != "content" {
		t.Errorf("with a header checksum: %q, %v", got, err)
	}
	bad := append(append(bytes.Clone(z), byte(sum)+1, byte(sum>>8)), rest...)
	if _, err := readAll(pieces(bad, 100), MinBuffer); !errors.Is(err, ErrChecksum) {
		t.Errorf("with a wrong header checksum: %v", err)
	}
}

func TestErrors(t *testing.T) {
	good := compress([]byte("some content, some content"), 6)
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(good)
		if at < 0 {
			at += len(b)
		}
		copy(b[at:], to)
		return b
	}
	member := func(deflate ...byte) []byte {
		return append(append(bytes.Clone(good[:10]), deflate...), make([]byte, 40)...)
	}
	for _, c := range []struct {
		name string
		z    []byte
		kind error
		text string
	}{
		{"nothing", nil, io.ErrUnexpectedEOF, "gzip: unexpected EOF"},
		{"half a header", good[:5], io.ErrUnexpectedEOF, "gzip: unexpected EOF"},
		{"no data", good[:10], io.ErrUnexpectedEOF, "gzip: unexpected EOF"},
		{"half the data", good[:len(good)/2], io.ErrUnexpectedEOF, "gzip: unexpected EOF"},
		{"half a trailer", good[:len(good)-5], io.ErrUnexpectedEOF, "gzip: unexpected EOF"},
		{"not gzip", []byte("PK\x03\x04 and so on"), ErrFormat, "not gzip: it begins with 4b50, method 3, flags 0x04"},
		{"other method", change(2, 7), ErrFormat, "not gzip: it begins with 8b1f, method 7, flags 0x00"},
		{"reserved flag", change(3, 0x20), ErrFormat, "not gzip: it begins with 8b1f, method 8, flags 0x20"},
		{"crc", change(-8, good[len(good)-8]^1), ErrChecksum, ""},
		{"size", change(-4, 99), ErrChecksum, ""},
		{"garbage", append(bytes.Clone(good), "junk"...), ErrGarbage, "bytes that are not gzip after the compressed data"},
		{"one byte of garbage", append(bytes.Clone(good), 0), ErrGarbage, "bytes that are not gzip after the compressed data"},
		{"zeros behind", append(bytes.Clone(good), make([]byte, 512)...), ErrGarbage, "bytes that are not gzip after the compressed data"},
		{"half a second member", append(bytes.Clone(good), good[:9]...), io.ErrUnexpectedEOF, "gzip: unexpected EOF"},
		{"block type 3", member(7), ErrDeflate, "invalid deflate data: block type 3"},
		{"stored lengths", member(1, 5, 0, 5, 0), ErrDeflate, "invalid deflate data: stored block of 5 bytes, complement 5"},
		{"distance before the data", member(0x03, 0x02, 0x00), ErrDeflate, "invalid deflate data: distance reaches before the data"},
		{"too many distance codes", member(0x05, 0x1f, 0x00), ErrDeflate, "invalid deflate data: 257 literal and 32 distance codes"},
		{"empty code length code", member(0x05, 0x00, 0x00), ErrDeflate, "invalid deflate data: code length code"},
		{"over-subscribed code length code", member(0x05, 0xe0, 0xff, 0xff), ErrDeflate, "invalid deflate data: code of the code lengths"},
	} {
		for _, piece := range []int{1, 1000} {
			_, err := readAll(pieces(c.z, piece), MinBuffer)
			if !errors.Is(err, c.kind) || c.text != "" && err.Error() != c.text {
				t.Errorf("%s, pieces of %d: error %q, want %q", c.name, piece, err, c.text)
			}
		}
	}
	if _, err := NewReader(pieces(good, 9)).Next(make([]byte, 100)); err == nil || err.Error() != "inflate: buffer of 100 bytes, expected at least 65536" {
		t.Errorf("small buffer: %v", err)
	}
}

// Reset must leave nothing of the stream before.
func TestReset(t *testing.T) {
	a, b := compress(samples()["mixed"], 6), compress([]byte("short"), 6)
	z := NewReader(pieces(a, 1000))
	buf := make([]byte, MinBuffer)
	for range 3 {
		if _, err := z.Next(buf); err != nil {
			t.Fatal(err)
		}
		z.Reset(pieces(b, 1000))
		n, err := z.Next(buf)
		if err != nil || string(buf[Window:Window+n]) != "short" {
			t.Fatalf("%q, %v", buf[Window:Window+n], err)
		}
		z.Reset(pieces(a, 1000))
	}
}

func TestSourceError(t *testing.T) {
	broken := errors.New("disk on fire")
	z := compress(samples()["mixed"], 6)
	first := true
	_, err := readAll(func() ([]byte, error) {
		if !first {
			return nil, broken
		}
		first = false
		return z[:len(z)/2], nil
	}, MinBuffer)
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// FuzzAgainstStandardLibrary compares with compress/gzip: the same bytes, or an
// error from both.
func FuzzAgainstStandardLibrary(f *testing.F) {
	for _, b := range samples() {
		f.Add(compress(b[:min(len(b), 5000)], 6), uint16(100))
		f.Add(compress(b[:min(len(b), 3000)], flate.HuffmanOnly), uint16(7))
	}
	f.Add(append(compress([]byte("a"), 6), compress([]byte("b"), 0)...), uint16(1))
	f.Fuzz(func(t *testing.T, z []byte, piece uint16) {
		got, err := readAll(pieces(z, int(piece)+1), MinBuffer)
		var want []byte
		r, wantErr := gzip.NewReader(bytes.NewReader(z))
		if wantErr == nil {
			want, wantErr = io.ReadAll(io.LimitReader(r, 1<<26))
		}
		if len(want) == 1<<26 {
			t.Skip("large")
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, the standard library says %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, the standard library reads %d others", len(got), len(want))
		}
	})
}

// FuzzDeflate is the same for the deflate data alone, without the checksum in
// the way.
func FuzzDeflate(f *testing.F) {
	for _, b := range samples() {
		z := compress(b[:min(len(b), 3000)], 6)
		f.Add(z[10 : len(z)-8])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), 1<<24))
		if len(want) == 1<<24 {
			t.Skip("large")
		}
		z := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), data...)
		got, err := readAll(pieces(z, 1+len(data)%50), MinBuffer)
		if wantErr == nil && !bytes.Equal(got, want) {
			t.Fatalf("%x, the standard library reads %x (%v)", got, want, err)
		}
		if wantErr != nil && len(got) > len(want)+258 {
			t.Fatalf("%d bytes of data that the standard library refuses after %d: %v", len(got), len(want), wantErr)
		}
		if err == nil && wantErr != nil {
			t.Fatalf("no error, the standard library says %v", wantErr)
		}
	})
}
