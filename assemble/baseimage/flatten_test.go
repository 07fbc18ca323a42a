package baseimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestFlatten(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers [][]string
		want   []string
	}{
		{"one layer", [][]string{{"d etc", "f etc/motd hello", "l bin usr/bin", "c dev/null"}},
			[]string{"l bin usr/bin", "d dev 0755", "c dev/null", "d etc 0755", "f etc/motd 5"}},
		{"spelled otherwise", [][]string{{"d ./", "d ./etc/", "f /etc/motd a"}}, []string{"d etc 0755", "f etc/motd 1"}},
		{"later wins", [][]string{{"f a one", "f b x"}, {"f a twelve"}}, []string{"f a 6", "f b 1"}},
		{"later in one layer wins", [][]string{{"f a one", "f a twelve"}}, []string{"f a 6"}},
		{"directories keep their content", [][]string{{"d a 0700", "f a/b x"}, {"d a 0711"}}, []string{"d a 0711", "f a/b 1"}},
		{"implied directory keeps the one below", [][]string{{"d a 0700"}, {"f a/b x"}}, []string{"d a 0700", "f a/b 1"}},
		{"file over directory", [][]string{{"d a", "f a/b x"}, {"f a yy"}}, []string{"f a 2"}},
		{"directory over file", [][]string{{"f a yy"}, {"d a", "f a/b x"}}, []string{"d a 0755", "f a/b 1"}},
		{"directory over symlink", [][]string{{"d b", "l a b"}, {"d a"}}, []string{"d a 0755", "d b 0755"}},
		{"whiteout", [][]string{{"d a", "f a/b x", "f a/c y"}, {"f a/.wh.b "}}, []string{"d a 0755", "f a/c 1"}},
		{"whiteout of a directory", [][]string{{"d a", "f a/b x"}, {"f .wh.a "}}, nil},
		{"whiteout spares its own layer", [][]string{{"f a x", "d d", "f d/old x"}, {"f a yy", "f .wh.a ", "f d/new z", "f .wh.d "}},
			[]string{"f a 2", "d d 0755", "f d/new 1"}},
		{"whiteout of nothing there", [][]string{{"f a x"}, {"f .wh.b "}}, []string{"f a 1"}},
		{"opaque", [][]string{{"d a", "f a/old x", "d a/d", "f a/d/old y"}, {"d a", "f a/new z", "f a/d/new z", "f a/.wh..wh..opq "}},
			[]string{"d a 0755", "d a/d 0755", "f a/d/new 1", "f a/new 1"}},
		{"opaque first", [][]string{{"d a", "f a/old x"}, {"d a", "f a/.wh..wh..opq ", "f a/new z"}}, []string{"d a 0755", "f a/new 1"}},
		{"what AUFS left", [][]string{{"f a x", "d .wh..wh.plnk", "f .wh..wh.aufs "}}, []string{"f a 1"}},
		{"hard links", [][]string{{"f b x", "h c b", "h a c"}}, []string{"f a 1", "h b a", "h c a"}},
		{"hard link whose first name goes", [][]string{{"f a x", "h b a", "h c a"}, {"f .wh.a "}}, []string{"f b 1", "h c b"}},
		{"hard link into the layer below", [][]string{{"f a x"}, {"h b a"}}, []string{"f a 1", "f b 1"}},
		{"hard link to a symlink", [][]string{{"l a x", "h b a"}}, []string{"l a x", "l b x"}},
		{"hard link to itself", [][]string{{"f a x", "h a a"}}, []string{"f a 1"}},
		{"extended attributes", [][]string{{"x a v"}}, []string{"f a 0 user.a=v"}},
		{"names that sort apart", [][]string{{"d a", "f a/b x", "f a-b x", "f a.b x"}}, []string{"d a 0755", "f a/b 1", "f a-b 1", "f a.b 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var layers [][]byte
			for _, l := range test.layers {
				layers = append(layers, archive(t, l...))
			}
			b, err := Open(t.Context(), write(t, gzipped(t, layers...)), amd64)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, dump(b)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFlattenDetails: what the dump does not show.
func TestFlattenDetails(t *testing.T) {
	b, err := Open(t.Context(), write(t, gzipped(t,
		archive(t, "d ./ 0711", "f etc/passwd root", "l a target", "c dev/null"), archive(t, "f etc/passwd toor"))), amd64)
	if err != nil {
		t.Fatal(err)
	}
	if b.Root == nil || b.Root.Mode != 0o711 {
		t.Errorf("root: %+v", b.Root)
	}
	link, null, passwd := &b.Entries[0], &b.Entries[2], &b.Entries[4]
	if link.Mode != 0o777 || link.SHA1 == (apk.SHA1{}) || null.DevMajor != 1 || null.DevMinor != 3 {
		t.Errorf("link %+v, device %+v", link, null)
	}
	if passwd.SHA256 != sha256.Sum256([]byte("toor")) || string(b.Contents["etc/passwd"]) != "toor" {
		t.Errorf("passwd %+v, %q", passwd, b.Contents["etc/passwd"])
	}
	if len(b.Layers) != 2 || b.Layers[0].Inflated != 7*512 || b.Layers[0].Size == 0 || b.Layers[1].DiffID.Hex == "" {
		t.Errorf("layers %+v", b.Layers)
	}
}

// TestHostileLayers: each is refused with the layer and the member.
func TestHostileLayers(t *testing.T) {
	long := strings.Repeat("x/", maxPath/2) + "y"
	for _, test := range []struct {
		name   string
		layers [][]string
		want   string // after "layer N (DIGEST): "
	}{
		{"path that escapes", [][]string{{"f ../etc/passwd x"}}, `member "../etc/passwd": path leads out of the image`},
		{"path that would come back", [][]string{{"f a/../../etc/passwd x"}}, `member "a/../../etc/passwd": path leads out of the image`},
		{"path through a symlink", [][]string{{"l a /etc", "f a/passwd x"}}, `member "a/passwd": path leads through "a", which is no directory: unpackers do not agree on it`},
		{"path through a symlink below", [][]string{{"l a /etc"}, {"f a/passwd x"}}, `member "a/passwd": path leads through "a", which is no directory: unpackers do not agree on it`},
		{"path through a file", [][]string{{"f a x", "f a/b x"}}, `member "a/b": path leads through "a", which is no directory: unpackers do not agree on it`},
		{"long path", [][]string{{"f " + long + " x"}}, `member "` + long[:200] + `": a path of 4097 bytes: expected at most 4096`},
		{"hard link that escapes", [][]string{{"h a ../../etc/shadow"}}, `member "a": hard link to "../../etc/shadow": path leads out of the image`},
		{"hard link to nothing", [][]string{{"h a b"}}, `member "a": hard link to "b": no such file before it`},
		{"hard link through a symlink", [][]string{{"d d", "f d/f x", "l s d", "h a s/f"}}, `member "a": hard link to "s/f": no such file before it`},
		{"hard link to a directory", [][]string{{"d b", "h a b"}}, `member "a": hard link to "b": that is a directory`},
		{"symlink to nothing", [][]string{{"l a "}}, `member "a": symbolic link to nothing`},
		{"link too long", [][]string{{"l a " + long}}, `member "a": link to "` + long[:100] + `": expected a path of at most 4096 bytes`},
		{"unknown type", [][]string{{"? a"}}, `member "a": type 'V': not known`},
		{"root that is a file", [][]string{{"l . x"}}, `member ".": type '2': expected a directory for the root`},
		{"whiteout of nothing", [][]string{{"f a/.wh. "}}, `member "a/.wh.": whiteout of nothing`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var layers [][]byte
			for _, l := range test.layers {
				layers = append(layers, archive(t, l...))
			}
			src := write(t, gzipped(t, layers...))
			_, err := Open(t.Context(), src, amd64)
			var wrong *LayerError
			if !errors.As(err, &wrong) || wrong.Layer != len(layers) {
				t.Fatalf("error %v", err)
			}
			if got := message(err, src.Image); got != "base image DIR: "+wrong.Error() || wrong.Err.Error() != test.want {
				t.Errorf("found    %s\nexpected %s", got, test.want)
			}
		})
	}
}

func TestMediaTypes(t *testing.T) {
	tar := archive(t, "f a x")
	for _, mt := range []types.MediaType{types.OCILayer, types.OCIUncompressedLayer, types.OCILayerZStd, types.DockerLayer, types.DockerUncompressedLayer} {
		b, err := Open(t.Context(), write(t, newImage(t, linuxAMD64, newBlob(t, tar, mt))), amd64)
		if err != nil || len(b.Entries) != 1 {
			t.Errorf("%s: %v", mt, err)
		}
	}
	for _, mt := range []types.MediaType{types.DockerForeignLayer, types.OCIRestrictedLayer, "application/vnd.example.squashfs"} {
		l := newBlob(t, tar, mt)
		src := write(t, newImage(t, linuxAMD64, l))
		_, err := Open(t.Context(), src, amd64)
		d, _ := l.Digest()
		want := `base image DIR: layer 1 (` + d.String() + `): media type "` + string(mt) + `": expected a tar, plain or compressed with gzip or zstd`
		if got := message(err, src.Image); got != want {
			t.Errorf("found    %s\nexpected %s", got, want)
		}
	}
}

// TestAlteredBlobs: what is not what its digest says is refused wherever it is.
func TestAlteredBlobs(t *testing.T) {
	tar := archive(t, "d etc", "f etc/motd hello")
	l := newBlob(t, tar, types.OCILayer)
	digest, _ := l.Digest()
	img := newImage(t, linuxAMD64, l)
	manifest, _ := img.Digest()
	configName, _ := img.ConfigName()
	other := compress(t, archive(t, "d etc", "f etc/motd HELLO"), types.OCILayer)
	for _, test := range []struct {
		name string
		blob v1.Hash
		do   func([]byte) []byte
		want string
	}{
		{"truncated layer", digest, func(b []byte) []byte { return b[:len(b)-9] }, "9 bytes missing: bytes are not those of the digest"},
		{"no layer", digest, func([]byte) []byte { return nil }, "blob " + digest.String() + ": open DIR/blobs/sha256/" + digest.Hex + ": no such file or directory"},
		{"longer layer", digest, func(b []byte) []byte { return append(b, 0) }, "larger than its descriptor says"},
		{"another layer", digest, func(b []byte) []byte { return append(bytes.Clone(other), make([]byte, len(b)-len(other))...)[:len(b)] }, "layer 1 (" + digest.String() + "): "},
		{"another manifest", manifest, func(b []byte) []byte { return bytes.Replace(b, []byte("2"), []byte("3"), 1) }, "blob " + manifest.String() + ": found sha256:"},
		{"another configuration", configName, func(b []byte) []byte { return bytes.Replace(b, []byte("linux"), []byte("minix"), 1) }, "blob " + configName.String() + ": found sha256:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := write(t, img)
			name := filepath.Join(src.Image, "blobs", "sha256", test.blob.Hex)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			os.Remove(name)
			if b = test.do(bytes.Clone(b)); b != nil {
				if err := os.WriteFile(name, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err = Open(t.Context(), src, amd64)
			if got := message(err, src.Image); !strings.HasPrefix(got, "base image DIR: ") || !strings.Contains(got, test.want) {
				t.Errorf("found    %s\nexpected %s in it", got, test.want)
			}
		})
	}
}

// TestDiffID: a layer with the right digest that inflates to something else.
func TestDiffID(t *testing.T) {
	tar := archive(t, "f a x")
	lying := blob{newBlob(t, tar, types.OCILayer).(blob).Layer, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}}
	src := write(t, newImage(t, linuxAMD64, lying))
	_, err := Open(t.Context(), src, amd64)
	sum := apk.SHA256(sha256.Sum256(tar))
	if want := "inflated to " + sum.String() + ": expected sha256:" + strings.Repeat("0", 64) + ", its diff ID"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("found %v\nexpected %s", err, want)
	}
}

func TestNumberOfLayers(t *testing.T) {
	src := write(t, newImage(t, linuxAMD64))
	if _, err := Open(t.Context(), src, amd64); message(err, src.Image) != "base image DIR: 0 layers: expected 1 to 124" {
		t.Error(err)
	}
	many := make([][]byte, maxLayers+1)
	for i := range many {
		many[i] = archive(t, "f a x")
	}
	src = write(t, gzipped(t, many...))
	if _, err := Open(t.Context(), src, amd64); message(err, src.Image) != "base image DIR: 125 layers: expected 1 to 124" {
		t.Error(err)
	}
}

func TestOpenStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	src := write(t, gzipped(t, archive(t, "f a x")))
	cancel()
	if _, err := Open(ctx, src, amd64); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestSparseFile: an archive of a kilobyte that stands for a petabyte.
func TestSparseFile(t *testing.T) {
	records := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=holes\n40 GNU.sparse.realsize=1125899906842624\n"
	tar := archive(t, "f pax "+records, "f holes 0\n"+strings.Repeat("\x00", 510))
	tar[156] = 'x' // the first member's type: extended headers
	for i := range 8 {
		tar[148+i] = ' '
	}
	total := 0
	for _, b := range tar[:512] {
		total += int(b)
	}
	copy(tar[148:], fmt.Sprintf("%06o\x00 ", total))
	src := write(t, gzipped(t, tar))
	_, err := Open(t.Context(), src, amd64)
	var wrong *LayerError
	if !errors.As(err, &wrong) || wrong.Err.Error() != `member "holes": sparse file: a few bytes may stand for any number` {
		t.Errorf("error %v", err)
	}
}
