package sbom

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/spdx/tools-golang/spdx/v2/common"

	"github.com/cairn-dev/cairn/assemble/rootfs"
)

func TestSPDXValid(t *testing.T) {
	g := testGraph(t)
	doc := checkSPDX(t, spdxOf(t, g))
	if len(doc.Packages) != len(g.Components) {
		t.Errorf("%d packages, %d components", len(doc.Packages), len(g.Components))
	}
	files := 0
	g.eachFile(func(int) { files++ })
	if len(doc.Files) != files || files != 10 {
		t.Errorf("%d files in the document, %d in the graph, want 10", len(doc.Files), files)
	}
	var described []string
	for _, r := range doc.Relationships {
		if r.Relationship == common.TypeRelationshipDescribe {
			described = append(described, string(r.RefB.ElementRefID))
		}
	}
	if len(described) != 1 || described[0] != g.Image().ID {
		t.Errorf("describes %v", described)
	}
}

func TestSPDXWithoutFiles(t *testing.T) {
	in := testInput(t)
	in.OmitFiles = true
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	doc := checkSPDX(t, spdxOf(t, g))
	if len(doc.Files) != 0 {
		t.Errorf("%d files", len(doc.Files))
	}
	for _, p := range doc.Packages {
		if p.FilesAnalyzed {
			t.Errorf("%s: filesAnalyzed without files", p.PackageName)
		}
	}
	checkCycloneDX(t, cdxOf(t, g))
	if g.Namespace() == testGraph(t).Namespace() {
		t.Error("the documents with and without files share a namespace")
	}
}

// The creators are the tool and whoever the user says, and nobody else: apko
// names "Chainguard, Inc" for everybody (field.md §2 hole 2).
func TestApkoDefect_CreatorsAreTheUsers(t *testing.T) {
	in := testInput(t)
	for author, want := range map[string]string{
		"Example Org": "[{cairn-v1.2.3 Tool} {Example Org Organization}]",
		"":            "[{cairn-v1.2.3 Tool}]",
	} {
		in.Author = author
		g, err := New(in)
		if err != nil {
			t.Fatal(err)
		}
		raw := spdxOf(t, g)
		if got := fmt.Sprint(checkSPDX(t, raw).CreationInfo.Creators); got != want {
			t.Errorf("creators %s, want %s", got, want)
		}
		if bytes.Contains(bytes.ToLower(raw), []byte("chainguard")) || bytes.Contains(bytes.ToLower(cdxOf(t, g)), []byte("chainguard")) {
			t.Error("a document names Chainguard")
		}
	}
	in.ToolVersion = ""
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(spdxOf(t, g), []byte(`"Tool: cairn-devel"`)) {
		t.Error("a build without a version is not called devel")
	}
}

// No two documents share a namespace or a serial number: every one of apko's
// is https://spdx.org/spdxdocs/apko/ (field.md §2 hole 2).
func TestApkoDefect_NamespacesAreUnique(t *testing.T) {
	seen := map[string]string{}
	note := func(who string, names ...string) {
		for _, n := range names {
			n = n[len(n)-36:]
			if other, ok := seen[n]; ok {
				t.Errorf("%s and %s share %s", who, other, n)
			}
			seen[n] = who
		}
	}
	graph := func(who string, edit func(*Input)) *Graph {
		in := testInput(t)
		edit(&in)
		g, err := New(in)
		if err != nil {
			t.Fatal(err)
		}
		note(who, g.Namespace(), g.SerialNumber())
		return g
	}
	g := graph("image", func(*Input) {})
	graph("other image", func(in *Input) { in.Image.Digest = hashOf("other") })
	graph("other author", func(in *Input) { in.Author = "Other" })
	graph("other tool", func(in *Input) { in.ToolVersion = "v2" })
	graph("other source", func(in *Input) { in.Sources[0].SHA256 = sha256Of("x") })
	graph("other name", func(in *Input) { in.Image.Name = "else" })
	index := func(who string, in IndexInput) {
		in.Created = testTime
		x, err := NewIndex(in, []*Graph{g})
		if err != nil {
			t.Fatal(err)
		}
		note(who, x.Namespace(), x.SerialNumber())
	}
	index("index", IndexInput{Digest: hashOf("index")})
	index("index with the image's digest", IndexInput{Digest: hashOf("image")})
	index("other index", IndexInput{Digest: hashOf("index2")})
	if again := testGraph(t); again.Namespace() != g.Namespace() || again.SerialNumber() != g.SerialNumber() {
		t.Error("the same document has another name the second time")
	}
}

