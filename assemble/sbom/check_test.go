package sbom

import (
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

func entry(in *Input, path string) *rootfs.Entry {
	for i := range in.Tree.Entries {
		if in.Tree.Entries[i].Path == path {
			return &in.Tree.Entries[i]
		}
	}
	panic(path)
}

// Anything that no component, or more than one, would account for fails.
func TestIncomplete(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*Input)
		want string
	}{
		{"no owner", func(in *Input) { entry(in, "etc/motd").Owner = rootfs.Owner{} },
			"sbom: SBOM is incomplete: etc/motd: nobody owns it"},
		{"owner without name", func(in *Input) { entry(in, "etc/motd").Owner.Name = "" },
			"sbom: SBOM is incomplete: etc/motd: nobody owns it"},
		{"foreign package", func(in *Input) { entry(in, "usr/bin/hello").Owner.Name = "goodbye" },
			`sbom: SBOM is incomplete: usr/bin/hello: owned by package "goodbye", which is not in the image`},
		{"size and content differ", func(in *Input) { entry(in, "etc/motd").Size = 3 },
			"sbom: SBOM is incomplete: etc/motd: size 3, but 8 bytes of content"},
		{"digest and content differ", func(in *Input) { entry(in, "etc/motd").SHA256 = sha256.Sum256(nil) },
			"sbom: SBOM is incomplete: etc/motd: recorded as sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, but its content is sha256:77f44b9024fd19a6674a62d98939f4e7f1b77f64eac4c7559414c46bdaec494c"},
		{"no digest", func(in *Input) { entry(in, "usr/bin/hello").SHA256 = apk.SHA256{} },
			"sbom: SBOM is incomplete: usr/bin/hello: no digest"},
		{"link to nothing", func(in *Input) { entry(in, "usr/bin/hi").Link = "usr/bin/ho" },
			"sbom: SBOM is incomplete: usr/bin/hi: hard link to usr/bin/ho, which is no file of the image"},
		{"twice", func(in *Input) { in.Tree.Entries = append(in.Tree.Entries, *entry(in, "etc/motd")) },
			"sbom: SBOM is incomplete: etc/motd: twice in the tree"},
		{"package twice", func(in *Input) { in.Tree.Packages = append(in.Tree.Packages, in.Tree.Packages[1]) },
			"sbom: SBOM is incomplete: 4 packages listed, 5 in the image"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := testInput(t)
			test.edit(&in)
			_, err := New(in)
			var e *IncompleteError
			if !errors.As(err, &e) || !errors.Is(err, ErrIncomplete) {
				t.Fatalf("%v, want an IncompleteError", err)
			}
			if err.Error() != test.want {
				t.Errorf("\ngot  %v\nwant %s", err, test.want)
			}
		})
	}
}

// Check finds what a mistake in building the graph would leave out.
func TestCheckFindsTampering(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*Graph)
		want string
	}{
		{"path to somebody else", func(g *Graph) { g.owner[3]++ },
			"SBOM is incomplete: component Config-accounts has 1 paths and 15 bytes, in the tree it has 0 and 0"},
		{"path to nobody", func(g *Graph) { g.owner[0] = -1 }, "SBOM is incomplete: etc: nobody owns it"},
		{"path forgotten", func(g *Graph) { g.owner = g.owner[1:] }, "SBOM is incomplete: 11 paths attributed, 12 in the tree"},
		{"bytes", func(g *Graph) { g.Components[6].Bytes++ },
			"SBOM is incomplete: component Package-musl-1.2.4-r2 has 3 paths and 10 bytes, in the tree it has 3 and 9"},
		{"digest lost", func(g *Graph) { g.sums[1] = digest{}; g.sums[2] = digest{} }, "SBOM is incomplete: etc/motd: no digest"},
		{"package renamed", func(g *Graph) { g.Components[6].Name = "glibc" }, "SBOM is incomplete: package musl-1.2.4-r2 is not listed"},
		{"package lost", func(g *Graph) { g.Components[6].Kind = KindUpstream }, "SBOM is incomplete: 3 packages listed, 4 in the image"},
		{"same ID", func(g *Graph) { g.Components[6].ID = g.Components[7].ID }, "SBOM is incomplete: two components are called Package-hello-2.12-r1"},
		{"dangling", func(g *Graph) { g.Relationships[0].To = "Gone" },
			"SBOM is incomplete: relationship Image-" + hashOf("image").Hex + " CONTAINS Gone leads nowhere"},
		{"in no layer", func(g *Graph) { g.Relationships = g.Relationships[:8] },
			"SBOM is incomplete: component Package-hello-2.12-r1 is in no layer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := testGraph(t)
			if err := g.Check(); err != nil {
				t.Fatal(err)
			}
			test.edit(g)
			if err := g.Check(); err == nil || err.Error() != test.want {
				t.Errorf("\ngot  %v\nwant %s", err, test.want)
			}
		})
	}
}

