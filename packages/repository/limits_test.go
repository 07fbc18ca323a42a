package repository

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLimitReader(t *testing.T) {
	kinds := map[string]func(io.Reader) io.Reader{
		"plain": func(r io.Reader) io.Reader { return r }, "one byte": iotest.OneByteReader, "half": iotest.HalfReader,
		"data with error": iotest.DataErrReader,
	}
	for name, kind := range kinds {
		for n := range 12 {
			b, err := readLimit(kind(strings.NewReader(strings.Repeat("x", n))), 8)
			if n <= 8 && (err != nil || len(b) != n) {
				t.Errorf("%s: %d bytes: %d read, %v", name, n, len(b), err)
			}
			if n > 8 && (!errors.Is(err, ErrLimit) || len(b) != 8) {
				t.Errorf("%s: %d bytes: %d read, %v", name, n, len(b), err)
			}
		}
	}
	if n, err := newLimitReader(strings.NewReader("x"), 0).Read(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	wantError(t, func() error { _, err := readLimit(strings.NewReader("abc"), 2); return err }(), "size limit exceeded: more than 2 bytes")
}

// The announced size is a hint: whatever it says, the same bytes come out.
func TestReadSized(t *testing.T) {
	content := randomBytes(100_000)
	for _, size := range []int64{-1, 0, 1, 99_999, 100_000, 100_001, 1 << 40} {
		limit := int64(noLimit)
		b, err := readSized(iotest.HalfReader(bytes.NewReader(content)), size, limit)
		if err != nil || !bytes.Equal(b, content) {
			t.Errorf("announced %d: %d bytes, %v", size, len(b), err)
		}
	}
	_, err := readSized(strings.NewReader(""), 9, 8)
	wantError(t, err, "size limit exceeded: 9 bytes: at most 8 expected")
	_, err = readSized(strings.NewReader("123456789"), 3, 8)
	wantError(t, err, "size limit exceeded: more than 8 bytes")
	broken := errors.New("broken")
	if b, err := readSized(io.MultiReader(strings.NewReader("123"), iotest.ErrReader(broken)), 3, 8); !errors.Is(err, broken) || len(b) != 3 {
		t.Errorf("%q, %v", b, err)
	}
}

func TestExactReader(t *testing.T) {
	for _, c := range []struct {
		have, want int
		err        string
	}{
		{0, 0, ""}, {5, 5, ""},
		{4, 5, "unexpected EOF: 4 bytes: the index entry says 5"},
		{0, 5, "unexpected EOF: 0 bytes: the index entry says 5"},
		{6, 5, "size limit exceeded: more than the 5 bytes of the index entry"},
		{99, 5, "size limit exceeded: more than the 5 bytes of the index entry"},
	} {
		for _, kind := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.DataErrReader} {
			b, err := io.ReadAll(&exactReader{r: kind(strings.NewReader(strings.Repeat("x", c.have))), want: int64(c.want)})
			if len(b) != min(c.have, c.want) {
				t.Errorf("%d of %d: %d bytes", c.have, c.want, len(b))
			}
			if c.err == "" && err != nil {
				t.Error(err)
			}
			if c.err != "" {
				wantError(t, err, c.err)
			}
		}
	}
}

func TestLimitsDefaults(t *testing.T) {
	got := Limits{Index: 1, Key: -1}.withDefaults()
	want := Limits{Index: 1, IndexInflated: 300 << 20, Key: noLimit, Package: 8 << 30, Response: 8 << 30}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
