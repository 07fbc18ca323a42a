package inflate

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// corpus returns real compressed data: files of the real packages when they are
// there, else a made-up mixture.
func corpus(b *testing.B) (list [][]byte, inflated int64) {
	dir := os.Getenv("CAIRN_TESTDATA")
	if dir == "" {
		dir = "../../../../../shared/data"
	}
	if name := os.Getenv("INFLATE_CORPUS"); name != "" { // a .gz file of one's own
		raw, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, raw)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "alpine-3.19/main/x86_64/*.apk"))
	if len(list) > 0 {
		names = nil
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, raw)
	}
	if len(list) == 0 {
		for _, name := range []string{"mixed", "text", "skewed"} {
			list = append(list, compress(samples()[name], 6))
		}
	}
	for _, z := range list {
		r, err := gzip.NewReader(bytes.NewReader(z))
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil {
			b.Fatal(err)
		}
		inflated += n
	}
	return list, inflated
}

func BenchmarkNext(b *testing.B) {
	list, n := corpus(b)
	b.SetBytes(n)
	buf := make([]byte, Window+224<<10)
	for b.Loop() {
		for _, z := range list {
			r := NewReader(pieces(z, 128<<10))
			for {
				if _, err := r.Next(buf); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

// BenchmarkKlauspost is the reader that Next is measured against.
func BenchmarkKlauspost(b *testing.B) {
	list, n := corpus(b)
	b.SetBytes(n)
	buf := make([]byte, 256<<10)
	for b.Loop() {
		for _, z := range list {
			r, err := gzip.NewReader(bytes.NewReader(z))
			if err != nil {
				b.Fatal(err)
			}
			for {
				if _, err := r.Read(buf); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