// inImage gives the entries as they would be read back from layers.
func inImage(g *Graph) []apk.Entry {
	var out []apk.Entry
	for i := range g.tree.Entries {
		e := g.tree.Entries[i].Entry
		if e.Type == apk.TypeFile {
			e.SHA256 = g.sums[i].sha256
		}
		out = append(out, e)
	}
	return out
}

func TestCheckEntries(t *testing.T) {
	g := testGraph(t)
	if err := g.CheckEntries(inImage(g)); err != nil {
		t.Fatal(err)
	}
	// The other of two hard links may hold the content.
	swapped := inImage(g)
	for i := range swapped {
		switch swapped[i].Path {
		case "usr/bin/hello":
			swapped[i] = apk.Entry{Path: "usr/bin/hello", Type: apk.TypeHardlink, Link: "usr/bin/hi"}
		case "usr/bin/hi":
			swapped[i] = apk.Entry{Path: "usr/bin/hi", Type: apk.TypeFile, SHA256: sha256.Sum256([]byte("hello code"))}
		}
	}
	if err := g.CheckEntries(swapped); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		name string
		edit func([]apk.Entry) []apk.Entry
		want string
	}{
		{"more", func(e []apk.Entry) []apk.Entry { return append(e, apk.Entry{Path: "backdoor", Type: apk.TypeFile}) },
			"SBOM is incomplete: backdoor: in the image, but in no component"},
		{"less", func(e []apk.Entry) []apk.Entry { return e[1:] },
			"SBOM is incomplete: etc: in a component, but not in the image"},
		{"other content", func(e []apk.Entry) []apk.Entry { e[1].SHA256 = sha256.Sum256(nil); return e },
			"SBOM is incomplete: etc/motd: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 in the image, sha256:77f44b9024fd19a6674a62d98939f4e7f1b77f64eac4c7559414c46bdaec494c in the graph"},
		{"other type", func(e []apk.Entry) []apk.Entry { e[0].Type = apk.TypeFIFO; return e },
			"SBOM is incomplete: etc: type p in the image, d in the graph"},
		{"other link", func(e []apk.Entry) []apk.Entry {
			for i := range e {
				if e[i].Type == apk.TypeSymlink {
					e[i].Link = "elsewhere"
				}
			}
			return e
		}, "SBOM is incomplete: lib/libc.musl-x86_64.so.1: links to elsewhere in the image, to ld-musl-x86_64.so.1 in the graph"},
		{"hard link to nothing", func(e []apk.Entry) []apk.Entry {
			for i := range e {
				if e[i].Type == apk.TypeHardlink {
					e[i].Link = "elsewhere"
				}
			}
			return e
		}, "SBOM is incomplete: usr/bin/hi: hard link to nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := g.CheckEntries(test.edit(inImage(g)))
			if err == nil || err.Error() != test.want {
				t.Errorf("\ngot  %v\nwant %s", err, test.want)
			}
		})
	}
}
