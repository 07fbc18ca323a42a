package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

// parallelBlobs is how many blobs are stored at a time.
const parallelBlobs = 4

// uploader stores blobs in a repository, by the OCI distribution specification
// 1.1, "Push". go-containerregistry's own would begin a large blob from its first
// byte again after each failure.
type uploader struct {
	r      *registryBackend
	client *http.Client
	// mounts are the repositories of this registry that may be read.
	mounts map[string]bool

	mu sync.Mutex
	n  Transfer
}

func (r *registryBackend) store(ctx context.Context, blobs []Blob, manifests []*checked) (Transfer, error) {
	n, err := r.upload(ctx, blobs)
	if err != nil {
		return n, err
	}
	for _, c := range manifests {
		there, err := r.hasManifest(ctx, c)
		switch {
		case err != nil:
		case !there:
			n.Manifests++
			err = r.pushManifest(ctx, c)
		case c.subject != nil:
			err = r.list(ctx, c)
		}
		if err != nil {
			return n, fmt.Errorf("manifest %s: %w", c.desc.Digest, err)
		}
	}
	return n, nil
}

// upload stores blobs, each digest once, some at a time.
func (r *registryBackend) upload(ctx context.Context, blobs []Blob) (Transfer, error) {
	u := &uploader{r: r, mounts: map[string]bool{}}
	if err := u.connect(ctx, blobs); err != nil {
		return u.n, requestError(ctx, err)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelBlobs)
	for i := range blobs {
		g.Go(func() error {
			if err := u.blob(gctx, &blobs[i]); err != nil {
				return fmt.Errorf("blob %s: %w", blobs[i].Descriptor.Digest, err)
			}
			return nil
		})
	}
	err := g.Wait()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return u.n, err
}

// connect gets credentials that may write here and read where blobs are to be
// mounted from. Where they are not had together, nothing is mounted.
func (u *uploader) connect(ctx context.Context, blobs []Blob) (err error) {
	scopes := []string{u.r.repo.Scope(transport.PushScope)}
	for i := range blobs {
		for _, from := range blobs[i].From {
			repo, err := name.NewRepository(from, name.WeakValidation)
			if err != nil || repo.RegistryStr() != u.r.repo.RegistryStr() || repo.RepositoryStr() == u.r.repo.RepositoryStr() || u.mounts[repo.RepositoryStr()] {
				continue
			}
			u.mounts[repo.RepositoryStr()] = true
			scopes = append(scopes, repo.Scope(transport.PullScope))
		}
	}
	var client *http.Client
	if len(scopes) > 1 {
		if client, err = u.r.authenticated(ctx, scopes...); err != nil {
			u.mounts = map[string]bool{}
		}
	}
	if client == nil {
		if client, err = u.r.writing(ctx); err != nil {
			return err
		}
	}
	// Where a registry sends large bodies elsewhere, that is seen here.
	u.client = &http.Client{Transport: client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return nil
}

// count notes what became of a blob.
func (u *uploader) count(a *Amount, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a.add(n)
}

// blob makes sure that the repository has a blob. An upload that cannot go on is
// begun again.
func (u *uploader) blob(ctx context.Context, b *Blob) error {
	d := &b.Descriptor
	for attempt := 0; ; attempt++ {
		there, err := u.head(ctx, d)
		if err != nil {
			return err
		}
		if there {
			u.count(&u.n.Present, d.Size)
			return nil
		}
		session, err := u.begin(ctx, b)
		if err != nil {
			return err
		}
		if session == nil {
			u.count(&u.n.Mounted, d.Size)
			return nil
		}
		if err = u.send(ctx, session, b); err == nil {
			u.count(&u.n.Uploaded, d.Size)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !passing(err) || attempt+1 >= u.r.attempts {
			return err
		}
		if err := u.wait(ctx, attempt, err); err != nil {
			return err
		}
	}
}

// passing tells failures that may not happen again from those that will.
func passing(err error) bool {
	var s *sourceError
	if errors.As(err, &s) || errors.Is(err, ErrMissing) {
		return false
	}
	var status *transport.Error
	if !errors.As(err, &status) {
		return true // of the network
	}
	switch c := status.StatusCode; {
	case c >= 500, c == http.StatusRequestTimeout, c == http.StatusTooManyRequests:
		return true
	case c == http.StatusUnauthorized: // a token that ended meanwhile
		return true
	case c == http.StatusNotFound, c == http.StatusBadRequest, c == http.StatusRequestedRangeNotSatisfiable:
		return true // an upload that the registry lost, or bytes that did not arrive as they were sent
	}
	return false
}

// sourceError is a failure of reading what is to be stored.
type sourceError struct{ err error }

func (s *sourceError) Error() string { return s.err.Error() }
func (s *sourceError) Unwrap() error { return s.err }

// waitFor is the time before another attempt, unless the registry asks for more.
func waitFor(first time.Duration, attempt int, err error) time.Duration {
	d := min(mostWait, first<<min(attempt, 8))
	var asked *retryAfter
	if errors.As(err, &asked) {
		d = min(mostWait, max(d, asked.wait))
	}
	return d
}

// retryAfter carries what a registry asked for.
type retryAfter struct {
	error
	wait time.Duration
}

func (r *retryAfter) Unwrap() error { return r.error }

func (u *uploader) wait(ctx context.Context, attempt int, err error) error {
	t := time.NewTimer(waitFor(u.r.first, attempt, err))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// do makes a request; an answer other than the accepted ones is an error.
func (u *uploader) do(req *http.Request, accept ...int) (*http.Response, error) {
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, requestError(req.Context(), err)
	}
	if err := transport.CheckError(resp, accept...); err != nil {
		resp.Body.Close()
		err = requestError(req.Context(), err)
		if seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && seconds > 0 {
			err = &retryAfter{err, time.Duration(min(seconds, 3600)) * time.Second}
		}
		return nil, err
	}
	return resp, nil
}

// drained closes an answer whose body does not matter, so that its connection can
// be used again.
func drained(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return errors.Join(err, resp.Body.Close())
}

func (u *uploader) head(ctx context.Context, d *v1.Descriptor) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, u.r.url("blobs", d.Digest.String()).String(), nil)
	if err != nil {
		return false, err
	}
	client := *u.client
	client.CheckRedirect = checkRedirect // to where the registry keeps blobs
	resp, err := client.Do(req)
	if err != nil {
		return false, requestError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return false, nil
	}
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return false, requestError(ctx, err)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != d.Size {
		return false, &sourceError{fmt.Errorf("the registry has %d bytes under this digest, expected %d: %w", resp.ContentLength, d.Size, ErrMismatch)}
	}
	return true, nil
}

