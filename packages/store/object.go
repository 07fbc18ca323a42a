package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Object is something derived from packages (a rewritten segment, a parsed
// index) that can be made again at any time.
type Object struct {
	Path   string // of a read-only file that holds exactly its bytes
	SHA256 apk.SHA256
	Size   int64 // bytes
}

// PutObject stores what write writes as the object of that kind and key, in
// place of an earlier one. The kind is a word of lower-case letters, digits and
// dashes; the key is any text that says all that the content depends on. When
// write returns an error, that is returned and nothing is stored.
func (s *Store) PutObject(ctx context.Context, kind, key string, write func(io.Writer) error) (Object, error) {
	s.gc.RLock()
	defer s.gc.RUnlock()
	ref, err := s.objectPath(kind, key)
	if err != nil {
		return Object{}, err
	}
	f, err := s.temp()
	if err != nil {
		return Object{}, err
	}
	w := &objectWriter{ctx: ctx, f: f, sum: sha256.New()}
	// What compresses writes a few hundred bytes at a time.
	buffered := bufio.NewWriterSize(w, compressedBuffer)
	if err = write(buffered); err == nil {
		err = buffered.Flush()
	}
	if err != nil || w.err != nil {
		discard(f)
		if w.err != nil {
			err = storageError("write object "+kind, w.err)
		}
		return Object{}, err
	}
	o := Object{Size: w.n}
	w.sum.Sum(o.SHA256[:0])
	o.Path = s.blobPath(o.SHA256)
	if err := s.commit(f, o.Path); err != nil {
		return Object{}, err
	}
	return o, s.writeFile(ref, encodeRef(key, o))
}

type objectWriter struct {
	ctx context.Context
	f   *os.File
	sum hash.Hash
	n   int64
	err error
}

func (w *objectWriter) Write(p []byte) (int, error) {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err != nil {
		return 0, w.err
	}
	var n int
	n, w.err = w.f.Write(p)
	w.sum.Write(p[:n])
	w.n += int64(n)
	return n, w.err
}

// Object returns the object of that kind and key after hashing its bytes;
// [ErrNotFound] when there is none. A damaged one is removed and reported as
// [ErrCorrupt], which is an ErrNotFound: make it again.
func (s *Store) Object(ctx context.Context, kind, key string) (Object, error) {
	objects, errs := s.Objects(ctx, kind, []string{key})
	return objects[0], errs[0]
}

// Objects is Object for several keys, whose objects are hashed at the same time.
// The errors are by key.
func (s *Store) Objects(ctx context.Context, kind string, keys []string) ([]Object, []error) {
	objects, errs := make([]Object, len(keys)), make([]error, len(keys))
	var blobs []checked
	var at []int // in keys, by blob
	for i, key := range keys {
		if objects[i], errs[i] = s.findObject(kind, key); errs[i] == nil {
			blobs = append(blobs, checked{what: "object " + kind, want: objects[i].SHA256, size: objects[i].Size})
			at = append(at, i)
		}
	}
	_ = s.verifyBlobs(ctx, blobs, 1) // each has its own error
	for k, i := range at {
		if errs[i] = blobs[k].err; errs[i] == nil {
			errs[i] = ctx.Err()
		}
	}
	return objects, errs
}

// ReadObject returns the bytes of an object, checked; see [Store.Object]. It
// refuses those of more than limit bytes.
func (s *Store) ReadObject(ctx context.Context, kind, key string, limit int64) ([]byte, error) {
	o, err := s.findObject(kind, key)
	if err != nil {
		return nil, err
	}
	if o.Size > limit {
		return nil, fmt.Errorf("object %s: %d bytes, at most %d are allowed", kind, o.Size, limit)
	}
	b, _, err := readAll(o.Path, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, notFoundf(nil, "object %s: data %s: not in the store", kind, o.SHA256)
	case err == nil && sha256.Sum256(b) == o.SHA256:
		return b, ctx.Err()
	}
	return nil, errors.Join(err, s.verifyBlob(ctx, "object "+kind, o.SHA256, o.Size))
}

// findObject reads an object's reference and notes its use.
func (s *Store) findObject(kind, key string) (Object, error) {
	ref, err := s.objectPath(kind, key)
	if err != nil {
		return Object{}, err
	}
	b, info, err := readAll(ref, maxRef)
	if errors.Is(err, fs.ErrNotExist) {
		return Object{}, notFoundf(nil, "object %s %.60q: not in the store", kind, key)
	}
	if err != nil {
		return Object{}, storageError("read "+ref, err)
	}
	k, o, err := decodeRef(b)
	if err == nil && k != key {
		err = fmt.Errorf("it is for the key %.60q", k)
	}
	if err != nil {
		_ = os.Remove(ref)
		return Object{}, corruptf(err, "object %s: %s", kind, ref)
	}
	o.Path = s.blobPath(o.SHA256)
	s.touch(ref, info)
	return o, nil
}

func (s *Store) objectPath(kind, key string) (string, error) {
	if kind == "" || len(kind) > 40 || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fmt.Errorf("store: object kind %q: expected lower-case letters, digits and dashes", kind)
	}
	if len(key) > maxRef/2 {
		return "", fmt.Errorf("store: object %s: key of %d bytes, at most %d are allowed", kind, len(key), maxRef/2)
	}
	h := apk.SHA256(sha256.Sum256([]byte(key))).Hex()
	return s.path("objects", kind, h[:2], h), nil
}

// maxRef is the limit of a reference file, in bytes.
const maxRef = 1 << 20

// encodeRef is the content of an object's reference: a protocol buffers message
// of key (1), SHA-256 (2) and size (3), and the SHA-256 of that.
func encodeRef(key string, o Object) []byte {
	b := appendString(nil, 1, key)
	b = appendBytes(b, 2, o.SHA256[:])
	b = appendUint(b, 3, uint64(o.Size))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func decodeRef(b []byte) (key string, o Object, err error) {
	n := len(b) - sha256.Size
	if n < 0 {
		return "", o, fmt.Errorf("%d bytes are no reference", len(b))
	}
	if sum := sha256.Sum256(b[:n]); !bytes.Equal(sum[:], b[n:]) {
		return "", o, fmt.Errorf("its sha256 is %x, it says %x", sum, b[n:])
	}
	err = fields(b[:n], func(field protowire.Number, v uint64, b []byte) error {
		switch field {
		case 1:
			key = string(b)
		case 2:
			return setSHA256(&o.SHA256, b)
		case 3:
			return setInt(&o.Size, v)
		default:
			return fmt.Errorf("reference: field %d", field)
		}
		return nil
	})
	return key, o, err
}
