package repository

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// errRedirect is wrapped by the refusals of redirects.
var errRedirect = errors.New("redirect refused")

type configuredKey struct{}

// newHTTP returns a client with a transport of its own.
func newHTTP(o Options) *retryablehttp.Client {
	dialer := &net.Dialer{Timeout: o.Timeout, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		Proxy:                 o.Proxy,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   o.Timeout,
		ResponseHeaderTimeout: o.Timeout,
		TLSClientConfig:       o.TLS.Clone(),
		// Sizes and digests are of the bytes as they are stored.
		DisableCompression: true,
	}
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport: transport,
			CheckRedirect: func(req *http.Request, via []*http.Request) error {
				return checkRedirect(o.Auth, req, via)
			},
		},
		RetryMax:     o.Retries,
		RetryWaitMin: o.RetryWait,
		RetryWaitMax: o.MaxRetryWait,
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			return shouldRetry(ctx, resp, err, o.MaxRetryWait), nil
		},
		Backoff:      backoff,
		ErrorHandler: exhausted,
	}
}

// checkRedirect refuses to leave https, and gives each server only the
// credentials that are meant for it.
func checkRedirect(a *Auth, req *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	switch {
	case len(via) >= 10:
		return fmt.Errorf("%w: more than 10 in a row", errRedirect)
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return fmt.Errorf("%w: to scheme %.20q", errRedirect, req.URL.Scheme)
	case last.URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("%w: from https to %s", errRedirect, Redact(req.URL.String()))
	}
	req.URL.User = nil
	req.Header.Del("Referer") // would carry the query, and with it signed URLs
	configured, ok := req.Context().Value(configuredKey{}).(*url.URL)
	if !ok {
		return fmt.Errorf("%w: unknown origin", errRedirect)
	}
	a.apply(req, configured)
	return nil
}

// shouldRetry reports whether the same request may succeed later.
func shouldRetry(ctx context.Context, resp *http.Response, err error, longest time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		return temporary(err)
	}
	if !retryStatus(resp.StatusCode) {
		return false
	}
	wait, ok := retryAfter(resp)
	return !ok || wait <= longest
}

func retryStatus(code int) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusTooEarly:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return code >= 500
}

// temporary reports whether a failed request may succeed when repeated.
func temporary(err error) bool {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var header tls.RecordHeaderError
	switch {
	case errors.Is(err, errRedirect), errors.Is(err, ErrLimit), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &cert), errors.As(err, &authority), errors.As(err, &header):
		return false
	}
	return true
}

// backoff is exponential, or what Retry-After says, both bounded.
func backoff(least, most time.Duration, attempt int, resp *http.Response) time.Duration {
	if resp != nil {
		if wait, ok := retryAfter(resp); ok {
			return min(wait, most)
		}
	}
	if attempt > 20 || least > most>>attempt {
		return most
	}
	return least << attempt
}

// retryAfter reads the header in its two forms.
func retryAfter(resp *http.Response) (time.Duration, bool) {
	v := resp.Header.Get("Retry-After")
	if v == "" {
		return 0, false
	}
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && n >= 0 {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0), true
	}
	return 0, false
}

type attemptsError struct {
	attempts int
	err      error
}

func (e *attemptsError) Error() string { return fmt.Sprintf("%v (%d attempts)", e.err, e.attempts) }
func (e *attemptsError) Unwrap() error { return e.err }

// exhausted keeps the last answer, with the number of attempts.
func exhausted(resp *http.Response, err error, attempts int) (*http.Response, error) {
	if err != nil { // a refused redirect comes with its answer, closed
		if attempts > 1 {
			err = &attemptsError{attempts, urlProblem(err)}
		}
		return nil, err
	}
	resp.Header.Set(attemptsHeader, strconv.Itoa(attempts))
	return resp, nil
}

const attemptsHeader = "X-Cairn-Attempts" // set by exhausted, never sent

// roundTrip sends one GET, with retries and credentials, and returns any answer.
func (c *Client) roundTrip(ctx context.Context, configured *url.URL, header http.Header) (*http.Response, error) {
	if c.opt.Offline {
		return nil, ErrOffline
	}
	clean := *configured
	clean.User = nil
	ctx = context.WithValue(ctx, configuredKey{}, configured)
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, clean.String(), nil)
	if err != nil {
		return nil, urlProblem(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.opt.UserAgent)
	c.opt.Auth.apply(req.Request, configured)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, networkProblem(ctx, err)
	}
	return resp, nil
}

// networkProblem strips the URL from an error and keeps why a context ended.
func networkProblem(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var a *attemptsError
	if errors.As(err, &a) {
		return a
	}
	return urlProblem(err)
}

// statusError describes an answer that is not the wanted one, and closes it.
func (c *Client) statusError(configured *url.URL, resp *http.Response) error {
	e := &HTTPError{Location: Redact(configured.String()), Status: resp.StatusCode, Attempts: 1}
	if n, err := strconv.Atoi(resp.Header.Get(attemptsHeader)); err == nil {
		e.Attempts = n
	}
	if wait, ok := retryAfter(resp); ok {
		e.RetryAfter = wait.Round(time.Second)
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		e.Hint = c.authHint(configured, resp.Request)
	}
	return errors.Join(e, resp.Body.Close())
}

func (c *Client) authHint(configured *url.URL, req *http.Request) string {
	host := configured.Host
	if req != nil && req.URL.Host != host {
		host = req.URL.Host + " (redirected)"
	}
	if req != nil && req.Header.Get("Authorization") != "" {
		return "the credentials for " + host + " were not accepted"
	}
	return "no credentials for " + host + ": set HTTP_AUTH=basic:HOST:USER:PASSWORD or write them to ~/.netrc"
}
