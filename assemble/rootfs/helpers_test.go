package rootfs

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// epoch is the image time of tests.
var epoch = time.Unix(1_700_000_000, 0)

// receipt reads a package file the way the store does, but refuses nothing: a
// plan must cope with everything a receipt can say.
func receipt(t testing.TB, raw []byte) (*store.Receipt, [][]byte) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(raw))
	head, err := apk.ReadHead(in, apk.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r := &store.Receipt{Package: *head.Package, Scripts: head.Files, Contents: map[string][]byte{}}
	r.Package.Size = int64(len(raw))
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	var bodies [][]byte
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return r, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		e := entryOf(h, body)
		if e.Type == apk.TypeFile && store.ContentWanted(e.Path, e.Size) {
			r.Contents[e.Path] = body
		}
		r.Entries, bodies = append(r.Entries, e), append(bodies, body)
	}
}

func entryOf(h *tar.Header, body []byte) apk.Entry {
	e := apk.Entry{
		Path: path.Clean(h.Name), Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid, Uname: h.Uname, Gname: h.Gname,
		MTime: h.ModTime.Unix(), DevMajor: h.Devmajor, DevMinor: h.Devminor,
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type, e.Size, e.SHA256, e.SHA1 = apk.TypeFile, h.Size, sha256.Sum256(body), sha1.Sum(body)
	case tar.TypeDir:
		e.Type = apk.TypeDir
	case tar.TypeSymlink:
		e.Type, e.Link, e.SHA1 = apk.TypeSymlink, h.Linkname, sha1.Sum([]byte(h.Linkname))
	case tar.TypeLink:
		e.Type, e.Link = apk.TypeHardlink, path.Clean(h.Linkname)
	case tar.TypeChar:
		e.Type = apk.TypeChar
	case tar.TypeBlock:
		e.Type = apk.TypeBlock
	case tar.TypeFifo:
		e.Type = apk.TypeFIFO
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = v
		}
	}
	return e
}

// pkg describes a test package: name-version and its files, written as
// "path", "path/" (a directory), "path -> target" (a symlink) or "path => path"
// (a hard link), then optional words: mode=0755, own=1:2, name=user:group,
// is=CONTENT
// (| is a line feed). Parent directories are added.
func pkg(id string, files ...string) apktest.Spec {
	i := strings.LastIndexByte(id, '-')
	if j := strings.LastIndexByte(id[:i], '-'); strings.HasPrefix(id[i+1:], "r") && j > 0 {
		i = j
	}
	s := apktest.Spec{Parents: true, Package: apk.Package{Name: id[:i], Version: id[i+1:], Arch: "x86_64", License: "MIT"}}
	for _, f := range files {
		s.Files = append(s.Files, file(f))
	}
	return s
}

func file(text string) apktest.File {
	words := strings.Fields(text)
	f := apktest.File{Path: words[0], Type: apk.TypeFile, Content: words[0], MTime: 1000}
	for i := 1; i < len(words); i++ {
		key, value, _ := strings.Cut(words[i], "=")
		switch {
		case words[i] == "->":
			i++
			f.Type, f.Link, f.Content = apk.TypeSymlink, words[i], ""
		case words[i] == "=>":
			i++
			f.Type, f.Link, f.Content = apk.TypeHardlink, words[i], ""
		case key == "mode":
			must(fmt.Sscanf(value, "%o", &f.Mode))
		case key == "own":
			must(fmt.Sscanf(value, "%d:%d", &f.UID, &f.GID))
		case key == "name":
			f.Uname, f.Gname, _ = strings.Cut(value, ":")
		case key == "is":
			f.Content = strings.ReplaceAll(value, "|", "\n")
		case key == "dev":
			f.Type, f.Content = apk.TypeChar, ""
			must(fmt.Sscanf(value, "%d,%d", &f.Dev[0], &f.Dev[1]))
		case key == "xattr":
			name, v, _ := strings.Cut(value, ":")
			f.Xattrs = map[string]string{name: v}
		default:
			panic("test file: " + text)
		}
	}
	if strings.HasSuffix(f.Path, "/") {
		f.Path, f.Type, f.Content = strings.TrimSuffix(f.Path, "/"), apk.TypeDir, ""
	}
	return f
}

func must(_ int, err error) {
	if err != nil {
		panic(err)
	}
}

func replacing(s apktest.Spec, priority int64, what string) apktest.Spec {
	deps, err := apk.ParseDependencies(what)
	if err != nil {
		panic(err)
	}
	s.Package.Replaces, s.Package.ReplacesPriority = deps, priority
	return s
}

func from(origin string, s apktest.Spec) apktest.Spec {
	s.Package.Origin = origin
	return s
}

// input builds the packages and returns what plans them.
func input(t testing.TB, cfg *config.Config, specs ...apktest.Spec) Input {
	t.Helper()
	in := Input{Config: cfg, Arch: "x86_64", Created: epoch}
	var bodies [][][]byte
	for _, s := range specs {
		raw, _ := apktest.BuildEntry(s)
		r, b := receipt(t, raw)
		in.Packages, bodies = append(in.Packages, Package{Receipt: r}), append(bodies, b)
	}
	in.ReadFiles = func(_ context.Context, p int, members []int) ([][]byte, error) {
		var list [][]byte
		for _, m := range members {
			list = append(list, bodies[p][m])
		}
		return list, nil
	}
	return in
}

// plan plans and validates.
func plan(t testing.TB, in Input) *Tree {
	t.Helper()
	tree, err := Plan(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Validate(); err != nil {
		t.Fatal(err)
	}
	return tree
}

// dump returns the lines of the tree's dump whose path matches one of the
// patterns ("/usr", or "/usr/*" for everything below), without what every image
// has when there is none.
func dump(t testing.TB, tree *Tree, under ...string) string {
	t.Helper()
	var b strings.Builder
	if err := tree.Dump(&b); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		p, _, _ := strings.Cut(line, " ")
		keep := len(under) == 0 && !strings.Contains(line, "[generator apk-settings]") &&
			!strings.Contains(line, "[generator base-layout]") && !strings.Contains(line, "[generator installed-db]")
		for _, u := range under {
			prefix, below := strings.CutSuffix(u, "*")
			keep = keep || p == u || below && strings.HasPrefix(p, prefix)
		}
		if keep {
			out.WriteString(line)
		}
	}
	return out.String()
}

// content returns what a generated file has in it.
func content(t testing.TB, tree *Tree, p string) string {
	t.Helper()
	e := tree.Lookup(p)
	if e == nil || e.Content == nil {
		t.Fatalf("/%s: not in the tree or without content of its own", p)
	}
	return string(e.Content)
}

func sum256(s string) apk.SHA256 { return sha256.Sum256([]byte(s)) }
