package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
)

// item is one data section or object with all that refers to it; it is kept or
// removed as a whole.
type item struct {
	data     apk.SHA256
	blob     int64    // size of the data, -1 when it is missing
	receipts []string // paths
	marks    []string
	refs     []string
	kind     string // of the first reference
	small    int64  // bytes of receipts and references
	used     time.Time
}

func (i *item) size() int64 { return max(i.blob, 0) + i.small }

// referred reports whether anything needs the data.
func (i *item) referred() bool { return len(i.receipts)+len(i.refs) > 0 }

func (i *item) add(list *[]string, path string, info fs.FileInfo) {
	*list = append(*list, path)
	i.small += info.Size()
	if info.ModTime().After(i.used) {
		i.used = info.ModTime()
	}
}

// inventory is a look at the whole directory.
type inventory struct {
	items map[apk.SHA256]*item
	// garbage are the sizes of files that belong to nothing, by path: marks
	// whose receipt was never written, and what wrong names.
	garbage map[string]int64
	// wrong says what is wrong with some of the garbage. The rest is what
	// interrupted processes leave.
	wrong map[string]error
}

// takeInventory looks at everything. It reads references but neither receipts nor data.
func (s *Store) takeInventory() (*inventory, error) {
	v := &inventory{items: map[apk.SHA256]*item{}, garbage: map[string]int64{}, wrong: map[string]error{}}
	receipts := map[string]fs.FileInfo{}
	err := s.walk("receipts", func(path string, info fs.FileInfo) {
		if name := filepath.Base(path); validReceiptName(name) && path == s.receiptPath(name) {
			receipts[name] = info
		}
		v.bad(path, info, errForeign) // until a mark claims it
	})
	err = errors.Join(err, s.walk("by-data", func(path string, info fs.FileInfo) { v.mark(s, path, info, receipts) }))
	err = errors.Join(err, s.walk("objects", func(path string, info fs.FileInfo) { v.ref(s, path, info) }))
	err = errors.Join(err, s.walk("blobs", func(path string, info fs.FileInfo) {
		d, e := apk.ParseSHA256(filepath.Base(path))
		if e != nil || path != s.blobPath(d) {
			v.bad(path, info, errForeign)
			return
		}
		v.item(d).blob = info.Size()
	}))
	return v, err
}

func (v *inventory) item(d apk.SHA256) *item {
	i := v.items[d]
	if i == nil {
		i = &item{data: d, blob: -1}
		v.items[d] = i
	}
	return i
}

func (v *inventory) mark(s *Store, path string, info fs.FileInfo, receipts map[string]fs.FileInfo) {
	digest, name, _ := strings.Cut(filepath.Base(path), "-")
	d, err := apk.ParseSHA256(digest)
	receipt := receipts[name]
	if err != nil || path != s.dataMarkPath(d, name) {
		v.bad(path, info, errForeign)
		return
	}
	if receipt == nil {
		v.garbage[path] = info.Size()
		return
	}
	i := v.item(d)
	i.marks = append(i.marks, path)
	i.add(&i.receipts, s.receiptPath(name), receipt)
	delete(v.garbage, s.receiptPath(name))
	delete(v.wrong, s.receiptPath(name))
}

var errForeign = errors.New("does not belong here")

func (v *inventory) bad(path string, info fs.FileInfo, err error) {
	v.garbage[path], v.wrong[path] = info.Size(), err
}

func (v *inventory) ref(s *Store, path string, info fs.FileInfo) {
	kind := filepath.Base(filepath.Dir(filepath.Dir(path)))
	b, _, err := readAll(path, maxRef)
	if err != nil {
		v.bad(path, info, err)
		return
	}
	key, o, err := decodeRef(b)
	if err != nil {
		v.bad(path, info, corruptf(err, "object %s: %s", kind, path))
		return
	}
	if want, err := s.objectPath(kind, key); err != nil || want != path {
		v.bad(path, info, errForeign)
		return
	}
	i := v.item(o.SHA256)
	i.add(&i.refs, path, info)
	i.kind = kind
}

// walk calls fn for each regular file below a part of the store, in the order
// of names.
func (s *Store) walk(part string, fn func(path string, info fs.FileInfo)) error {
	err := filepath.WalkDir(s.path(part), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // not there, or just removed by someone else
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			fn(path, info)
		}
		return err
	})
	return storageError("read "+s.path(part), err)
}

// sorted returns the items, least recently used first.
func (v *inventory) sorted() []*item {
	list := make([]*item, 0, len(v.items))
	for _, i := range v.items {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b *item) int {
		if c := a.used.Compare(b.used); c != 0 {
			return c
		}
		return strings.Compare(string(a.data[:]), string(b.data[:]))
	})
	return list
}

// Usage is a number of things and their size in bytes.
type Usage struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

func (u *Usage) add(bytes int64) {
	u.Count++
	u.Bytes += bytes
}

// Info says what a store holds.
type Info struct {
	Dir      string           `json:"dir"`
	Receipts Usage            `json:"receipts"` // with their marks
	Data     Usage            `json:"data"`     // data sections of packages
	Objects  map[string]Usage `json:"objects"`  // by kind
	// Garbage is what nothing refers to; Prune removes it.
	Garbage Usage `json:"garbage"`
	// Temporary is what running processes are writing.
	Temporary Usage `json:"temporary"`
	Total     int64 `json:"total"` // bytes of all of these
}

// Info counts what the store holds.
func (s *Store) Info() (Info, error) {
	v, err := s.takeInventory()
	if err != nil {
		return Info{}, err
	}
	out := Info{Dir: s.dir, Objects: map[string]Usage{}}
	for _, size := range v.garbage {
		out.Garbage.add(size)
	}
	for _, i := range v.items {
		out.count(i)
	}
	if err := s.walk(tmpDir, func(_ string, info fs.FileInfo) { out.Temporary.add(info.Size()) }); err != nil {
		return Info{}, err
	}
	out.Total = out.Receipts.Bytes + out.Data.Bytes + out.Garbage.Bytes + out.Temporary.Bytes
	for _, u := range out.Objects {
		out.Total += u.Bytes
	}
	return out, nil
}

func (o *Info) count(i *item) {
	switch {
	case !i.referred():
		o.Garbage.add(max(i.blob, 0))
	case len(i.receipts) > 0:
		o.Receipts.Count += len(i.receipts)
		o.Receipts.Bytes += i.small
		if i.blob >= 0 {
			o.Data.add(i.blob)
		}
	default:
		u := o.Objects[i.kind]
		u.Count += len(i.refs)
		u.Bytes += i.size()
		o.Objects[i.kind] = u
	}
}

// removeFiles removes files and keeps going; missing ones are no error.
func removeFiles(paths ...string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return storageError("remove", errors.Join(errs...))
}
