package distro

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/cairn-dev/cairn/packages/definition"
)

// distribution is a graph of Wolfi's shape: 3401 definitions with two
// subpackages each, the first 400 of which need each other.
func distribution() []*definition.Build {
	r := rand.New(rand.NewSource(1))
	const builds, core = 3401, 400
	out := make([]*definition.Build, builds)
	for i := range out {
		b := &definition.Build{Arch: "x86_64"}
		b.File = fmt.Sprintf("p%04d.yaml", i)
		b.Package.Name, b.Package.Version = fmt.Sprintf("p%04d", i), "1.2.3"
		before := max(i, core)
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

// BenchmarkPlan plans a whole distribution: graph, cycles broken by a seed
// repository that has every package, and who waits for whom.
func BenchmarkPlan(b *testing.B) {
	builds := distribution()
	var names []string
	for _, d := range builds {
		names = append(names, d.Package.Name, d.Package.Name+"-dev", d.Package.Name+"-doc")
	}
	repositories := []Repository{seeds(b, names...)}
	for b.Loop() {
		if _, err := NewPlan(builds, repositories); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNoOp goes over 200 definitions with three packages each that are all
// current.
func BenchmarkNoOp(b *testing.B) {
	r := rand.New(rand.NewSource(1))
	var lines []string
	for i := range 200 {
		line := fmt.Sprintf("p%d", i)
		for range min(i, 9) {
			line += fmt.Sprintf(" p%d-dev", r.Intn(i))
		}
		lines = append(lines, fmt.Sprintf("%s | p%d-dev p%d-doc", line, i, i))
	}
	builds := define(b, lines...)
	o := Options{Dir: b.TempDir(), Arch: "x86_64", Jobs: 2}
	f := &fake{}
	if _, err := Run(b.Context(), builds, f, o); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if report, err := Run(b.Context(), builds, f, o); err != nil || report.Counts[Current] != 200 {
			b.Fatal(report.Summary(), err)
		}
	}
}
