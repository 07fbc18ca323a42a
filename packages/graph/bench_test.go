package graph

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/cairn-dev/cairn/packages/definition"
)

// distribution makes builds of Wolfi's shape: 3401 definitions with two
// subpackages each, 400 of which need each other, and 9 packages in each
// environment.
func distribution() []*definition.Build {
	r := rand.New(rand.NewSource(1))
	const builds, core = 3401, 400
	out := make([]*definition.Build, builds)
	for i := range out {
		b := &definition.Build{Arch: "x86_64"}
		b.File = fmt.Sprintf("p%04d.yaml", i)
		b.Package.Name, b.Package.Version = fmt.Sprintf("p%04d", i), "1.2.3"
		before := max(i, core) // the first may need any of the first
		for range 9 {
			b.Environment.Contents.Packages = append(b.Environment.Contents.Packages, fmt.Sprintf("p%04d%s", r.Intn(before), []string{"", "-dev"}[r.Intn(2)]))
		}
		for _, suffix := range []string{"-dev", "-doc"} {
			s := definition.Subpackage{Name: b.Package.Name + suffix}
			s.Dependencies.Runtime = []string{b.Package.Name, fmt.Sprintf("p%04d", r.Intn(before))}
			b.Subpackages = append(b.Subpackages, s)
		}
		out[i] = b
	}
	return out
}

// BenchmarkNew plans a whole distribution.
func BenchmarkNew(b *testing.B) {
	builds := distribution()
	var g *Graph
	for b.Loop() {
		var err error
		if g, err = New(builds, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(g.Cycles[0].Builds)), "in-cycle")
	b.ReportMetric(float64(len(g.Cycles[0].Seeds)), "seeds")
	b.ReportMetric(float64(len(g.Levels)), "levels")
}
