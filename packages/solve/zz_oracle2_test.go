package solve

import (
	"context"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"github.com/cairn-dev/cairn/packages/apk"
)

func TestOracleRandom(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	seed, _ := strconv.ParseInt(os.Getenv("SEED"), 10, 64)
	bad, order, fails, rescued := 0, 0, 0, 0
	for i := range n {
		rng := rand.New(rand.NewSource(seed + int64(i)))
		texts, w := randomUniverse(rng)
		repos := tables(t, texts...)
		args := []string{}
		for j, r := range repos {
			var b []byte
			for _, p := range r.Index.(*memoryIndex).packages {
				q := *p
				q.InstalledSize = 1
				q.Size = 1
				b = apk.AppendIndexEntry(b, &q)
				b = append(b, '\n')
			}
			f := "/tmp/h3/rnd" + strconv.Itoa(j)
			os.WriteFile(f, b, 0o644)
			if r.Tag != "" {
				f = r.Tag + ":" + f
			}
			args = append(args, f)
		}
		last := map[string]string{}
		var ws, seen []string
		for _, a := range strings.Fields(w) {
			nm := world(t, a)[0].Name
			last[nm] = a
			if !slices.Contains(seen, nm) { seen = append(seen, nm) }
		}
		for _, nm := range seen { ws = append(ws, last[nm]) }
		w = strings.Join(ws, " ")
		want := oracle(t, args, []string{w})[0]
		sol, err := Solve(context.Background(), Request{World: world(t, w), Repositories: repos})
		failed := len(want) > 0 && strings.HasPrefix(want[0], "ERR")
		if failed {
			fails++
		}
		if failed && err == nil {
			rescued++
			if os.Getenv("SHOW") != "" { t.Logf("seed %d RESCUED %q\n%s\n%v", seed+int64(i), w, strings.Join(texts, "\n-\n"), ordered(sol)) }
			continue
		}
		if failed != (err != nil) {
			bad++
			t.Logf("seed %d: %q\n%s\n: apk %v cairn %v", seed+int64(i), w, strings.Join(texts, "\n-\n"), want, err)
			continue
		}
		if err != nil {
			continue
		}
		got := ordered(sol)
		if !slices.Equal(got, want) {
			a, b := slices.Clone(got), slices.Clone(want)
			slices.Sort(a)
			slices.Sort(b)
			if slices.Equal(a, b) {
				order++
			} else {
				bad++
			}
			t.Logf("seed %d %q:\n%s\ngot  %v\nwant %v", seed+int64(i), w, strings.Join(texts, "\n-\n"), got, want)
		}
		if bad+order > 5 {
			break
		}
	}
	t.Logf("%d requests, %d fail in apk (%d of them solved), %d differ, %d differ in order", n, fails, rescued, bad, order)
}
