package advisory

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/assemble/vex"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// record is an OSV record about packages of Wolfi.
func record(id, more string, affected ...string) string {
	return fmt.Sprintf(`{"id": %q, "modified": "2026-01-02T03:04:05Z", "published": "2026-01-01T00:00:00Z", %s "affected": [%s]}`, id, more, strings.Join(affected, ","))
}

// about is one package that a record is about.
func about(name, arch, events string) string {
	purl := "pkg:apk/wolfi/" + name
	if arch != "" {
		purl += "?arch=" + arch
	}
	return fmt.Sprintf(`{"package": {"ecosystem": "Wolfi", "name": %q, "purl": %q}, "ranges": [{"type": "ECOSYSTEM", "events": [%s]}]}`, name, purl, events)
}

func fixed(v string) string { return fmt.Sprintf(`{"introduced": "0"}, {"fixed": %q}`, v) }

const unfixed = `{"introduced": "0"}`

func mustRead(t testing.TB, docs ...string) *Feed {
	t.Helper()
	i := 0
	f, err := ReadAll("test", Limits{}, func() (string, []byte, error) {
		if i == len(docs) {
			return "", nil, io.EOF
		}
		i++
		return fmt.Sprintf("%d.json", i), []byte(docs[i-1]), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// summary spells findings: "CVE-1 high openssl fixed 1-r2".
func summary(r *Report) string {
	var out []string
	for _, f := range r.Findings {
		s := fmt.Sprintf("%s %s %s", f.ID, f.Severity, f.Package.Name)
		if f.Fixed != "" {
			s += " fixed " + f.Fixed
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		name string
		docs []string
		p    Package
		want string
	}{
		{"affected", []string{record("CGA-1", `"upstream": ["CVE-1"],`, about("a", "", fixed("1-r2")))}, Package{Name: "a", Version: "1-r1"}, "CVE-1 ? a fixed 1-r2"},
		{"fixed", []string{record("CGA-1", "", about("a", "", fixed("1-r2")))}, Package{Name: "a", Version: "1-r2"}, ""},
		{"apk's order, not that of letters", []string{record("CGA-1", "", about("a", "", fixed("1-r10")))}, Package{Name: "a", Version: "1-r9"}, "CGA-1 ? a fixed 1-r10"},
		{"apk's order the other way", []string{record("CGA-1", "", about("a", "", fixed("1-r9")))}, Package{Name: "a", Version: "1-r10"}, ""},
		{"a false alarm", []string{record("CGA-1", "", about("a", "", fixed("0")))}, Package{Name: "a", Version: "1-r1"}, ""},
		{"no fix", []string{record("CGA-1", "", about("a", "", unfixed))}, Package{Name: "a", Version: "1-r1"}, "CGA-1 ? a"},
		{"another architecture's fix", []string{record("CGA-1", "", about("a", "aarch64", fixed("1-r1")), about("a", "x86_64", fixed("1-r8")))}, Package{Name: "a", Version: "1-r7", Arch: "x86_64"}, "CGA-1 ? a fixed 1-r8"},
		{"this architecture's fix", []string{record("CGA-1", "", about("a", "aarch64", fixed("1-r1")), about("a", "x86_64", fixed("1-r8")))}, Package{Name: "a", Version: "1-r7", Arch: "aarch64"}, ""},
		{"by the origin", []string{record("CGA-1", "", about("openssl", "", fixed("3-r2")))}, Package{Name: "libssl3", Origin: "openssl", Version: "3-r1"}, "CGA-1 ? libssl3 fixed 3-r2"},
		{"by the name and by the origin", []string{record("CGA-1", "", about("sub", "", fixed("3-r2"))), record("CGA-2", "", about("main", "", fixed("3-r3")))}, Package{Name: "sub", Origin: "main", Version: "3-r1"}, "CGA-1 ? sub fixed 3-r2, CGA-2 ? sub fixed 3-r3"},
		{"several components: the highest fix", []string{record("CGA-1", `"upstream": ["CVE-1"],`, about("a", "", fixed("1-r2"))), record("CGA-2", `"upstream": ["CVE-1"],`, about("a", "", fixed("1-r4")))}, Package{Name: "a", Version: "1-r1"}, "CVE-1 ? a fixed 1-r4"},
		{"several components: one without a fix", []string{record("CGA-1", `"upstream": ["CVE-1"],`, about("a", "", fixed("1-r2"))), record("CGA-2", `"upstream": ["CVE-1"],`, about("a", "", unfixed))}, Package{Name: "a", Version: "1-r1"}, "CVE-1 ? a"},
		{"several components: all false alarms", []string{record("CGA-1", `"upstream": ["CVE-1"],`, about("a", "", fixed("0"))), record("CGA-2", `"upstream": ["CVE-1"],`, about("a", "", fixed("0")))}, Package{Name: "a", Version: "1-r1"}, ""},
		{"several components: some fixed here", []string{record("CGA-1", `"upstream": ["CVE-1"],`, about("a", "", fixed("1-r2"))), record("CGA-2", `"upstream": ["CVE-1"],`, about("a", "", fixed("1-r4")))}, Package{Name: "a", Version: "1-r3"}, "CVE-1 ? a fixed 1-r4"},
		{"withdrawn", []string{record("CGA-1", `"withdrawn": "2026-01-03T00:00:00Z",`, about("a", "", unfixed))}, Package{Name: "a", Version: "1-r1"}, ""},
		{"the CVE in related, in older records", []string{record("CGA-1", `"related": ["CVE-1"],`, about("a", "", unfixed))}, Package{Name: "a", Version: "1-r1"}, "CVE-1 ? a"},
		{"introduced later", []string{record("CGA-1", "", about("a", "", `{"introduced": "2-r0"}, {"fixed": "2-r5"}`))}, Package{Name: "a", Version: "1-r1"}, ""},
		{"twice", []string{record("CGA-1", "", about("a", "", `{"introduced": "0"}, {"fixed": "1-r1"}, {"introduced": "2-r0"}, {"fixed": "2-r5"}`))}, Package{Name: "a", Version: "2-r1"}, "CGA-1 ? a fixed 2-r5"},
		{"the last that is affected", []string{record("CGA-1", "", about("a", "", `{"introduced": "0"}, {"last_affected": "1-r1"}`))}, Package{Name: "a", Version: "1-r1"}, "CGA-1 ? a"},
		{"after the last that is affected", []string{record("CGA-1", "", about("a", "", `{"introduced": "0"}, {"last_affected": "1-r1"}`))}, Package{Name: "a", Version: "1-r2"}, ""},
		{"by a word", []string{record("CGA-1", `"database_specific": {"severity": "MODERATE"},`, about("a", "", unfixed))}, Package{Name: "a", Version: "1-r1"}, "CGA-1 medium a"},
		{"by its vector", []string{record("CGA-1", `"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],`, about("a", "", unfixed))}, Package{Name: "a", Version: "1-r1"}, "CGA-1 critical a"},
		{"by an alias, from another ecosystem", []string{record("CGA-1", `"upstream": ["CVE-1"],`, about("a", "", unfixed)), record("GHSA-1", `"aliases": ["CVE-1"], "database_specific": {"severity": "HIGH"},`, `{"package": {"ecosystem": "Go", "name": "a"}}`)}, Package{Name: "a", Version: "1-r1"}, "CVE-1 high a"},
		{"another ecosystem", []string{record("GO-1", "", `{"package": {"ecosystem": "Go", "name": "a"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}`), record("CGA-1", "", about("b", "", unfixed))}, Package{Name: "a", Version: "1-r1"}, ""},
		{"secdb", []string{`{"urlprefix": "https://packages.wolfi.dev", "packages": [{"pkg": {"name": "openssl", "secfixes": {"0": ["CVE-0"], "3-r2": ["CVE-1 GHSA-1", "CVE-2 (+ regression fix)"], "3-r9": ["CVE-3"]}}}]}`}, Package{Name: "libssl3", Origin: "openssl", Version: "3-r2"}, "CVE-3 ? libssl3 fixed 3-r9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := mustRead(t, c.docs...)
			o := Options{Distro: "wolfi"}
			r := Feeds{f}.Match([]Package{c.p}, o)
			if got := summary(r); got != c.want {
				t.Errorf("found %s\nexpected %s", got, c.want)
			}
			// The compiled form says the same.
			b, err := f.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Read("test", b, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(Feeds{again}.Match([]Package{c.p}, o)); got != c.want {
				t.Errorf("compiled: found %s\nexpected %s", got, c.want)
			}
			if more, err := again.Marshal(); err != nil || !bytes.Equal(more, b) {
				t.Errorf("compiled twice it differs: %v", err)
			}
		})
	}
}

func TestAlpine(t *testing.T) {
	f := mustRead(t, `{"urlprefix": "https://dl-cdn.alpinelinux.org/alpine", "distroversion": "v3.19", "reponame": "main", "packages": [{"pkg": {"name": "a", "secfixes": {"1-r5": ["CVE-1"]}}}]}`)
	for distro, want := range map[string]string{"alpine:v3.19": "CVE-1 ? a fixed 1-r5", "alpine:v3.20": "", "wolfi": "", "": ""} {
		r := Feeds{f}.Match([]Package{{Name: "a", Version: "1-r1"}}, Options{Distro: distro})
		if got := summary(r); got != want {
			t.Errorf("%s: found %s, expected %s", distro, got, want)
		}
		if covered := want != ""; covered != (r.Coverage.Covered == 1) || !covered && (r.Status() != Inconclusive || len(r.Coverage.NotLookedAt) != 1) {
			t.Errorf("%s: %+v", distro, r.Coverage)
		}
	}
}

func TestAsOf(t *testing.T) {
	f := mustRead(t, record("CGA-1", `"withdrawn": "2026-03-01T00:00:00Z",`, about("a", "", unfixed)))
	for day, want := range map[string]int{"2025-12-31": 0, "2026-01-01": 1, "2026-02-28": 1, "2026-03-01": 0, "2026-04-01": 0} {
		asOf, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		if r := (Feeds{f}).Match([]Package{{Name: "a", Version: "1-r1"}}, Options{Distro: "wolfi", AsOf: asOf}); len(r.Findings) != want {
			t.Errorf("%s: found %d, expected %d", day, len(r.Findings), want)
		}
	}
}

func TestExcused(t *testing.T) {
	f := mustRead(t, record("CGA-1", `"upstream": ["CVE-1", "GHSA-1"],`, about("a", "", unfixed)))
	statements, err := vex.Read([]byte(`{"@context": "https://openvex.dev/ns/v0.2.0", "author": "us", "timestamp": "2026-01-01T00:00:00Z", "statements": [
		{"vulnerability": {"name": "GHSA-1"}, "status": "not_affected", "justification": "vulnerable_code_not_present", "products": [{"@id": "pkg:apk/wolfi/a"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r := Feeds{f}.Match([]Package{{Name: "a", Version: "1-r1", PURL: "pkg:apk/wolfi/a@1-r1"}}, Options{Distro: "wolfi", VEX: statements})
	if len(r.Findings) != 0 || len(r.Suppressed) != 1 || r.Suppressed[0].Excuse.Author != "us" || r.Status() != Clean || r.Counts[Unknown] != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := vex.Read([]byte(`{}`)); !errors.Is(err, vex.ErrDocument) {
		t.Errorf("%v", err)
	}
}

func TestScores(t *testing.T) {
	for vector, want := range map[string]float64{
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H": 9.8,
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H": 10,
		"CVSS:3.0/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N": 2.2,
		"CVSS:3.1/AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:N": 5.4,
		"CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:N/I:N/A:H": 5.9,
		"CVSS:3.1/AV:P/AC:L/PR:H/UI:R/S:C/C:N/I:N/A:N": 0,
	} {
		if got, ok := cvss3(vector); !ok || got != want {
			t.Errorf("%s: found %v, expected %v", vector, got, want)
		}
	}
	for _, bad := range []string{"", "CVSS:2.0/AV:N", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "CVSS:3.1/AV:N/AC:L", "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"} {
		if score, ok := cvss3(bad); ok {
			t.Errorf("%q: found %v", bad, score)
		}
	}
}

func TestBadFeeds(t *testing.T) {
	zipped := func(name, text string) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, _ := z.Create(name)
		io.WriteString(w, text)
		z.Close()
		return b.String()
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "unexpected end of JSON input"},
		{"no JSON", "{\n  nothing", "2:3: invalid character 'n'"},
		{"neither", `{"a": 1}`, "found neither an OSV record (id) nor a secdb (packages)"},
		{"no ID", `[{"modified": "2026-01-01T00:00:00Z"}]`, "record 0: id: missing"},
		{"a time", `{"id": "CGA-1", "modified": "yesterday"}`, `CGA-1: modified: found "yesterday", expected a time such as`},
		{"another type", `{"id": "CGA-1", "aliases": 7}`, "cannot unmarshal number"},
		{"a secdb of nobody", `{"urlprefix": "https://example.org", "packages": []}`, "of no known distribution"},
		{"a package without a name", `{"urlprefix": "https://packages.wolfi.dev", "packages": [{"pkg": {}}]}`, "packages[0]: pkg.name: missing"},
		{"no archive", "PK\x03\x04nothing", "zip: not a valid zip file"},
		{"in an archive", zipped("CGA-1.json", "{"), `"CGA-1.json": 1:1: unexpected end of JSON input`},
		{"an archive of nothing", zipped("README", "hello"), "no record in it"},
		{"a list of nothing", "[]", "no record in it"},
		{"compiled, cut short", magic, "compiled feed: cut short"},
		{"compiled, of other keys", magic + "\x02{}\x02{}\x01b\x02[]\x01a\x02[]", "keys are not in order"},
	} {
		if _, err := Read("feed", []byte(c.text), Limits{}); !errors.Is(err, ErrFeed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q in it", c.name, err, c.want)
		}
	}
	big := record("CGA-1", "", about("a", "", unfixed))
	for _, l := range []Limits{{Bytes: 10}, {Records: 1}} {
		if _, err := Read("feed", []byte("["+big+","+big+"]"), l); !errors.Is(err, ErrFeed) || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if _, err := Read("feed", []byte(zipped("CGA-1.json", big)), Limits{Record: 10}); !errors.Is(err, ErrFeed) {
		t.Errorf("a large record: %v", err)
	}
}

func TestDistroOf(t *testing.T) {
	for text, want := range map[string]string{
		"ID=wolfi\nVERSION_ID=\"20230201\"\n": "wolfi", "ID=chainguard": "chainguard", "ID='alpine'\nVERSION_ID=3.19.1\n": "alpine:v3.19", "": "", "ID=alpine\nVERSION_ID=3": "alpine",
	} {
		if got := DistroOf([]byte(text)); got != want {
			t.Errorf("%q: found %q, expected %q", text, got, want)
		}
	}
	for url, want := range map[string]string{
		"https://packages.wolfi.dev/os/x86_64/a-1-r0.apk": "wolfi", "https://dl-cdn.alpinelinux.org/alpine/v3.22/main/x86_64/a.apk": "alpine:v3.22",
		"https://dl-cdn.alpinelinux.org/alpine/edge/main": "alpine", "https://apk.cgr.dev/chainguard": "chainguard", "repo/x86_64/a.apk": "",
	} {
		if got := DistroOfURL(url); got != want {
			t.Errorf("%q: found %q, expected %q", url, got, want)
		}
	}
}

// TestOpenKeepsTheCompiledForm: the second time a feed is not parsed, and a feed that
// changed is.
func TestOpenKeepsTheCompiledForm(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	name := filepath.Join(t.TempDir(), "feed.json")
	for _, version := range []string{"1-r2", "1-r2", "1-r3"} {
		if err := os.WriteFile(name, []byte(record("CGA-1", "", about("a", "", fixed(version)))), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := Open(t.Context(), name, st)
		if err != nil {
			t.Fatal(err)
		}
		if got := summary(Feeds{f}.Match([]Package{{Name: "a", Version: "1-r1"}}, Options{Distro: "wolfi"})); got != "CGA-1 ? a fixed "+version {
			t.Errorf("found %s, expected %s", got, version)
		}
		if f.Name != name || f.SHA256.IsZero() {
			t.Errorf("%+v", f.Meta)
		}
	}
	dir := t.TempDir()
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", i)), []byte(record(fmt.Sprintf("CGA-%d", i), "", about("a", "", unfixed))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := Open(t.Context(), dir, st); err != nil || f.Records != 3 {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestFetch: an index of records becomes an archive, and only what changed is fetched
// again.
func TestFetch(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	modified := map[string]string{"CGA-1": "2026-01-01T00:00:00Z", "CGA-2": "2026-01-01T00:00:00Z"}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		id := strings.TrimSuffix(filepath.Base(r.URL.Path), ".json")
		switch {
		case id == "all":
			var list []listed
			for id, m := range modified {
				list = append(list, listed{id, m})
			}
			json.NewEncoder(w).Encode(list)
		case modified[id] != "":
			fmt.Fprintf(w, `{"id": %q, "modified": %q, "affected": [%s]}`, id, modified[id], about("a", "", unfixed))
		case id == "plain":
			io.WriteString(w, record("CGA-9", "", about("a", "", unfixed)))
		case id == "evil":
			io.WriteString(w, `[{"id": "../../secret", "modified": "x"}]`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	taken := func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := asked
		asked = nil
		slices.Sort(out)
		return out
	}
	first, f, err := Fetch(t.Context(), srv.Client(), srv.URL+"/v2/all.json", nil)
	if err != nil || f.Records != 2 {
		t.Fatalf("%+v, %v", f, err)
	}
	if got := taken(); !slices.Equal(got, []string{"/v2/CGA-1.json", "/v2/CGA-2.json", "/v2/all.json"}) {
		t.Errorf("asked for %v", got)
	}
	again, _, err := Fetch(t.Context(), srv.Client(), srv.URL+"/v2/all.json", first)
	if err != nil || !bytes.Equal(again, first) {
		t.Errorf("the same again differs: %v", err)
	}
	if got := taken(); !slices.Equal(got, []string{"/v2/all.json"}) {
		t.Errorf("asked for %v", got)
	}
	mu.Lock()
	modified["CGA-2"] = "2026-02-01T00:00:00Z"
	mu.Unlock()
	if _, f, err := Fetch(t.Context(), srv.Client(), srv.URL+"/v2/all.json", first); err != nil || f.Newest.Month() != time.February {
		t.Errorf("%+v, %v", f, err)
	}
	if got := taken(); !slices.Equal(got, []string{"/v2/CGA-2.json", "/v2/all.json"}) {
		t.Errorf("asked for %v", got)
	}
	if b, f, err := Fetch(t.Context(), srv.Client(), srv.URL+"/plain.json", nil); err != nil || f.Records != 1 || !strings.Contains(string(b), "CGA-9") {
		t.Errorf("%+v, %v", f, err)
	}
	if _, _, err := Fetch(t.Context(), srv.Client(), srv.URL+"/evil.json", nil); !errors.Is(err, ErrFeed) {
		t.Errorf("an index that leads elsewhere: %v", err)
	}
	taken()
	for _, url := range []string{srv.URL + "/none.json", "file:///etc/passwd", "nothing"} {
		if _, _, err := Fetch(t.Context(), srv.Client(), url, nil); !errors.Is(err, ErrFetch) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestScannerCases are Chainguard's cases for scanners, with packages like those that
// they describe and hand-written records for the vulnerabilities in their answers.
func TestScannerCases(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(apktest.Data(t, "scanner-cases"), "data", "answers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var answers struct {
		Cases []struct {
			Name            string     `json:"testCaseName"`
			Vulnerabilities [][]string `json:"vulnerabilities"`
			Optional        [][]string `json:"optionalVulnerabilities"`
		} `json:"testCases"`
	}
	if err := json.Unmarshal(raw, &answers); err != nil {
		t.Fatal(err)
	}
	// What each case has installed: package, origin, version; and what the feed says of
	// the vulnerabilities in its answers: by which origin, fixed where.
	type installed = Package
	cases := map[string]struct {
		packages     []installed
		origin, fix  string
		optionalFix  string
		wantFindings bool
	}{
		"no-software":                                     {[]installed{{Name: "wolfi-baselayout", Version: "20230201-r15"}, {Name: "ca-certificates-bundle", Origin: "ca-certificates", Version: "20240705-r0"}}, "glibc", "2.39-r9", "", false},
		"fixed-vulnerabilities":                           {[]installed{{Name: "busybox", Version: "1.36.1-r40"}, {Name: "glibc", Version: "2.40-r2"}}, "glibc", "2.40-r2", "", false},
		"fixed-language-package-vulnerabilities":          {[]installed{{Name: "ko", Version: "0.16.0-r3"}}, "ko", "0.16.0-r3", "", false},
		"false-positive-language-package-vulnerabilities": {[]installed{{Name: "keycloak", Version: "25.0.2-r0"}}, "keycloak", "0", "0", false},
		"false-positives-from-lock-files":                 {[]installed{{Name: "ruby3.2-webrick", Version: "1.8.1-r4"}}, "ruby3.2-webrick", "0", "0", false},
		"subpackage-fixed-vulnerabilities":                {[]installed{{Name: "libcrypto3", Origin: "openssl", Version: "3.3.2-r0"}}, "openssl", "3.3.2-r0", "", false},
		"unfixed-vulnerabilities":                         {[]installed{{Name: "glibc", Version: "2.37-r1"}}, "glibc", "2.39-r9", "", true},
		"subpackage-unfixed-vulnerabilities":              {[]installed{{Name: "libcrypto3", Origin: "openssl", Version: "3.0.7-r0"}}, "openssl", "3.3.2-r0", "", true},
	}
	if len(answers.Cases) != len(cases) {
		t.Errorf("%d cases in the answers, %d here", len(answers.Cases), len(cases))
	}
	for _, a := range answers.Cases {
		c, ok := cases[a.Name]
		if !ok {
			t.Errorf("case %s: not known here", a.Name)
			continue
		}
		for _, distro := range []string{"wolfi", "chainguard"} {
			fixes := map[string][]string{}
			add := func(list [][]string, version string) {
				for _, names := range list {
					fixes[version] = append(fixes[version], strings.Join(names, " "))
				}
			}
			add(a.Vulnerabilities, c.fix)
			add(a.Optional, c.optionalFix)
			add([][]string{{"CVE-2020-0001"}}, c.fix)
			if c.wantFindings {
				delete(fixes, c.fix)
				add(a.Vulnerabilities, c.fix)
				add([][]string{{"CVE-2020-0002"}}, c.packages[0].Version) // fixed here
			}
			prefix := map[string]string{"wolfi": "https://packages.wolfi.dev", "chainguard": "https://packages.cgr.dev/chainguard"}[distro]
			secdb, err := json.Marshal(map[string]any{"urlprefix": prefix, "packages": []any{map[string]any{"pkg": map[string]any{"name": c.origin, "secfixes": fixes}}}})
			if err != nil {
				t.Fatal(err)
			}
			var osv []string
			for version, list := range fixes {
				for _, names := range list {
					f := strings.Fields(names)
					quoted, _ := json.Marshal(f)
					x := about(c.origin, "", fixed(version))
					osv = append(osv, strings.ReplaceAll(record("CGA-"+f[0], `"upstream": `+string(quoted)+`,`, x), "apk/wolfi", "apk/"+distro))
				}
			}
			for form, feed := range map[string]*Feed{"secdb": mustRead(t, string(secdb)), "osv": mustRead(t, osv...)} {
				r := Feeds{feed}.Match(c.packages, Options{Distro: distro})
				var got, want []string
				for _, f := range r.Findings {
					got = append(got, f.ID)
				}
				for _, names := range a.Vulnerabilities {
					want = append(want, names[0])
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s, %s: found %v\nexpected %v", a.Name, distro, form, got, want)
				}
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(record("CGA-1", `"upstream": ["CVE-1"],`, about("a", "x86_64", fixed("1-r2")))))
	f.Add([]byte("[" + record("CGA-1", "", about("a", "", unfixed)) + "]"))
	f.Add([]byte(`{"urlprefix": "https://packages.wolfi.dev", "packages": [{"pkg": {"name": "a", "secfixes": {"1-r5": ["CVE-1"]}}}]}`))
	f.Add([]byte(magic + "\x02{}\x02{}\x01a\x02[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		feed, err := Read("fuzz", data, Limits{Bytes: 1 << 20})
		if err != nil {
			return
		}
		for _, d := range feed.Distros {
			Feeds{feed}.Match([]Package{{Name: "a", Version: "1-r1", Arch: "x86_64"}}, Options{Distro: d})
		}
		b, err := feed.Marshal()
		if err != nil {
			return // JSON that is no JSON in a compiled feed
		}
		if _, err := Read("fuzz", b, Limits{}); err != nil {
			t.Errorf("compiled: %v", err)
		}
	})
}

// BenchmarkView looks 75 packages up in a feed of 40,000 records, compiled before.
func BenchmarkView(b *testing.B) {
	var docs []string
	for i := range 40_000 {
		docs = append(docs, record(fmt.Sprintf("CGA-%05d", i), fmt.Sprintf(`"upstream": ["CVE-2026-%d"], "summary": %q,`, i, strings.Repeat("something is wrong ", 5)), about(fmt.Sprintf("p%d", i%4000), "", fixed(fmt.Sprintf("1.%d-r0", i%7)))))
	}
	st, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	name := filepath.Join(b.TempDir(), "feed.json")
	if err := os.WriteFile(name, []byte("["+strings.Join(docs, ",")+"]"), 0o644); err != nil {
		b.Fatal(err)
	}
	if _, err := Open(b.Context(), name, st); err != nil {
		b.Fatal(err)
	}
	var packages []Package
	for i := range 75 {
		packages = append(packages, Package{Name: fmt.Sprintf("p%d", i*50), Version: "1.3-r0", Arch: "x86_64"})
	}
	for b.Loop() {
		f, err := Open(b.Context(), name, st)
		if err != nil {
			b.Fatal(err)
		}
		if r := (Feeds{f}).Match(packages, Options{Distro: "wolfi"}); len(r.Findings) == 0 {
			b.Fatal("nothing was found")
		}
	}
}
