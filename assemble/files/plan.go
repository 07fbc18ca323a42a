package files

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Reader reads files of packages, as the store does.
type Reader interface {
	ReadFiles(ctx context.Context, r *store.Receipt, members []int) ([][]byte, error)
}

// OfPlan is the tree that would be built.
func OfPlan(ctx context.Context, plan *rootfs.Tree, r Reader) (*Tree, error) {
	nodes := make([]*Node, 0, len(plan.Entries))
	for i := range plan.Entries {
		nodes = append(nodes, ofEntry(plan, &plan.Entries[i]))
	}
	t := newTree(plan.Arch, nodes)
	t.read = func(ctx context.Context, nodes []*Node) ([][]byte, error) { return readPlanned(ctx, plan, r, nodes) }
	if err := t.database(ctx); err != nil {
		return nil, err
	}
	for _, n := range t.list { // the plan knows better who made a path
		n.Package = ""
		if n.planned.Owner.Kind == rootfs.OwnedByPackage {
			n.Package = n.planned.Owner.Name
		}
	}
	return t, nil
}

func ofEntry(plan *rootfs.Tree, e *rootfs.Entry) *Node {
	n := &Node{Entry: e.Entry, Layer: -1, planned: e}
	if e.Type == apk.TypeHardlink {
		n.HardLink = e.Link
		if to := plan.Lookup(e.Link); to != nil {
			n.Entry, n.planned = to.Entry, to
			n.Path = e.Path
		}
	}
	if e.Owner.Kind == rootfs.OwnedByConfig {
		n.Key = e.Owner.Name
	}
	if n.Type == apk.TypeFile {
		n.ELF = elfOf(plan, n.planned)
	}
	return n
}

// elfOf finds the ELF facts of a planned file: in the receipt, or in what the
// configuration brings.
func elfOf(plan *rootfs.Tree, e *rootfs.Entry) *apk.ELF {
	if e.Content == nil && e.Package >= 0 {
		return plan.Receipt(e.Package).Entries[e.Member].ELF
	}
	var r store.ELFReader
	r.Begin(int64(len(e.Content)))
	_, _ = r.Write(e.Content) // never fails
	return r.Facts()
}

func readPlanned(ctx context.Context, plan *rootfs.Tree, r Reader, nodes []*Node) ([][]byte, error) {
	out := make([][]byte, len(nodes))
	members, where := map[int][]int{}, map[int][]int{}
	var order []int
	for i, n := range nodes {
		e := n.planned
		switch {
		case e.Content != nil:
			out[i] = bytes.Clone(e.Content)
		case e.Package < 0:
			return nil, fmt.Errorf("%s: %w: the plan has no content", n.Name(), ErrUnread)
		case plan.OfBase(e.Package):
			if plan.Base.ReadFile == nil {
				return nil, fmt.Errorf("%s: %w: it is the base image's", n.Name(), ErrUnread)
			}
			b, err := plan.Base.ReadFile(ctx, e.Member)
			if err != nil {
				return nil, err
			}
			out[i] = b
		default:
			if members[e.Package] == nil {
				order = append(order, e.Package)
			}
			members[e.Package] = append(members[e.Package], e.Member)
			where[e.Package] = append(where[e.Package], i)
		}
	}
	for _, pkg := range order {
		got, err := r.ReadFiles(ctx, plan.Receipt(pkg), members[pkg])
		if err != nil {
			return nil, err
		}
		for j, b := range got {
			out[where[pkg][j]] = b
		}
	}
	return out, nil
}
