package repository

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func BenchmarkParse(b *testing.B) {
	for _, r := range realIndexes {
		b.Run(r.name, func(b *testing.B) {
			raw, keys := r.open(b)
			b.ReportAllocs()
			for b.Loop() {
				ix, err := ReadIndex(bytes.NewReader(raw), ReadOptions{Keyring: keys})
				if err != nil || ix.Len() != r.entries {
					b.Fatal(err)
				}
			}
		})
	}
}

// alpineSources writes nothing: it is main and community as local repositories.
func alpineSources(b *testing.B) []Source {
	keys := alpineKeys(b)
	var out []Source
	for _, name := range []string{"main", "community"} {
		out = append(out, Source{URL: testdata(b, "alpine-3.19", name), Arch: "x86_64", Keyring: keys})
	}
	return out
}

// BenchmarkOpenCached is main+community (23,030 entries) from a warm cache, both at
// once as a resolver does: read and hash the index files, verify their signatures, read
// and check the parsed form.
func BenchmarkOpenCached(b *testing.B) {
	sources := alpineSources(b)
	benchmarkLoad(b, mustClient(b, Options{CacheDir: b.TempDir()}), sources...)
}

func BenchmarkOpenCachedMerged(b *testing.B) {
	raw, keys := realIndexes[3].open(b)
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "x86_64"), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x86_64", IndexFile), raw, 0o644); err != nil {
		b.Fatal(err)
	}
	benchmarkLoad(b, mustClient(b, Options{CacheDir: b.TempDir()}), Source{URL: dir, Arch: "x86_64", Keyring: keys})
}

func benchmarkLoad(b *testing.B, c *Client, sources ...Source) {
	load := func() []*Index {
		out := make([]*Index, len(sources))
		var wg sync.WaitGroup
		for i, s := range sources {
			wg.Go(func() {
				var err error
				if out[i], err = c.Load(context.Background(), s); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		return out
	}
	load()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := load()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	cpu := cpuTime(b)
	for b.Loop() {
		load()
	}
	// What a machine busy with other things does not spoil.
	b.ReportMetric((cpuTime(b)-cpu).Seconds()*1e3/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "MB-kept")
	runtime.KeepAlive(kept)
}

// cpuTime is what the process has used so far, of all its threads.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkProviders(b *testing.B) {
	ix := realIndexes[1].read(b)
	names := []string{"so:libc.musl-x86_64.so.1", "python3", "cmd:vim", "no-such-name", "so:libQt5Core.so.5"}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n += len(ix.Providers(names[n%len(names)]))
		n++
	}
}

func BenchmarkPackage(b *testing.B) {
	ix := realIndexes[1].read(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if ix.table.pkg(n%ix.Len()).Name == "" {
			b.Fatal("no name")
		}
		n++
	}
}

func BenchmarkNearest(b *testing.B) {
	ix := realIndexes[1].read(b)
	for b.Loop() {
		if got := ix.Nearest("pyhton3-dev", 3); len(got) == 0 {
			b.Fatal("none")
		}
	}
}
