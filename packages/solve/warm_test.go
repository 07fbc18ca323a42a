package solve_test

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
)

// BenchmarkWarm is what a command does: open the real main and community
// indexes (23,030 entries) from a warm cache, signatures verified, and solve.
func BenchmarkWarm(b *testing.B) {
	ctx := context.Background()
	client, err := repository.NewClient(repository.Options{CacheDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	sources := warmSources(b, client)
	world, err := apk.ParseDependencies(solve.ManyPackages)
	if err != nil {
		b.Fatal(err)
	}
	run := func() *solve.Solution {
		req := solve.Request{World: world}
		for _, s := range sources {
			ix, err := client.Load(ctx, s)
			if err != nil {
				b.Fatal(err)
			}
			req.Repositories = append(req.Repositories, solve.Repository{Index: ix, URL: s.URL})
		}
		sol, err := solve.Solve(ctx, req)
		if err != nil {
			b.Fatal(err)
		}
		return sol
	}
	run()
	b.ReportAllocs()
	defer solve.CPUPerOp(b)()
	packages := 0
	for b.Loop() {
		packages = len(run().Choices)
	}
	b.ReportMetric(float64(packages), "packages")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-from-system")
}

func warmSources(b *testing.B, client *repository.Client) (out []repository.Source) {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(solve.Testdata(b, "alpine-3.19", "keys"), "*.pub"))
	if err != nil {
		b.Fatal(err)
	}
	ring, err := client.Keys(context.Background(), names)
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"main", "community"} {
		url, err := filepath.Abs(solve.Testdata(b, "alpine-3.19", name))
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, repository.Source{URL: url, Arch: "x86_64", Keyring: ring})
	}
	return out
}
