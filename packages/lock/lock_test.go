package lock

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

func digest(b byte) (d apk.SHA256) { d[0] = b; return d }
func control(b byte) (d apk.SHA1)  { d[0] = b; return d }

func pkg(name, version, arch string, sum byte) Package {
	return Package{
		Name: name, Version: version, Architecture: arch,
		URL:      "https://example.org/" + arch + "/" + name + "-" + version + ".apk",
		Checksum: control(sum),
		Cairn: &PackageExtra{SHA256: digest(sum), DiffID: digest(sum + 1), Size: 10,
			Reason: Reason{Kind: "requested", Dependency: name}},
	}
}

func sample() *Lock {
	return &Lock{
		Version: Version,
		Config:  Config{Name: "image.yaml", Checksum: "sha256-x"},
		Contents: Contents{Packages: []Package{
			pkg("musl", "1.2-r0", "x86_64", 1), pkg("app", "1.0-r0", "x86_64", 2),
			pkg("musl", "1.2-r0", "aarch64", 3), pkg("app", "1.0-r0", "aarch64", 4),
		}},
		Cairn: &Cairn{Format: Format, Request: Request{
			Packages: []string{"app", "musl"}, Repositories: []string{"https://example.org"},
			Keyring: []string{"k.rsa.pub"}, Architectures: []string{"x86_64", "aarch64"},
			Files: []File{{Path: "/etc/motd", SHA256: digest(9), Size: 3}}, Layering: "package/100",
		}, Layers: []Layers{{Architecture: "x86_64", Segments: [][]string{{"musl"}, {"app"}}}}},
	}
}

func TestMarshalReadsBackTheSame(t *testing.T) {
	b, err := sample().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := got.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(b), string(again)); diff != "" {
		t.Errorf("not canonical (-first +second):\n%s", diff)
	}
	if !strings.HasSuffix(string(b), "}\n") {
		t.Errorf("does not end in a newline")
	}
	for _, list := range []string{`"keyring": []`, `"build_repositories": []`, `"runtime_repositories": []`, `"repositories": []`} {
		if !strings.Contains(string(b), list) {
			t.Errorf("missing %s: apko expects a list", list)
		}
	}
}

func TestByArchitecture(t *testing.T) {
	l := sample()
	if diff := cmp.Diff([]string{"x86_64", "aarch64"}, l.Architectures()); diff != "" {
		t.Error(diff)
	}
	if p := l.For("aarch64"); len(p) != 2 || p[0].Name != "musl" || p[1].Checksum != control(4) {
		t.Errorf("For(aarch64) = %v", p)
	}
	if diff := cmp.Diff([][]string{{"musl"}, {"app"}}, l.Segments("x86_64")); diff != "" {
		t.Error(diff)
	}
	if s := l.Segments("aarch64"); s != nil {
		t.Errorf("Segments(aarch64) = %v", s)
	}
	if s := (&Lock{}).Segments("x86_64"); s != nil {
		t.Errorf("Segments of a lock by apko = %v", s)
	}
}

func TestParseRefuses(t *testing.T) {
	ok := func() *Lock { return sample() }
	tests := []struct {
		name   string
		text   string
		change func(*Lock)
		want   string
	}{
		{name: "empty", text: "", want: "invalid lock: line 1 column 1: unexpected end of JSON input"},
		{name: "syntax", text: "{\n  \"version\": v1\n}", want: "invalid lock: line 2 column 15: invalid character 'v' looking for beginning of value"},
		{name: "type", text: "{\"version\": 1}", want: "invalid lock: line 1 column 14: version: found number, expected string"},
		{name: "checksum", text: `{"version":"v1","contents":{"packages":[{"name":"a","checksum":"Q1xx"}]}}`, want: "invalid lock: checksum \"Q1xx\": expected \"Q1\" and 28 base64 characters or 40 hexadecimal digits"},
		{name: "version", change: func(l *Lock) { l.Version = "v2" }, want: `invalid lock: version: found "v2", expected "v1"`},
		{name: "newer format", change: func(l *Lock) { l.Cairn.Format = 99 }, want: "invalid lock: cairn.format: found 99, this release reads up to 3: use a newer cairn"},
		{name: "no name", change: func(l *Lock) { l.Contents.Packages[1].Name = "" }, want: "invalid lock: contents.packages[1]: name: missing"},
		{name: "path as name", change: func(l *Lock) { l.Contents.Packages[1].Name = "../a" }, want: `invalid lock: contents.packages[1]: name: "../a" is no package name`},
		{name: "bad version", change: func(l *Lock) { l.Contents.Packages[0].Version = "1.0 beta" }, want: `invalid lock: contents.packages[0]: musl: version: "1.0 beta" is no version`},
		{name: "no architecture", change: func(l *Lock) { l.Contents.Packages[0].Architecture = "" }, want: "invalid lock: contents.packages[0]: musl: architecture: missing"},
		{name: "no url", change: func(l *Lock) { l.Contents.Packages[0].URL = "" }, want: "invalid lock: contents.packages[0]: musl: url: missing"},
		{name: "before apko 0.13", change: func(l *Lock) { l.Contents.Packages[0].Checksum = apk.SHA1{} }, want: "invalid lock: contents.packages[0]: musl: checksum: missing: the file was written by apko before 0.13; lock again"},
		{name: "half an extra", change: func(l *Lock) { l.Contents.Packages[0].Cairn.DiffID = apk.SHA256{} }, want: "invalid lock: contents.packages[0]: musl: cairn: sha256 and diff_id are required"},
		{name: "data checksum", change: func(l *Lock) { l.Contents.Packages[0].Data.Checksum = "md5-x" }, want: `invalid lock: contents.packages[0]: musl: data.checksum: found "md5-x", expected "sha256-" and 44 base64 characters`},
		{name: "extra without the lock's part", change: func(l *Lock) { l.Cairn = nil }, want: "invalid lock: contents.packages[0]: musl: cairn: stands in a lock without cairn's part: the file was altered"},
		{name: "twice", change: func(l *Lock) { l.Contents.Packages[1].Name = "musl" }, want: "invalid lock: contents.packages[1]: musl stands twice for x86_64, first at [0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := []byte(tt.text)
			if tt.change != nil {
				l := ok()
				tt.change(l)
				var err error
				if text, err = l.Marshal(); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Parse(text)
			if err == nil || err.Error() != tt.want {
				t.Fatalf("found %v\nwant  %s", err, tt.want)
			}
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("does not wrap ErrInvalid")
			}
		})
	}
}

