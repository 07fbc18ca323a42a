package layer

import (
	"context"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/store"
)

// WriteApko writes the tree as one layer the way apko does.
func WriteApko(ctx context.Context, tree *rootfs.Tree, st *store.Store) (Layer, error) {
	panic("to be written")
}
