package rootfs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// testData returns the directory of the real data, or skips.
func testData(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CAIRN_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(filepath.Join(dir, "trees")); err != nil {
		t.Skipf("no real data: %v (set CAIRN_TESTDATA)", err)
	}
	return dir
}

// truthEntry is a line of trees/*.jsonl: what apk-tools left on the disk.
type truthEntry struct {
	Path, Type, Mode, Link, SHA256 string
	UID, GID, NLink                int
	Size                           int64
}

func (e truthEntry) String() string {
	if e.Type == "" {
		return "nothing"
	}
	return fmt.Sprintf("%s %s %d:%d size %d links %d %s%.8s", e.Type, e.Mode, e.UID, e.GID, e.Size, e.NLink, e.Link, e.SHA256)
}

// difference is a path, or everything below one that ends in "/", in which a
// planned tree differs from what apk-tools leaves, on purpose. The title is a
// heading in DIFFERENCES.md, which has the reason.
type difference struct{ prefix, title string }

// readDifferences reads testdata/differences.txt.
func readDifferences(t *testing.T) []difference {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "differences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var out []difference
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		prefix, title, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			t.Fatalf("testdata/differences.txt: %q: expected a path, a tab and a title", line)
		}
		out = append(out, difference{prefix, title})
	}
	return out
}

func TestRealTrees(t *testing.T) {
	data := testData(t)
	for _, name := range []string{"base", "ssh"} {
		t.Run(name, func(t *testing.T) {
			in := realInput(t, data, name)
			tree, known := plan(t, in), readDifferences(t)
			got, want := observed(tree), readTruth(t, data, name)
			paths := slices.Sorted(maps.Keys(got))
			for p := range want {
				if _, ok := got[p]; !ok {
					paths = append(paths, p)
				}
			}
			bad := 0
			for _, p := range paths {
				if got[p] != want[p] && !intended(tree, known, p) {
					if bad++; bad <= 20 {
						t.Errorf("/%s:\n got  %v\n want %v", p, got[p], want[p])
					}
				}
			}
			t.Logf("%d paths compared, %d differ", len(paths), bad)
		})
	}
}

// TestRealInstalledDatabase compares with the bytes that apk-tools wrote.
func TestRealInstalledDatabase(t *testing.T) {
	data := testData(t)
	for request, dir := range map[string]string{"base": "usr/lib/apk/db/", "ssh": "lib/apk/db/"} {
		tree, want := plan(t, realInput(t, data, request)), readTruth(t, data, request)
		for _, f := range []string{"installed", "triggers"} {
			got := misplaced(content(t, tree, dir+f))
			if w := want["lib/apk/db/"+f]; sum256(got).Hex() != w.SHA256 || int64(len(got)) != w.Size {
				t.Errorf("%s: %s: %d bytes %.8s, apk-tools wrote %d bytes %.8s", request, f, len(got), sum256(got).Hex(), w.Size, w.SHA256)
			}
		}
	}
}

// misplaced gives the lines of a database that come between the index entry and
// the first directory to the next package that has a directory, where their own
// has none, as apk-tools does.
func misplaced(database string) string {
	var out, late strings.Builder
	for record := range strings.SplitAfterSeq(database, "\n\n") {
		entry, files := record, ""
		if i := strings.Index(record, "\nF:"); i >= 0 {
			entry, files = record[:i+1], record[i+1:]
		}
		for line := range strings.Lines(entry) {
			if strings.IndexByte("rqsf", line[0]) >= 0 {
				late.WriteString(line)
			} else {
				out.WriteString(line)
			}
		}
		if files != "" {
			out.WriteString(late.String() + files)
			late.Reset()
		}
	}
	return out.String()
}

// intended tells whether the path may differ.
func intended(tree *Tree, known []difference, p string) bool {
	for _, d := range known {
		if p == d.prefix || strings.HasSuffix(d.prefix, "/") && strings.HasPrefix(p, d.prefix) {
			return true
		}
	}
	e := tree.Lookup(p)
	return e != nil && e.Owner == Owner{OwnedByGenerator, generatorBusybox}
}

// observed describes the tree as it would be seen on a disk.
func observed(tree *Tree) map[string]truthEntry {
	links := map[string]int{}
	for i := range tree.Entries {
		if e := &tree.Entries[i]; e.Type == apk.TypeHardlink {
			links[e.Link]++
		}
	}
	out := map[string]truthEntry{}
	for i := range tree.Entries {
		e := &tree.Entries[i]
		o := truthEntry{Path: e.Path, Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID, Type: "special"}
		switch e.Type {
		case apk.TypeDir:
			o.Type = "dir"
		case apk.TypeSymlink:
			o.Type, o.Link = "symlink", e.Link
		case apk.TypeFile, apk.TypeHardlink:
			c := e
			if e.Type == apk.TypeHardlink {
				c = tree.Lookup(e.Link)
			}
			o.Type, o.Size, o.SHA256 = "file", c.Size, c.SHA256.Hex()
			if n := links[c.Path]; n > 0 {
				o.NLink = n + 1
			}
		}
		out[e.Path] = o
	}
	return out
}

func readTruth(t *testing.T, data, name string) map[string]truthEntry {
	t.Helper()
	f, err := os.Open(filepath.Join(data, "trees", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]truthEntry{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var e truthEntry
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		out[e.Path] = e
	}
	return out
}

// realInput ingests the packages that apk-tools chose for a request.
func realInput(t testing.TB, data, name string) Input {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(data, "trees", name+".packages"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := os.ReadFile(filepath.Join(data, "trees", name+".request"))
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Arch: "x86_64", Created: epoch, Keys: realKeys(t, data)}
	if in.World, err = apk.ParseDependencies(string(request)); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(string(list)) {
		raw, err := os.ReadFile(filepath.Join(data, "alpine-3.19-boot", "x86_64", strings.Replace(id, "=", "-", 1)+".apk"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := st.Ingest(context.Background(), bytes.NewReader(raw), store.Expect{FileSHA256: sha256.Sum256(raw)})
		if err != nil {
			t.Fatal(err)
		}
		in.Packages = append(in.Packages, Package{Receipt: r})
	}
	in.ReadFiles = func(ctx context.Context, p int, members []int) ([][]byte, error) {
		return st.ReadFiles(ctx, in.Packages[p].Receipt, members)
	}
	return in
}

// realKeys are the keys that were in the root before apk-tools ran.
func realKeys(t testing.TB, data string) map[string][]byte {
	t.Helper()
	keys := map[string][]byte{}
	files, err := filepath.Glob(filepath.Join(data, "alpine-3.19", "keys", "*.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		keys[filepath.Base(f)] = b
	}
	return keys
}

// Every difference that the comparison lets pass is explained.
func TestDifferencesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("DIFFERENCES.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range readDifferences(t) {
		if !strings.Contains(string(text), "\n### "+d.title+"\n") {
			t.Errorf("DIFFERENCES.md has no heading %q, for /%s", d.title, d.prefix)
		}
	}
}
