package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// registryBackend is the backend of a repository. Manifests are read and written here,
// over go-containerregistry's authentication, because it reads up to 100 MiB,
// knows no pages of referrers, and leaves the annotations out of the referrers
// tag.
type registryBackend struct {
	ref      Ref
	repo     name.Repository
	auth     authn.Authenticator
	base     http.RoundTripper // without authentication
	attempts int               // of what is tried again
	first    time.Duration     // before the second attempt
	client   *http.Client      // may pull
	limits   Limits
	writer   lazyWriter
	// listing is held while a referrers tag is read, changed and written.
	listing sync.Mutex
}

// manifestTypes is what a manifest may be.
var manifestTypes = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
}, ", ")

func openRegistry(ctx context.Context, ref Ref, o *Options) (*registryBackend, error) {
	r := &registryBackend{ref: ref, repo: ref.repo, limits: o.Limits}
	if o.Insecure {
		repo, err := name.NewRepository(ref.repo.Name(), name.Insecure, name.WeakValidation)
		if err != nil {
			return nil, err
		}
		r.repo = repo
	}
	if err := r.connect(ctx, o); err != nil {
		return nil, fmt.Errorf("registry %s: %w", r.repo.RegistryStr(), requestError(ctx, err))
	}
	return r, nil
}

func (r *registryBackend) connect(ctx context.Context, o *Options) (err error) {
	r.base = retrying(o.Transport, o.Attempts, o.Wait)
	if r.attempts = o.Attempts; r.attempts <= 0 {
		r.attempts = 3
	}
	r.first = cmp.Or(o.Wait, firstWait)
	r.auth = authn.Anonymous
	if o.Keychain != nil {
		if r.auth, err = authn.Resolve(ctx, o.Keychain, r.repo); err != nil {
			return err
		}
	}
	r.client, err = r.authenticated(ctx, r.repo.Scope(transport.PullScope))
	return err
}

func (r *registryBackend) authenticated(ctx context.Context, scopes ...string) (*http.Client, error) {
	tr, err := transport.NewWithContext(ctx, r.repo.Registry, r.auth, r.base, scopes)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: tr, CheckRedirect: checkRedirect}, nil
}

// checkRedirect refuses redirects from a registry to a private address that is
// not its own, and from TLS to plain HTTP.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) >= 5 {
		return errors.New("more than 5 redirects")
	}
	if first.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("redirect from https to %s", req.URL.Scheme)
	}
	if req.URL.Hostname() == first.Hostname() {
		return nil
	}
	if ip := net.ParseIP(req.URL.Hostname()); ip != nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()) {
		return fmt.Errorf("redirect to the private address %s", ip)
	}
	return nil
}

// get makes a request and returns the answer when it is 200; the caller closes
// the body.
func (r *registryBackend) get(ctx context.Context, u *url.URL, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, requestError(ctx, err)
	}
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		resp.Body.Close()
		return nil, requestError(ctx, err)
	}
	return resp, nil
}

// read makes a request and reads the answer of at most the limit for
// manifests.
func (r *registryBackend) read(ctx context.Context, u *url.URL, accept string) ([]byte, http.Header, error) {
	resp, err := r.get(ctx, u, accept)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := readLimited(resp.Body, r.limits.Manifest)
	if err != nil && !errors.Is(err, ErrLimit) {
		err = requestError(ctx, err)
	}
	return b, resp.Header, err
}

func (r *registryBackend) url(kind, identifier string) *url.URL {
	return &url.URL{
		Scheme: r.repo.Scheme(), Host: r.repo.RegistryStr(),
		Path: "/v2/" + r.repo.RepositoryStr() + "/" + kind + "/" + identifier,
	}
}

func (r *registryBackend) byTag(ctx context.Context, tag string) ([]byte, v1.Descriptor, error) {
	raw, h, err := r.read(ctx, r.url("manifests", tag), manifestTypes)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	return raw, describe(mediaType(h, raw), raw, nil), nil
}

// mediaType prefers what a manifest says of itself: the header is not covered
// by the digest.
func mediaType(h http.Header, raw []byte) types.MediaType {
	if p, err := parseHeader(raw); err == nil && p.MediaType != "" {
		return p.MediaType
	}
	mt, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return types.MediaType(strings.TrimSpace(mt))
}

func (r *registryBackend) resolve(ctx context.Context) (v1.Descriptor, error) {
	if digest, ok := r.ref.Digest(); ok {
		raw, mt, err := r.manifest(ctx, digest)
		if err != nil {
			return v1.Descriptor{}, err
		}
		if got := hashOf(raw); got != digest {
			return v1.Descriptor{}, fmt.Errorf("found %s: %w", got, ErrMismatch)
		}
		return describe(mt, raw, nil), nil
	}
	_, d, err := r.byTag(ctx, r.ref.tag)
	return d, err
}

func (r *registryBackend) manifest(ctx context.Context, digest v1.Hash) ([]byte, types.MediaType, error) {
	raw, h, err := r.read(ctx, r.url("manifests", digest.String()), manifestTypes)
	if err != nil {
		return nil, "", err
	}
	return raw, mediaType(h, raw), nil
}

func (r *registryBackend) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	resp, err := r.get(ctx, r.url("blobs", d.Digest.String()), "")
	if err != nil {
		return nil, err
	}
	if resp.ContentLength >= 0 && resp.ContentLength != d.Size {
		resp.Body.Close()
		return nil, fmt.Errorf("%d bytes, expected %d: %w", resp.ContentLength, d.Size, ErrMismatch)
	}
	return resp.Body, nil
}

func (r *registryBackend) tagged(ctx context.Context, tag string) (v1.Descriptor, error) {
	_, d, err := r.byTag(ctx, tag)
	return d, err
}
