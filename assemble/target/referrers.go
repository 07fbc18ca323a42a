package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxPages bounds how often a registry may say that there is more.
const maxPages = 64

// errNoAPI: the registry has no referrers API.
var errNoAPI = errors.New("no referrers API")

// referrersTag is the tag under which referrers are listed where there is no
// API.
func referrersTag(digest v1.Hash) string { return digest.Algorithm + "-" + digest.Hex }

func (r *registryBackend) referrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error) {
	list, err := r.pages(ctx, digest)
	if errors.Is(err, errNoAPI) {
		return r.tagReferrers(ctx, digest)
	}
	return list, err
}

// pages asks the referrers API, page by page.
func (r *registryBackend) pages(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error) {
	l := lister{limit: r.limits.Referrers}
	u := r.url("referrers", digest.String())
	for range maxPages {
		raw, h, err := r.page(ctx, u)
		if err != nil {
			return nil, err
		}
		m, err := parseIndex(raw)
		if err != nil {
			return nil, err
		}
		if err := l.add(m.Manifests); err != nil {
			return nil, err
		}
		next := nextPage(u, h)
		if next == nil {
			return l.list, nil
		}
		u = next
	}
	return nil, fmt.Errorf("more than %d pages: %w", maxPages, ErrLimit)
}

// page reads one page. A registry without the API answers 404, or anything at
// all that is no image index.
func (r *registryBackend) page(ctx context.Context, u *url.URL) ([]byte, http.Header, error) {
	raw, h, err := r.read(ctx, u, string(types.OCIImageIndex))
	var status *transport.Error
	if errors.As(err, &status) {
		switch status.StatusCode {
		case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable:
			return nil, nil, errNoAPI
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if mt, _, _ := strings.Cut(h.Get("Content-Type"), ";"); types.MediaType(mt) != types.OCIImageIndex {
		return nil, nil, errNoAPI
	}
	return raw, h, nil
}

// nextPage reads the Link header (RFC 8288): <path?query>; rel="next". Only the
// path and the query are taken: the next page is at the same registry.
func nextPage(current *url.URL, h http.Header) *url.URL {
	for _, link := range h.Values("Link") {
		target, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !ok || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
			continue
		}
		next, err := current.Parse(target)
		if err != nil || next.Host != current.Host || next.Scheme != current.Scheme {
			continue
		}
		return next
	}
	return nil
}

// tagReferrers reads the index under the referrers tag.
func (r *registryBackend) tagReferrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error) {
	raw, d, err := r.byTag(ctx, referrersTag(digest))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !d.MediaType.IsIndex() {
		return nil, fmt.Errorf("tag %s: media type %q: expected an image index: %w", referrersTag(digest), d.MediaType, ErrMalformed)
	}
	m, err := parseIndex(raw)
	if err != nil {
		return nil, err
	}
	l := lister{limit: r.limits.Referrers}
	err = l.add(m.Manifests)
	return l.list, err
}

// lister collects descriptors, each digest once, up to a limit.
type lister struct {
	limit int
	list  []v1.Descriptor
	seen  map[v1.Hash]bool
}

func (l *lister) add(ds []v1.Descriptor) error {
	if l.seen == nil {
		l.seen = map[v1.Hash]bool{}
	}
	for _, d := range ds {
		if l.seen[d.Digest] {
			continue
		}
		if len(l.list) == l.limit {
			return fmt.Errorf("more than %d: %w", l.limit, ErrLimit)
		}
		l.seen[d.Digest] = true
		l.list = append(l.list, d)
	}
	return nil
}
