package apk_test

import (
	"bufio"
	"bytes"
	"os"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

// On two loaded cores: see the MB/s column.
func BenchmarkParseIndex(b *testing.B) {
	text := append(realIndex(b, realIndexes[0]...), realIndex(b, realIndexes[1]...)...)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		list := make([]*apk.Package, 0, 23100)
		err := apk.ParseIndex(bytes.NewReader(text), func(p *apk.Package) error {
			list = append(list, p)
			return nil
		})
		if err != nil || len(list) != 23030 {
			b.Fatal(len(list), err)
		}
	}
}

func BenchmarkAppendIndexEntry(b *testing.B) {
	text := realIndex(b, realIndexes[0]...)
	var list []*apk.Package
	if err := apk.ParseIndex(bytes.NewReader(text), func(p *apk.Package) error { list = append(list, p); return nil }); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	buf := make([]byte, 0, len(text))
	for b.Loop() {
		buf = buf[:0]
		for _, p := range list {
			buf = apk.AppendIndexEntry(buf, p)
		}
	}
}

func BenchmarkReadHead(b *testing.B) {
	raw, err := os.ReadFile(testdata(b, "alpine-3.19-boot", "x86_64", "busybox-1.36.1-r15.apk"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	r := bufio.NewReader(nil)
	for b.Loop() {
		r.Reset(bytes.NewReader(raw))
		if _, err := apk.ReadHead(r, apk.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompare(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if apk.Compare("3.1.4_git20240101-r5", "3.1.4_git20240102-r0") >= 0 {
			b.Fatal("order")
		}
	}
}
