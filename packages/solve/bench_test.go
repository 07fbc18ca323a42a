package solve

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

// manyPackages is a request of 14 entries that gives about 230 packages.
const manyPackages = "nginx php83-fpm php83-gd python3 py3-flask py3-numpy nodejs git openssh ffmpeg imagemagick graphviz gimp tzdata"

// BenchmarkReal solves on the real Alpine 3.19 indexes.
func BenchmarkReal(b *testing.B) {
	repos := alpine(b)
	for _, w := range []string{"busybox", "nginx", manyPackages, manyPackages + " docs openrc", "python3 !libexpat", "plasma-desktop-meta !qt5-qtbase"} {
		name := w
		if len(name) > 40 {
			name = fmt.Sprint(len(strings.Fields(w)), "_entries")
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			packages := 0
			for b.Loop() {
				sol, err := Solve(context.Background(), Request{World: world(b, w), Repositories: repos})
				if err == nil {
					packages = len(sol.Choices)
				}
			}
			b.ReportMetric(float64(packages), "packages")
		})
	}
}

// BenchmarkArches solves for nine architectures that agree.
func BenchmarkArches(b *testing.B) {
	repos := synthetic(b, 5000)
	var reqs []Request
	for i := range 9 {
		reqs = append(reqs, Request{World: world(b, "p0 p1 p2"), Arch: fmt.Sprint(i), Repositories: repos})
	}
	b.ReportAllocs()
	defer cpuPerOp(b)()
	for b.Loop() {
		if _, err := SolveAll(context.Background(), reqs); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSynthetic solves on a made-up repository of 20,000 packages, by the
// greedy choice and by search.
func BenchmarkSynthetic(b *testing.B) {
	repos := synthetic(b, 1200)
	for _, w := range []string{"p0 p1 p2 p3 p4", "p0 p1 p2 p3 p4 clash"} {
		b.Run(fmt.Sprint(len(strings.Fields(w))), func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			for b.Loop() {
				if _, err := Solve(context.Background(), Request{World: world(b, w), Repositories: repos}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// cpuPerOp reports the processor time of the process, which a busy machine
// does not stretch.
func cpuPerOp(b *testing.B) func() {
	start := cpuTime()
	return func() {
		if d := cpuTime() - start; start > 0 {
			b.ReportMetric(float64(d)/float64(b.N)/1e6, "cpu-ms/op")
		}
	}
}

// synthetic makes n packages in three versions each; one depends on up to six
// later ones. "clash" can be installed only in its oldest version.
func synthetic(t testing.TB, n int) []Repository {
	rng := rand.New(rand.NewSource(1))
	var rows strings.Builder
	rows.WriteString("clash 3 D:clash-a,clash-b\nclash 2 D:clash-b,clash-a\nclash 1\n" +
		"clash-a 1 D:clash-lib=1\nclash-b 1 D:clash-lib=2\nclash-lib 1\nclash-lib 2\n")
	for i := range n / 3 {
		for v := range 3 {
			var deps []string
			for range rng.Intn(7) {
				if d := i + 1 + rng.Intn(1+i); d < n/3 {
					deps = append(deps, fmt.Sprintf("p%d>=1", d))
				}
			}
			fmt.Fprintf(&rows, "p%d %d p:so:%d=%d,cmd:%d=%d", i, v+1, i, v+1, i, v+1)
			if len(deps) > 0 {
				rows.WriteString(" D:" + strings.Join(deps, ","))
			}
			rows.WriteString("\n")
		}
	}
	return tables(t, rows.String())
}
