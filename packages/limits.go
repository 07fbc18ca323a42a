package packages

import (
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// Limits bound what is taken in from repositories, in bytes. A zero field means
// its default, a negative one no limit. What is in the cache already was within
// the limits of whoever fetched it, and is not measured again.
type Limits struct {
	// Control is the size of a package's control section, and of its
	// signature, compressed and inflated. Default 10 MiB each.
	Control int64
	// Data is the size of a package's data section, inflated. Default 16 GiB.
	Data int64
	// Index is the size of an index, as it comes and inflated. Default 300 MiB
	// each.
	Index int64
	// Response is the size of a file that is fetched: an index, a key, a
	// package. Default 8 GiB.
	Response int64
}

func (l Limits) store() store.Limits {
	return store.Limits{File: l.Response, DataInflated: l.Data,
		Control: apk.Limits{ControlCompressed: l.Control, ControlInflated: l.Control}}
}

func (l Limits) repository() repository.Limits {
	return repository.Limits{Index: l.Index, IndexInflated: l.Index, Package: l.Response, Response: l.Response}
}