// The same input gives the same bytes, in whatever order maps are walked.
func TestDocumentsAreDeterministic(t *testing.T) {
	g := testGraph(t)
	spdx, cdx := spdxOf(t, g), cdxOf(t, g)
	for range 20 {
		g := testGraph(t)
		if !bytes.Equal(spdxOf(t, g), spdx) || !bytes.Equal(cdxOf(t, g), cdx) {
			t.Fatal("two runs differ")
		}
	}
	for _, doc := range [][]byte{spdx, cdx} {
		if bytes.Contains(doc, []byte("secret")) {
			t.Error("a repository's password is in a document")
		}
		if n := bytes.Count(doc, []byte(testTime.Format("2006-01-02T15:04:05Z"))); n < 1 {
			t.Error("the image's creation time is not in a document")
		}
	}
}

// An embedded SBOM that is corrupt is an error; apko skips it, and the package
// with it, without a word (field.md §2 hole 1).
func TestApkoDefect_CorruptEmbeddedSBOMIsAnError(t *testing.T) {
	if _, err := New(withEmbedded(t, `{"spdxVersion": `)); err == nil {
		t.Error("a corrupt embedded SBOM was passed over")
	}
}

func sha256Of(s string) (d [32]byte) {
	copy(d[:], fmt.Sprintf("%-32s", s))
	return d
}

// The verification code is the SHA-1 over the sorted SHA-1s, whatever the order
// of the files.
func TestVerificationCode(t *testing.T) {
	sums := []string{strings.Repeat("c", 40), strings.Repeat("a", 40), strings.Repeat("b", 40)}
	want := fmt.Sprintf("%x", sha1.Sum([]byte(strings.Repeat("a", 40)+strings.Repeat("b", 40)+strings.Repeat("c", 40))))
	for range 10 {
		rand.Shuffle(len(sums), func(i, j int) { sums[i], sums[j] = sums[j], sums[i] })
		if got := verificationCode(sums); got != want {
			t.Fatalf("%v: %s, want %s", sums, got, want)
		}
	}
}

func TestComponentIDsAreMadeUnique(t *testing.T) {
	in := testInput(t)
	for _, name := range []string{"a_b", "a+b", "a-b"} {
		in.Tree.Packages = append(in.Tree.Packages, pkg(t, name, "1.0-r0", "", ""))
	}
	in.Tree.Entries = append(in.Tree.Entries, rootfs.Entry{Entry: in.Tree.Entries[0].Entry, Owner: packageOwner("a+b")})
	in.Tree.Entries[len(in.Tree.Entries)-1].Path = "zzz"
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"Package-a-b-1.0-r0", "Package-a-b-1.0-r0-2", "Package-a-b-1.0-r0-3"} {
		if g.Component(id) == nil {
			t.Errorf("no component %s", id)
		}
	}
	checkSPDX(t, spdxOf(t, g))
}

// failingWriter fails after n bytes.
type failingWriter struct{ n int }

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestWriteErrorsAreKept(t *testing.T) {
	g := testGraph(t)
	x, err := NewIndex(IndexInput{Digest: hashOf("i"), Created: testTime}, []*Graph{g})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(io.Writer) error{"SPDX": g.WriteSPDX, "CycloneDX": g.WriteCycloneDX, "index SPDX": x.WriteSPDX, "index CycloneDX": x.WriteCycloneDX} {
		if err := write(&failingWriter{100}); err != io.ErrShortWrite {
			t.Errorf("%s: %v, want the writer's error", name, err)
		}
	}
}
