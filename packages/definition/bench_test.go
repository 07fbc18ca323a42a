package definition

import (
	"os"
	"path/filepath"
	"testing"
)

// benchDir is a directory of definitions, with its reusable pipelines in
// pipelines; CAIRN_DEFINITIONS names another one than the sample.
func benchDir(b *testing.B) (files []string, o CompileOptions) {
	b.Helper()
	dir := os.Getenv("CAIRN_DEFINITIONS")
	if dir == "" {
		dir = wolfi
	}
	files, err := Files(dir)
	if err != nil {
		b.Skipf("%s: %v", dir, err)
	}
	var size int64
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			size += info.Size()
		}
	}
	b.SetBytes(size)
	b.ReportMetric(float64(len(files)), "definitions")
	return files, CompileOptions{Arch: "x86_64", PipelineDirs: []string{filepath.Join(dir, "pipelines")}}
}

// forget drops what was kept of earlier runs, so that each is the first of its
// process.
func forget() {
	libraries.Clear()
	printed.Clear()
	templates.Clear()
	printed.size.Store(0)
}

// BenchmarkCompileAll reads and compiles all definitions of a directory.
func BenchmarkCompileAll(b *testing.B) {
	files, o := benchDir(b)
	for b.Loop() {
		forget()
		if _, err := LoadAll(b.Context(), files, Options{}, o); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompileNeeds is the same without scripts, as for a graph.
func BenchmarkCompileNeeds(b *testing.B) {
	files, o := benchDir(b)
	o.SkipScripts = true
	for b.Loop() {
		forget()
		if _, err := LoadAll(b.Context(), files, Options{}, o); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads only, on one processor.
func BenchmarkRead(b *testing.B) {
	files, _ := benchDir(b)
	for b.Loop() {
		for _, f := range files {
			if _, err := ReadFile(f, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
