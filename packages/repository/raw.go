package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// RawIndex returns the bytes of an index file that was loaded before, by the URL
// that [Index].URL gives and its SHA-256: from the cache, or, of a local or
// builtin repository, from where it lies, if it is still the same there. The
// network is not asked. [ErrNotFound] when it is not to be had.
func (c *Client) RawIndex(ctx context.Context, indexURL, arch string, sum apk.SHA256) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if c.cache != nil {
		b, err := readFileLimit(c.cache.filePath(sum), c.opt.Limits.Index)
		if err == nil && sha256.Sum256(b) == sum {
			return b, nil
		}
	}
	missing := func(why error) error {
		return fmt.Errorf("%s: index %s: %w", indexURL, sum, errors.Join(ErrNotFound, why))
	}
	base, ok := strings.CutSuffix(indexURL, "/"+arch+"/"+IndexFile)
	src, err := ParseSource(base, arch)
	if !ok || err != nil || src.Remote() {
		return nil, missing(nil)
	}
	f, err := c.indexBytes(ctx, src)
	switch {
	case err != nil:
		return nil, missing(err)
	case sha256.Sum256(f.content) != sum:
		return nil, missing(nil)
	}
	return f.content, nil
}