func TestStaleSaysWhatChanged(t *testing.T) {
	l := sample()
	now := l.Cairn.Request
	if got := l.Stale(now); got != nil {
		t.Fatalf("current lock: %v", got)
	}
	now.Packages = []string{"musl", "curl"}
	now.Repositories = []string{"https://example.org", "https://other.org"}
	now.Keyring = nil
	now.Architectures = []string{"aarch64", "x86_64"}
	now.Files = []File{{Path: "/etc/motd", SHA256: digest(8)}, {Path: "/etc/new"}}
	l.Cairn.Request.App = []File{{Path: "/srv/app", SHA256: digest(1)}, {Path: "/srv/old", SHA256: digest(2)}}
	now.App = []File{{Path: "/srv/app", SHA256: digest(3)}, {Path: "/srv/new", SHA256: digest(2)}}
	now.Layering = "origin/10"
	want := []string{
		"packages: added curl", "packages: removed app", "repositories: added https://other.org",
		"keyring: removed k.rsa.pub", "archs: order changed",
		"files: content of /etc/motd changed", "files: added /etc/new",
		"app: content of /srv/app changed", "app: added /srv/new", "app: removed /srv/old",
		"layering: locked package/100, now origin/10",
	}
	if diff := cmp.Diff(want, l.Stale(now)); diff != "" {
		t.Error(diff)
	}
	now = l.Cairn.Request
	now.Files = nil
	if diff := cmp.Diff([]string{"files: removed /etc/motd"}, l.Stale(now)); diff != "" {
		t.Error(diff)
	}
	if got := (&Lock{}).Stale(now); got != nil {
		t.Errorf("a lock by apko has no request: %v", got)
	}
}

// TestStaleIsLinear: a lock can come from somebody who wants this to take long.
// With a search of one list for each member of the other it took hours.
func TestStaleIsLinear(t *testing.T) {
	l := sample()
	now := l.Cairn.Request
	l.Cairn.Request.Packages, now.Packages = nil, nil
	for i := range 300_000 {
		l.Cairn.Request.Packages = append(l.Cairn.Request.Packages, fmt.Sprintf("old-%d", i))
		now.Packages = append(now.Packages, fmt.Sprintf("new-%d", i))
	}
	if got := l.Stale(now); len(got) != 600_000 || got[0] != "packages: added new-0" || got[599_999] != "packages: removed old-299999" {
		t.Errorf("%d changes", len(got))
	}
	// The same of a base image and the packages on it.
	l = sample()
	l.Cairn.Format = FormatBase
	b := Base{Architecture: l.Contents.Packages[0].Architecture, Image: apk.SHA256{1}, Index: apk.SHA256{2}}
	p := l.Contents.Packages[0]
	for i := range 100_000 {
		b.Packages = append(b.Packages, fmt.Sprintf("b%d=1", i))
		p.Name = fmt.Sprintf("p%d", i)
		l.Contents.Packages = append(l.Contents.Packages, p)
	}
	l.Cairn.Request.Base = []Base{b}
	if err := l.check(); err != nil {
		t.Error(err)
	}
}

