package repository

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cairn-dev/cairn/packages/apk"
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

// The body of any answer is bounded, whether its length is announced or not, and
// also when it comes in several pieces.
func TestResponseLimit(t *testing.T) {
	content := randomBytes(5000)
	for name, h := range map[string]http.HandlerFunc{
		"announced": static(content),
		"not announced": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(content[:100])
			w.(http.Flusher).Flush()
			_, _ = w.Write(content[100:])
		},
	} {
		srv := serve(t, h)
		for limit, fits := range map[int64]bool{4999: false, 5000: true, 0: true, -1: true} {
			c, err := NewClient(fast(Options{Limits: Limits{Response: limit}}))
			if err != nil {
				t.Fatal(err)
			}
			var b []byte
			d, err := c.get(t.Context(), srv.URL, nil)
			if err == nil {
				b, err = io.ReadAll(d)
				err = errors.Join(err, d.Close())
			}
			if fits && (err != nil || !bytes.Equal(b, content)) {
				t.Errorf("%s: limit %d: %d bytes, %v", name, limit, len(b), err)
			}
			if !fits && (!errors.Is(err, ErrLimit) || len(b) > 4999) {
				t.Errorf("%s: limit %d: %d bytes, %v", name, limit, len(b), err)
			}
		}
	}
}

// Relative names of repositories and keys are looked for in Options.Dir; file
// URLs and absolute names are not changed.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "repo", "x86_64", "a-1.apk"), []byte("package"))
	key := testKey(t, "test.rsa.pub")
	writeFile(t, filepath.Join(dir, "k", "test.rsa.pub"), key.PEM())
	c, err := NewClient(fast(Options{Dir: dir}))
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"k/test.rsa.pub", "./k/test.rsa.pub", filepath.Join(dir, "k", "test.rsa.pub"), "file://" + dir + "/k/test.rsa.pub"} {
		if k, err := c.Key(t.Context(), ref); err != nil || k.Name != "test.rsa.pub" {
			t.Errorf("key %s: %q, %v", ref, k.Name, err)
		}
	}
	_, err = c.Key(t.Context(), "k/none.rsa.pub")
	wantError(t, err, "key k/none.rsa.pub: …no such file or directory…")
	for _, url := range []string{"repo", dir + "/repo", "file://" + dir + "/repo"} {
		r, size, err := c.OpenFile(t.Context(), Source{URL: url, Arch: "x86_64"}, &apk.Package{Name: "a", Version: "1"})
		if err != nil || size != 7 || string(readAll(t, r)) != "package" {
			t.Errorf("%s: %d bytes, %v", url, size, err)
		}
	}
	_, err = c.Load(t.Context(), Source{URL: "repo", Arch: "x86_64"})
	wantError(t, err, "…repo/x86_64/APKINDEX.tar.gz…1 packages are there…")
}
