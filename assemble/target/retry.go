package target

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/hashicorp/go-retryablehttp"
)

// How long is waited before another attempt: at first, and at most.
const (
	firstWait = 500 * time.Millisecond
	mostWait  = 5 * time.Second
)

// retrying makes a transport that repeats what may succeed the next time, and
// stops waiting when the context ends. Answers are passed on as they came after
// the last attempt.
func retrying(base http.RoundTripper, attempts int, wait time.Duration) http.RoundTripper {
	if attempts <= 0 {
		attempts = 3
	}
	if base == nil {
		base = remote.DefaultTransport
	}
	c := retryablehttp.NewClient()
	c.HTTPClient = &http.Client{
		Transport:     base,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.Logger = nil
	c.RetryMax = attempts - 1
	c.RetryWaitMin, c.RetryWaitMax = cmp.Or(wait, firstWait), mostWait
	c.CheckRetry = retryable
	c.Backoff = backoff
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	return &unwrapped{&retryablehttp.RoundTripper{Client: c}, base}
}

// unwrapped gives the errors of the network themselves: the client that makes
// the request says for which one.
// A body that cannot be had again is sent once: to repeat it, all of it would have
// to be kept. Others are taken anew each time, because go-containerregistry, when a
// token has ended, sends the same request again with a body that has been read.
type unwrapped struct{ inner, once http.RoundTripper }

func (u *unwrapped) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return u.once.RoundTrip(req)
		}
		body, err := req.GetBody()
		if err != nil {
			return nil, errors.Join(err, req.Body.Close())
		}
		req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = body
	}
	resp, err := u.inner.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	if resp != nil { // the last answer, when the context ended the attempts
		resp.Body.Close()
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return nil, err
}

func retryable(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		var timeout net.Error
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
			errors.Is(err, syscall.EPIPE) || errors.As(err, &timeout) && timeout.Timeout(), nil
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, nil
	}
	return false, nil
}

// backoff is the library's, with what a registry asks for in Retry-After held
// below the longest wait.
func backoff(least, most time.Duration, attempt int, resp *http.Response) time.Duration {
	return min(retryablehttp.DefaultBackoff(least, most, attempt, resp), most)
}