func TestStaleChecksum(t *testing.T) {
	l := sample()
	if l.StaleChecksum("sha256-x") || !l.StaleChecksum("sha256-y") {
		t.Errorf("checksum of the configuration is not compared")
	}
	l.Config.Checksum = ""
	if l.StaleChecksum("sha256-y") {
		t.Errorf("a lock without checksum cannot be stale")
	}
}

func TestMoves(t *testing.T) {
	old, now := sample(), sample()
	for i := range now.Contents.Packages {
		if p := &now.Contents.Packages[i]; p.Name == "app" {
			p.Version = "1.10-r0" // after 1.9 in apk's order
			p.Cairn.Reason = Reason{Kind: "depends", By: []string{"meta"}, Dependency: "app"}
		}
	}
	now.Contents.Packages[0].Checksum = control(77)
	now.Contents.Packages = append(now.Contents.Packages[:2:2], now.Contents.Packages[3], pkg("zlib", "1-r0", "aarch64", 8))
	old.Contents.Packages = append(old.Contents.Packages, pkg("zlib", "2-r0", "aarch64", 9))
	got := Moves(old, now)
	by := Reason{Kind: "depends", By: []string{"meta"}, Dependency: "app"}
	want := []Move{
		{Kind: Upgraded, Name: "app", Architectures: []string{"x86_64", "aarch64"}, Old: "1.0-r0", New: "1.10-r0", Reason: by},
		{Kind: Rebuilt, Name: "musl", Architectures: []string{"x86_64"}, Old: "1.2-r0", New: "1.2-r0", Reason: Reason{Kind: "requested", Dependency: "musl"}},
		{Kind: Removed, Name: "musl", Architectures: []string{"aarch64"}, Old: "1.2-r0"},
		{Kind: Downgrade, Name: "zlib", Architectures: []string{"aarch64"}, Old: "2-r0", New: "1-r0", Reason: Reason{Kind: "requested", Dependency: "zlib"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if all := Moves(nil, sample()); len(all) != 2 || all[0].Kind != Added {
		t.Errorf("Moves(nil) = %v", all)
	}
	if none := Moves(sample(), sample()); none != nil {
		t.Errorf("equal locks move: %v", none)
	}
}

func TestRanges(t *testing.T) {
	if got := Bytes(0, 0); got != "" {
		t.Errorf("empty section: %q", got)
	}
	if got := Bytes(10, 5); got != "bytes=10-14" {
		t.Errorf("Bytes(10, 5) = %q", got)
	}
	d := digest(7)
	if got, err := ParseChecksum(Checksum(d)); err != nil || got != d {
		t.Errorf("ParseChecksum(Checksum(d)) = %v, %v", got, err)
	}
}

// The locks of real projects, written by apko, are read; the one from before
// 0.13 is refused.
func TestReadsLocksOfApko(t *testing.T) {
	root := os.Getenv("CAIRN_TESTDATA")
	if root == "" {
		root = "../../../shared/data"
	}
	var files []string
	err := filepath.WalkDir(filepath.Join(root, "image-configs"), func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".lock.json") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Skipf("no real locks: %v", err)
	}
	for _, f := range files {
		l, err := ReadFile(f)
		old := strings.Contains(f, "pre-0.13")
		switch {
		case old && (err == nil || !strings.Contains(err.Error(), "before 0.13")):
			t.Errorf("%s: %v", f, err)
		case !old && err != nil:
			t.Error(err)
		case !old && l.Cairn != nil:
			t.Errorf("%s: has a part of cairn's", f)
		}
	}
	if len(files) < 5 {
		t.Errorf("only %d locks found", len(files))
	}
}

// Whatever byte of a lock is changed: it is noticed. White space may differ, as
// in a checkout with other line ends.
func TestEveryAlteredByteIsNoticed(t *testing.T) {
	b, err := sample().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for i := range b[:len(b)-1] {
		for _, bit := range []int{i % 8, 5} { // 5 turns letters to upper case
			altered := bytes.Clone(b)
			altered[i] ^= 1 << bit
			if _, err := Parse(altered); err == nil {
				t.Fatalf("byte %d, %q → %q: not noticed", i, b[i], altered[i])
			}
		}
	}
	if _, err := Parse(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))); err != nil {
		t.Errorf("other line ends: %v", err)
	}
}

func TestReadFileNamesTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.lock.json")
	if err := os.WriteFile(name, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ReadFile(name)
	if want := name + ": invalid lock: line 1 column 2: unexpected end of JSON input"; err == nil || err.Error() != want {
		t.Errorf("found %v\nwant  %s", err, want)
	}
}

func FuzzParse(f *testing.F) {
	b, err := sample().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":"v1"}`))
	f.Add([]byte(`{"version":"v1","contents":{"packages":[null]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error without ErrInvalid: %v", err)
			}
			return
		}
		text, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(text); err != nil {
			t.Fatalf("own text is refused: %v\n%s", err, text)
		}
	})
}
