package layer

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// manyEntries is a tree of packages that get in each other's way as little as
// real ones do: metadata only.
func manyEntries(packages, entries int) *rootfs.Tree {
	r := rand.New(rand.NewPCG(5, 5))
	tree := &rootfs.Tree{}
	at := map[string]int{}
	for i := range packages {
		rc := &store.Receipt{Package: apk.Package{Name: fmt.Sprintf("p%03d", i), Version: "1"}}
		add := func(e apk.Entry) {
			rc.Entries = append(rc.Entries, e)
			te := rootfs.Entry{Entry: e, Package: i, Member: len(rc.Entries) - 1}
			if j, ok := at[e.Path]; ok {
				tree.Entries[j] = te
				return
			}
			at[e.Path] = len(tree.Entries)
			tree.Entries = append(tree.Entries, te)
		}
		base := fmt.Sprintf("usr/lib/python3/site-packages/p%03d", i)
		for p := range strings.SplitSeq("usr usr/lib usr/lib/python3 usr/lib/python3/site-packages "+base, " ") {
			add(apk.Entry{Path: p, Type: apk.TypeDir, Mode: 0o755, MTime: int64(i)})
		}
		for f := range entries / packages {
			add(apk.Entry{Path: fmt.Sprintf("%s/file%04d.py", base, f), Type: apk.TypeFile, Mode: 0o644, Size: 1000,
				SHA256: sha256.Sum256(fmt.Append(nil, i, f))})
		}
		rc.DataSize = int64(math.Exp(r.NormFloat64()*2 + 12))
		tree.Packages = append(tree.Packages, rootfs.Package{Receipt: rc})
	}
	sortTree(tree)
	return tree
}

func BenchmarkPlan(b *testing.B) {
	tree := manyEntries(200, 20_000)
	for _, budget := range []int{100, 10} {
		b.Run(fmt.Sprintf("packages=200/entries=20000/budget=%d", budget), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustPlan(b, tree, Options{Budget: budget})
			}
		})
	}
}

func BenchmarkStick(b *testing.B) {
	tree := manyEntries(200, 2000)
	prev := mustPlan(b, tree, Options{Budget: 60}).Assignment()
	for b.Loop() {
		mustPlan(b, tree, Options{Budget: 60, Previous: prev})
	}
}

// benchMB is the compressed size of the packages that the writing benchmarks
// use; CAIRN_BENCH_MB=444 is the size of the case in docs/design.md.
func benchMB() int {
	mb, err := strconv.Atoi(os.Getenv("CAIRN_BENCH_MB"))
	if err != nil {
		return 16
	}

	return mb
}

// realSizes puts 200 packages of realistic sizes into a store.
func realSizes(b *testing.B, st *store.Store, mb int) *rootfs.Tree {
	r := rand.New(rand.NewPCG(9, 9))
	weights := make([]float64, 200)
	sum := 0.0
	for i := range weights {
		weights[i] = math.Exp(r.NormFloat64() * 2)
		sum += weights[i]
	}
	tree := &rootfs.Tree{}
	for i, w := range weights {
		base := fmt.Sprintf("usr/lib/p%03d", i)
		s := pkg(fmt.Sprintf("p%03d", i))
		left := int(float64(mb) * 1e6 * w / sum * 2.8)
		for f := 0; f == 0 || left > 0; f++ {
			n := min(left, 1<<16)
			left -= n
			s.Files = append(s.Files, file(fmt.Sprintf("%s/f%04d", base, f), compressible(r, n)))
		}
		rc := ingest(b, st, s)
		for m, e := range rc.Entries {
			if i == 0 || e.Type != apk.TypeDir || e.Path == base {
				tree.Entries = append(tree.Entries, rootfs.Entry{Entry: e, Package: i, Member: m})
			}
		}
		tree.Packages = append(tree.Packages, rootfs.Package{Receipt: rc})
	}
	sortTree(tree)
	put(tree, apk.Entry{Path: "installed", Type: apk.TypeFile, Mode: 0o644}, compressible(r, 2<<20))
	return tree
}

// compressible is n bytes of text that deflate makes about 2.8 times smaller.
func compressible(r *rand.Rand, n int) string {
	var s strings.Builder
	for s.Len() < n {
		fmt.Fprintf(&s, "%x constant text in between;", r.Uint64())
	}
	return s.String()[:n]
}

func BenchmarkWriteWarm(b *testing.B) {
	st := openStore(b)
	tree := realSizes(b, st, benchMB())
	for _, o := range []Options{{}, {Strategy: Single}} {
		b.Run(fmt.Sprintf("strategy=%s/MB=%d", o.Strategy, benchMB()), func(b *testing.B) {
			total := int64(0)
			for _, l := range mustWrite(b, mustPlan(b, tree, o), st) {
				total += l.Size
			}
			runtime.GC()
			before := cpu(b)
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				mustWrite(b, mustPlan(b, tree, o), st)
			}
			b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-s/op")
			b.ReportMetric(float64(maxRSS(b))/1e6, "maxrss-MB")
		})
	}
}

// BenchmarkPackCold makes every packed layer anew.
func BenchmarkPackCold(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		st := openStore(b)
		tree := realSizes(b, st, benchMB())
		b.StartTimer()
		mustWrite(b, mustPlan(b, tree, Options{Strategy: Single}), st)
	}
	b.SetBytes(int64(benchMB()) * 1e6)
}

func usage(b *testing.B) *syscall.Rusage {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return &u
}

// cpu is the processor time used so far, in seconds.
func cpu(b *testing.B) float64 {
	u := usage(b)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// maxRSS is the largest resident set so far, in bytes.
func maxRSS(b *testing.B) int64 { return usage(b).Maxrss * 1024 }