// begin mounts a blob, or begins an upload.
func (u *uploader) begin(ctx context.Context, b *Blob) (*url.URL, error) {
	start := u.r.url("blobs", "uploads/")
	for _, from := range b.From {
		repo, err := name.NewRepository(from, name.WeakValidation)
		if err != nil || !u.mounts[repo.RepositoryStr()] || repo.RegistryStr() != u.r.repo.RegistryStr() {
			continue
		}
		at := *start
		at.RawQuery = url.Values{"mount": {b.Descriptor.Digest.String()}, "from": {repo.RepositoryStr()}}.Encode()
		session, err := u.post(ctx, &at)
		if err != nil && ctx.Err() == nil && passing(err) {
			continue // a registry that does not mount need not say it well
		}
		if err != nil || session == nil {
			return nil, err
		}
		if b.Open != nil {
			return session, nil
		}
		u.cancel(ctx, session)
	}
	if b.Open == nil {
		return nil, fmt.Errorf("not in %s: %w", u.r.ref.name(), ErrMissing)
	}
	return u.post(ctx, start)
}

// post returns where to upload to; nil when the blob is there now.
func (u *uploader) post(ctx context.Context, at *url.URL) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := u.do(req, http.StatusCreated, http.StatusAccepted)
	if err != nil {
		return nil, err
	}
	if err := drained(resp); err != nil {
		return nil, requestError(ctx, err)
	}
	if resp.StatusCode == http.StatusCreated {
		return nil, nil
	}
	return location(at, resp)
}

// cancel ends an upload that is not needed. That it may fail does not matter.
func (u *uploader) cancel(ctx context.Context, session *url.URL) {
	if req, err := http.NewRequestWithContext(ctx, http.MethodDelete, session.String(), nil); err == nil {
		if resp, err := u.client.Do(req); err == nil {
			resp.Body.Close()
		}
	}
}

// location is where an answer says that an upload goes on. Credentials go to the
// registry's own host only: its transport sees to that.
func location(from *url.URL, resp *http.Response) (*url.URL, error) {
	l, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return nil, fmt.Errorf("upload: location %.200q: %w", resp.Header.Get("Location"), ErrMalformed)
	}
	if from.Scheme == "https" && l.Scheme != "https" {
		return nil, fmt.Errorf("upload: location %s leaves https: %w", l.Redacted(), ErrMalformed)
	}
	return l, nil
}

