package solve

import (
	"bufio"
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var installing = regexp.MustCompile(`^\(\d+/\d+\) Installing (\S+?)(@\S+)? \((\S+)\)`)

// oracle runs requests through apk.
func oracle(t *testing.T, repoArgs []string, reqs []string) [][]string {
	args := []string{"--root", "/tmp/h3/root", "--arch", "x86_64"}
	for _, r := range repoArgs {
		args = append(args, "--test-repo", r)
	}
	args = append(args, "add", "-")
	cmd := exec.Command("/tmp/h3/apk-batch", args...)
	cmd.Stdin = strings.NewReader(strings.Join(reqs, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	var res [][]string
	cur := []string{}
	for _, l := range strings.Split(string(out), "\n") {
		if l == "--" {
			res = append(res, cur)
			cur = []string{}
			continue
		}
		if strings.HasPrefix(l, "ERROR") || strings.HasPrefix(l, "WARNING") {
			cur = append(cur, "ERR "+l)
		}
		if m := installing.FindStringSubmatch(l); m != nil {
			cur = append(cur, m[1]+"="+m[3])
		}
	}
	if len(res) != len(reqs) {
		t.Fatalf("%d results for %d: %s", len(res), len(reqs), out)
	}
	return res
}

func ordered(s *Solution) []string {
	out := []string{}
	for _, c := range s.Choices {
		out = append(out, c.Package.Name+"="+c.Package.Version)
	}
	return out
}

func TestOracleReal(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	seed, _ := strconv.ParseInt(os.Getenv("SEED"), 10, 64)
	rng := rand.New(rand.NewSource(seed))
	repos := alpine(t)
	var names []string
	for _, r := range repos {
		x := r.Index.(*memoryIndex)
		names = append(names, func() []string {
			var out []string
			for k := range x.providers {
				out = append(out, k)
			}
			slices.Sort(out)
			return out
		}()...)
	}
	var reqs []string
	for range n {
		k := 1 + rng.Intn(14)
		var w []string
		for range k {
			nm := names[rng.Intn(len(names))]
			if (strings.HasPrefix(nm, "so:") || strings.HasPrefix(nm, "cmd:") || strings.HasPrefix(nm, "pc:")) && rng.Intn(3) > 0 {
				continue
			}
			switch rng.Intn(20) {
			case 0:
				nm = "!" + nm
			case 1:
				nm += []string{"<", ">", "=", "~", ">="}[rng.Intn(5)] + fmt.Sprint(rng.Intn(5))
			}
			w = append(w, nm)
		}
		if rng.Intn(4) == 0 {
			w = append(w, []string{"docs", "openrc", "pyc", "bash-completion", "systemd", "fish", "zsh", "dev"}[rng.Intn(8)])
		}
		if len(w) == 0 {
			w = []string{"musl"}
		}
		reqs = append(reqs, strings.Join(w, " "))
	}
	if f := os.Getenv("REQS"); f != "" {
		reqs = nil
		b, _ := os.Open(f)
		sc := bufio.NewScanner(b)
		for sc.Scan() {
			reqs = append(reqs, sc.Text())
		}
	}
	want := oracle(t, []string{"/tmp/h3/idx/main", "/tmp/h3/idx/community"}, reqs)
	bad, order, fails, rescued := 0, 0, 0, 0
	var dur, max time.Duration
	for i, r := range reqs {
		start := time.Now()
		sol, err := Solve(context.Background(), Request{World: world(t, r), Repositories: repos})
		d := time.Since(start)
		dur += d
		if d > max {
			max = d
		}
		failed := len(want[i]) > 0 && strings.HasPrefix(want[i][0], "ERR")
		if failed {
			fails++
		}
		if failed && err == nil {
			rescued++
			continue
		}
		if failed != (err != nil) {
			bad++
			t.Logf("%q: apk %v cairn %v", r, want[i], err)
			continue
		}
		if err != nil {
			continue
		}
		got := ordered(sol)
		if !slices.Equal(got, want[i]) {
			a, b := slices.Clone(got), slices.Clone(want[i])
			slices.Sort(a)
			slices.Sort(b)
			if slices.Equal(a, b) {
				order++
			} else {
				bad++
			}
			if bad+order < 5 {
				t.Logf("%q:\ngot  %v\nwant %v", r, got, want[i])
			}
		}
	}
	t.Logf("%d requests, %d fail in apk (%d of them solved), %d differ, %d differ in order; mean %v max %v", len(reqs), fails, rescued, bad, order, dur/time.Duration(len(reqs)), max)
}
