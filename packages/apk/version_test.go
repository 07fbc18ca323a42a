package apk

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// versionChain is in ascending order; equal versions share a line. The answers
// are those of apk-tools 2.14's own version.c.
var versionChain = strings.Split(strings.TrimSpace(`
_alpha
0
a
a1
0.00
0.0
0.01
0.1_alpha
0.1_alpha1
0.1_alpha1_git20240101
0.1_alpha2
0.1_alpha10
0.1_beta_pre1
0.1_beta
0.1_pre
0.1_pre0
0.1_pre1-r3
0.1_rc
0.1_rc1
0.1_rc1_p1
0.1_rc02
0.1
0.1-r = 0.1-r0
0.1-r1
0.1-r1-r2
0.1-r10
0.1_cvs
0.1_svn
0.1_svn99
0.1_git
0.1_git0
0.1_git20200101
0.1_git20200101-r1
0.1_hg
0.1_p
0.1_p0
0.1_p1_rc1
0.1_p1
0.1_p1-r0
0.1_p1_p2
0.1a_rc1
0.1a
0.1a-r1
0.1a1
0.1b
0.1z
0.1.0
0.2
0.10
1 = 01 = 0001
1-r0
1.00
1.001
1.002
1.0015
1.
1.a
1.0
1.0a
1.0.0
1.0.1
1.01
1.02
1.010
1.010.1
1..2
1.1
1.1.1
1.1.1a
1.1.1w-r1
1.10
3.1.4-r5
3.1.4_git20240101-r5
3.1.10-r0
9.9_p1_alpha3_git5-r7
2024a-r0
2024b-r0
2024b1
20230506-r0
20240226-r0
12345678901234567
`), "\n")

func TestCompareAllPairs(t *testing.T) {
	for i, a := range versionChain {
		for j, b := range versionChain {
			want := min(1, max(-1, i-j))
			for _, x := range strings.Split(a, " = ") {
				for _, y := range strings.Split(b, " = ") {
					if got := Compare(x, y); got != want {
						t.Errorf("Compare(%q, %q) = %d, want %d", x, y, got, want)
					}
				}
			}
		}
	}
}

func TestValidVersion(t *testing.T) {
	for _, line := range versionChain {
		for _, v := range strings.Split(line, " = ") {
			if !ValidVersion(v) {
				t.Errorf("%q: refused", v)
			}
		}
	}
	for _, v := range []string{"1.0bc", "1.0a.1", "1_foo", "1__alpha", "1-", "1-1", "1-x1", "1-r1.1", "1-r1_p1", "1.2A", "1+2", "1:2", "1.0_p1.2",
		"v1.0x.y", "123456789012345678", "1.123456789012345678", "1_alpha123456789012345678", "1-r123456789012345678", "1.0-r1a", "1_patch", "1.0é",
		"1/2", " 1", "1 ", "1\n", "0unstable", "1~", "1~xyz", "1~ABC", "1-r1~ab", "1~ab~cd", "1~ab_p1"} {
		if ValidVersion(v) {
			t.Errorf("%q: accepted", v)
		}
	}
}

// Commit hashes are of apk-tools 3: after the suffixes, before the revision.
func TestCommitHash(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1.0~1234", "1.0~2345", -1},
		{"1.0~1234-r1", "1.0~2345-r0", -1},
		{"1.0~1234-r1", "1.0~1234-r0", 1},
		{"1.0~1234", "1.0", 1},
		{"1.0~1234", "1.0_rc1~1234", 1},
		{"1.0_p1~ab", "1.0_p1~ab", 0},
	} {
		if !ValidVersion(c.a) || !ValidVersion(c.b) || Compare(c.a, c.b) != c.want || Compare(c.b, c.a) != -c.want {
			t.Errorf("%q, %q: %v %v %d, want %d", c.a, c.b, ValidVersion(c.a), ValidVersion(c.b), Compare(c.a, c.b), c.want)
		}
	}
}

// Research: apko compares parts with leading zeros as numbers, so that 1.01 is
// 1.1, and knows one suffix only.
func TestApkoDefect_LeadingZerosAndSuffixes(t *testing.T) {
	if Compare("1.01", "1.1") != -1 {
		t.Error("1.01 is not before 1.1")
	}
	if !ValidVersion("1_rc1_git20240101") || Compare("1_rc1_git20240101", "1_rc1") != 1 {
		t.Error("a second suffix is not read")
	}
}

func TestCompareFuzzy(t *testing.T) {
	for _, c := range []struct {
		version, with string
		want          int
	}{
		{"1.2.3", "1.2", 0}, {"1.2", "1.2.3", 0}, {"1.20", "1.2", 1}, {"1.3", "1.2", 1}, {"1.2_rc1", "1.2", 0},
		{"1.2-r5", "1.2", 0}, {"1.2a", "1.2", 0}, {"1.2.3", "1.2a", 0}, {"1.2_p1", "1.2_rc1", 1}, {"1.2_p1", "1.2.3", 0},
		{"10", "1", 1}, {"1.2-r1", "1.2-r2", -1}, {"1.2-r10", "1.2-r1", 1}, {"3.19.1", "3", 0}, {"3.1", "3.01", 1}, {"1.0", "1.02", -1},
	} {
		if got := compare(c.version, c.with, true); got != c.want {
			t.Errorf("%q ~ %q: %d, want %d", c.version, c.with, got, c.want)
		}
	}
}

// randomVersion returns a version that is valid as often as not.
func randomVersion(r *rand.Rand) string {
	parts := []string{"0", "00", "1", "2", "10", "01", "001", "9", ".", ".", ".1", ".0", "a", "b", "z",
		"_alpha", "_beta1", "_pre", "_rc02", "_cvs", "_git3", "_p", "~ab", "~9f", "-r", "-r1", "-r0"}
	var b strings.Builder
	for n := r.IntN(7); n >= 0; n-- {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

// Compare is a total order on valid versions: sorting must agree with every
// single comparison.
func TestCompareIsTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var list []string
	for len(list) < 700 {
		if v := randomVersion(r); ValidVersion(v) {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, Compare)
	rank := make([]int, len(list))
	for i := 1; i < len(list); i++ {
		rank[i] = rank[i-1]
		if Compare(list[i-1], list[i]) != 0 {
			rank[i]++
		}
	}
	for i := range list {
		for j := range list {
			if got, want := Compare(list[i], list[j]), min(1, max(-1, rank[i]-rank[j])); got != want {
				t.Fatalf("Compare(%q, %q) = %d, sorted order says %d", list[i], list[j], got, want)
			}
		}
	}
}

func FuzzCompare(f *testing.F) {
	for i, v := range versionChain {
		f.Add(v, versionChain[(i+1)%len(versionChain)], "1.0_p1~ab-r1")
	}
	f.Add("1-", "1_x", "-r")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if Compare(a, a) != 0 {
			t.Errorf("%q is not itself", a)
		}
		if Compare(a, b) != -Compare(b, a) {
			t.Errorf("%q and %q are not antisymmetric", a, b)
		}
		if !ValidVersion(a) || !ValidVersion(b) || !ValidVersion(c) {
			return
		}
		if Compare(a, b) <= 0 && Compare(b, c) <= 0 && Compare(a, c) > 0 {
			t.Errorf("%q ≤ %q ≤ %q is not transitive", a, b, c)
		}
		if Compare(a, b) == 0 && compare(a, b, true) != 0 {
			t.Errorf("%q and %q are equal but not fuzzily", a, b)
		}
	})
}