// send uploads a blob. After a failure it asks how much arrived and goes on from
// there.
func (u *uploader) send(ctx context.Context, session *url.URL, b *Blob) error {
	offset := int64(0)
	for attempt := 0; ; attempt++ {
		next, err := u.patch(ctx, session, b, offset)
		if err == nil {
			return u.finish(ctx, next, &b.Descriptor)
		}
		if ctx.Err() != nil || !passing(err) || attempt+1 >= u.r.attempts {
			return err
		}
		if werr := u.wait(ctx, attempt, err); werr != nil {
			return werr
		}
		arrived, at, serr := u.status(ctx, session)
		if serr != nil || arrived > b.Descriptor.Size {
			return err // begun anew by the caller
		}
		session, offset = at, arrived
	}
}

// patch sends a blob from an offset on.
func (u *uploader) patch(ctx context.Context, session *url.URL, b *Blob, offset int64) (*url.URL, error) {
	d := &b.Descriptor
	if offset == d.Size && d.Size > 0 {
		return session, nil
	}
	rc, err := b.open(ctx)
	if err != nil {
		return nil, &sourceError{err}
	}
	src := &sourceReader{rc: rc}
	defer src.Close()
	if _, err := io.CopyN(io.Discard, src, offset); err != nil {
		return nil, &sourceError{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, session.String(), src)
	if err != nil {
		return nil, err
	}
	req.ContentLength = d.Size - offset
	if req.ContentLength == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if offset > 0 {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", offset, d.Size-1))
	}
	resp, err := u.do(req, http.StatusAccepted, http.StatusCreated, http.StatusNoContent)
	if serr := src.failed(); serr != nil {
		if resp != nil {
			resp.Body.Close()
		}
		return nil, &sourceError{serr}
	}
	if err != nil {
		return nil, err
	}
	if err := drained(resp); err != nil {
		return nil, requestError(ctx, err)
	}
	return location(session, resp)
}

// sourceReader tells failures of the source from those of the network. net/http
// reads it in a goroutine of its own, to its end, and may close it after the
// answer came.
type sourceReader struct {
	mu     sync.Mutex
	rc     io.ReadCloser
	closed bool
	err    error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	n, err := s.rc.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *sourceReader) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.rc.Close()
}

func (s *sourceReader) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// status asks how many bytes of an upload arrived.
func (u *uploader) status(ctx context.Context, session *url.URL) (int64, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, session.String(), nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := u.do(req, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return 0, nil, err
	}
	if err := drained(resp); err != nil {
		return 0, nil, requestError(ctx, err)
	}
	at := session
	if resp.Header.Get("Location") != "" {
		if at, err = location(session, resp); err != nil {
			return 0, nil, err
		}
	}
	text := resp.Header.Get("Range")
	first, last, ok := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || first != "0" || err != nil || n < 0 {
		return 0, nil, fmt.Errorf("upload: range %.60q: %w", text, ErrMalformed)
	}
	if n == 0 {
		return 0, nil, fmt.Errorf("upload: range %.60q: begun anew: %w", text, ErrMalformed) // nothing, or one byte: not worth asking
	}
	return n + 1, at, nil
}

// finish ends an upload; the registry compares the digest.
func (u *uploader) finish(ctx context.Context, session *url.URL, d *v1.Descriptor) error {
	at := *session
	q := at.Query()
	q.Set("digest", d.Digest.String())
	at.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, at.String(), http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := u.do(req, http.StatusCreated, http.StatusNoContent, http.StatusAccepted)
	if err != nil {
		return err
	}
	if err := drained(resp); err != nil {
		return requestError(ctx, err)
	}
	return stored(resp, d.Digest)
}

// stored compares what a registry says that it stored.
func stored(resp *http.Response, digest v1.Hash) error {
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != digest.String() {
		return fmt.Errorf("the registry says that it stored %.80q: %w", got, ErrMismatch)
	}
	return nil
}

// hasManifest asks whether a manifest is there. One whose being there cannot be
// found out is stored again.
func (r *registryBackend) hasManifest(ctx context.Context, c *checked) (bool, error) {
	client, err := r.writing(ctx)
	if err != nil {
		return false, requestError(ctx, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, r.url("manifests", c.desc.Digest.String()).String(), nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", manifestTypes)
	resp, err := client.Do(req)
	if err != nil {
		return false, nil
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && (resp.ContentLength < 0 || resp.ContentLength == c.desc.Size), nil
}

func (r *registryBackend) tag(ctx context.Context, tag string, m Manifest) (v1.Hash, error) {
	_, before, err := r.byTag(ctx, tag)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return v1.Hash{}, err
	}
	if before.Digest == m.Digest() {
		return before.Digest, nil
	}
	_, err = r.put(ctx, tag, m.MediaType, m.Raw)
	return before.Digest, err
}
