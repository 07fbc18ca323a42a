package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// listAttempts is how often a referrer is listed again whose listing was lost
// to another writer.
const listAttempts = 4

// lazyWriter is what writing needs and reading does not: credentials that may
// push.
type lazyWriter struct {
	sync.Mutex
	client *http.Client
}

// writing returns the client for writing, made on the first call that succeeds.
func (r *registryBackend) writing(ctx context.Context) (*http.Client, error) {
	w := &r.writer
	w.Lock()
	defer w.Unlock()
	if w.client == nil {
		client, err := r.authenticated(ctx, r.repo.Scope(transport.PushScope))
		if err != nil {
			return nil, err
		}
		w.client = client
	}
	return w.client, nil
}

func (r *registryBackend) push(ctx context.Context, list []*checked) (int, error) {
	var blobs []Blob
	for _, c := range list {
		for _, b := range c.Blobs {
			blobs = append(blobs, Blob{Descriptor: describe("", b, nil), Open: func(context.Context) (io.ReadCloser, error) { return nopCloser(b), nil }})
		}
	}
	if _, err := r.upload(ctx, distinct(blobs)); err != nil {
		return 0, err
	}
	for i, c := range list {
		if err := r.pushManifest(ctx, c); err != nil {
			return i, fmt.Errorf("manifest %s: %w", c.desc.Digest, err)
		}
	}
	return len(list), nil
}

func (r *registryBackend) pushManifest(ctx context.Context, c *checked) error {
	if err := r.checkPrevious(ctx, c); err != nil {
		return err
	}
	identifier := c.desc.Digest.String()
	if c.Tag != "" {
		identifier = c.Tag
	}
	h, err := r.put(ctx, identifier, c.MediaType, c.Manifest)
	if err != nil {
		return err
	}
	if c.subject == nil || h.Get("OCI-Subject") != "" {
		return nil
	}
	if err := r.list(ctx, c); err != nil {
		return fmt.Errorf("stored, but not listed among the referrers of %s: %w", c.subject.Digest, err)
	}
	return nil
}

// checkPrevious looks at a tag as late as it can be done: registries have no
// conditional writes.
func (r *registryBackend) checkPrevious(ctx context.Context, c *checked) error {
	if c.Tag == "" || c.Previous == nil {
		return nil
	}
	_, d, err := r.byTag(ctx, c.Tag)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return c.checkPrevious(d.Digest)
}

// put stores a manifest.
func (r *registryBackend) put(ctx context.Context, identifier string, mt types.MediaType, raw []byte) (http.Header, error) {
	client, err := r.writing(ctx)
	if err != nil {
		return nil, requestError(ctx, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, r.url("manifests", identifier).String(), bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", string(mt))
	resp, err := client.Do(req)
	if err != nil {
		return nil, requestError(ctx, err)
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK, http.StatusCreated, http.StatusAccepted); err != nil {
		return nil, requestError(ctx, err)
	}
	return resp.Header, stored(resp, hashOf(raw))
}

// list makes sure that a referrer can be found. Where the registry has the
// referrers API, the registry sees to that; elsewhere the index under the
// referrers tag is changed ("Pushing Manifests with Subject", step 2), and read
// again, as another process may have changed it at the same time.
func (r *registryBackend) list(ctx context.Context, c *checked) error {
	r.listing.Lock()
	defer r.listing.Unlock()
	_, _, err := r.page(ctx, r.url("referrers", c.subject.Digest.String()))
	if !errors.Is(err, errNoAPI) {
		return err
	}
	for range listAttempts {
		list, err := r.tagReferrers(ctx, c.subject.Digest)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(d v1.Descriptor) bool { return d.Digest == c.desc.Digest }) {
			return nil
		}
		if err := r.putReferrers(ctx, c.subject.Digest, append(list, c.desc)); err != nil {
			return err
		}
	}
	return fmt.Errorf("the registry lost the listing %d times: %w", listAttempts, ErrUnreachable)
}

func (r *registryBackend) putReferrers(ctx context.Context, subject v1.Hash, list []v1.Descriptor) error {
	if len(list) > r.limits.Referrers {
		return fmt.Errorf("more than %d: %w", r.limits.Referrers, ErrLimit)
	}
	slices.SortFunc(list, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.Hex, b.Digest.Hex) })
	raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: list})
	if err != nil {
		return err
	}
	_, err = r.put(ctx, referrersTag(subject), types.OCIImageIndex, raw)
	return err
}
