package diff

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Layers compares the layers by their digests.
type Layers struct {
	// Shared counts the layers that both have, at whatever place.
	Shared int `json:"shared"`
	// Moved are those of them whose place among the shared ones differs.
	Moved   []MovedLayer `json:"moved"`
	Added   []Layer      `json:"added"`
	Removed []Layer      `json:"removed"`
}

// Layer is a layer of one side.
type Layer struct {
	Position int    `json:"position"` // from 1, bottom to top
	Digest   string `json:"digest"`
	Size     int64  `json:"size"`              // compressed, bytes
	Comment  string `json:"comment,omitempty"` // of the image's history
}

// MovedLayer is a layer that both have at another place.
type MovedLayer struct {
	Digest string `json:"digest"`
	A      int    `json:"a"` // position
	B      int    `json:"b"`
}

// Pull says what a node that holds A fetches for B.
type Pull struct {
	// Bytes is what is fetched: layers, configuration and manifests.
	Bytes int64 `json:"bytes"`
	// Layers counts the layers among it, Total is what a node without A
	// fetches.
	Layers int   `json:"layers"`
	Total  int64 `json:"total"`
}

func noLayers() Layers { return Layers{Moved: []MovedLayer{}, Added: []Layer{}, Removed: []Layer{}} }

func (c *comparison) layers(context.Context) error {
	if c.a.image == nil || c.b.image == nil {
		c.leaveOut("layers: a lock has none yet")
	} else {
		c.out.Layers = compareLayers(c.a, c.b)
	}
	c.out.Pull = pullOf(c.a, c.b)
	if c.a.image == nil || c.b.image == nil {
		c.leaveOut("bytes to pull: of a lock the packages count as layers as they are; what is packed or rewritten, and the top layer, are not known")
	}
	return nil
}

func compareLayers(a, b *side) Layers {
	out := noLayers()
	x, y := a.layerDigests(), b.layerDigests()
	out.Removed = append(out.Removed, a.missingFrom(y)...)
	out.Added = append(out.Added, b.missingFrom(x)...)
	// The order of what both have, each digest once.
	sharedA, sharedB := once(common(x, y)), once(common(y, x))
	out.Shared = len(sharedA)
	kept := longest(sharedA, sharedB)
	for _, d := range sharedA {
		if !kept[d] {
			out.Moved = append(out.Moved, MovedLayer{Digest: d, A: slices.Index(x, d) + 1, B: slices.Index(y, d) + 1})
		}
	}
	return out
}

func once(list []string) []string {
	var out []string
	for _, d := range list {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// longest is a longest common subsequence of two orders of the same digests:
// those that did not move.
func longest(a, b []string) map[string]bool {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			table[i][j] = max(table[i+1][j], table[i][j+1])
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			}
		}
	}
	out := map[string]bool{}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			out[a[i]] = true
			i, j = i+1, j+1
		case table[i+1][j] >= table[i][j+1]:
			i++
		default:
			j++
		}
	}
	return out
}

// missingFrom are the layers of s that are not among the digests.
func (s *side) missingFrom(digests []string) []Layer {
	var out []Layer
	comments := s.image.Comments()
	for i := range s.image.Manifest.Layers {
		d := &s.image.Manifest.Layers[i]
		if slices.Contains(digests, d.Digest.String()) {
			continue
		}
		l := Layer{Position: i + 1, Digest: d.Digest.String(), Size: d.Size}
		if comments != nil {
			l.Comment = comments[i]
		}
		out = append(out, l)
	}
	return out
}

// blobs are what a node has of a side, or fetches: digest and bytes.
func (s *side) blobs() (layers, others map[string]int64) {
	layers, others = map[string]int64{}, map[string]int64{}
	if s.image == nil {
		for i := range s.locked {
			if d, n, ok := dataOf(s.locked[i].Data.Checksum, s.locked[i].Data.Range); ok {
				layers[d] = n
			}
		}
		return layers, others
	}
	for i := range s.image.Manifest.Layers {
		layers[s.image.Manifest.Layers[i].Digest.String()] = s.image.Manifest.Layers[i].Size
	}
	others[s.image.Manifest.Config.Digest.String()] = s.image.Manifest.Config.Size
	if size, err := s.image.Size(); err == nil { // the manifest is in memory
		others[s.image.Digest.String()] = size
	}
	index := s.source.s.Descriptor
	others[index.Digest.String()] = index.Size
	return layers, others
}

// dataOf reads where a lock says that a data section is.
func dataOf(checksum, span string) (digest string, size int64, ok bool) {
	text, ok := strings.CutPrefix(checksum, "sha256-")
	sum, err := base64.StdEncoding.DecodeString(text)
	var first, last int64
	if n, serr := fmt.Sscanf(span, "bytes=%d-%d", &first, &last); !ok || err != nil || serr != nil || n != 2 || last < first {
		return "", 0, false
	}
	return "sha256:" + hex.EncodeToString(sum), last - first + 1, true
}

func pullOf(a, b *side) *Pull {
	p := &Pull{}
	has, hasOthers := a.blobs()
	layers, others := b.blobs()
	for d, n := range layers {
		p.Total += n
		if _, ok := has[d]; !ok {
			p.Layers++
			p.Bytes += n
		}
	}
	for d, n := range others {
		p.Total += n
		if _, ok := hasOthers[d]; !ok {
			p.Bytes += n
		}
	}
	return p
}
