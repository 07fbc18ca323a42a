package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// errStalled is why a body without progress is given up.
var errStalled = errors.New("no data")

// errChanged is what a file gives that is another one when it is resumed.
var errChanged = errors.New("changed on the server while it was read")

// download is the body of a GET that goes on where it broke off: with Range when
// the server can, else by reading from the beginning and skipping. It ends with
// EOF only after as many bytes as the first answer announced.
type download struct {
	c   *Client
	ctx context.Context
	url *url.URL // as configured

	body    *watched
	total   int64 // -1 when the server did not say
	offset  int64
	tag     string // ETag, "" if none or weak
	date    string // Last-Modified
	stuck   int    // resumptions without a byte since
	resumed int
	header  http.Header // of the first answer
	err     error
}

// maxResumptions bounds those with progress as well.
const maxResumptions = 100

// get starts a download. Any answer but 200 is an error, except 304, which gives
// nil when header asks a condition.
func (c *Client) get(ctx context.Context, rawURL string, header http.Header) (*download, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	d := &download{c: c, ctx: ctx, url: u}
	resp, watch, err := d.request(header)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		if header != nil {
			return nil, watch.Close()
		}
		fallthrough
	default:
		defer watch.cancel(nil)
		return nil, c.statusError(u, resp)
	}
	if limit := c.opt.Limits.Response; resp.ContentLength > limit {
		return nil, errors.Join(fmt.Errorf("%w: response of %d bytes: at most %d expected", ErrLimit, resp.ContentLength, limit), watch.Close())
	}
	d.body, d.total, d.header = watch, resp.ContentLength, resp.Header
	if t := resp.Header.Get("ETag"); strings.HasPrefix(t, `"`) {
		d.tag = t
	}
	d.date = resp.Header.Get("Last-Modified")
	return d, nil
}

// request sends one request whose body is watched for stalls.
func (d *download) request(header http.Header) (*http.Response, *watched, error) {
	ctx, cancel := context.WithCancelCause(d.ctx)
	resp, err := d.c.roundTrip(ctx, d.url, header)
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	return resp, watch(ctx, cancel, resp.Body, d.c.opt.Timeout), nil
}

func (d *download) Read(p []byte) (int, error) {
	for d.err == nil {
		n, err := d.body.Read(p)
		d.offset += int64(n)
		if n > 0 {
			d.stuck = 0
		}
		limit := d.c.opt.Limits.Response
		switch over := d.offset - limit; {
		case over > 0:
			n, d.err = n-int(over), overLimit(limit)
		case err != nil:
			d.err = d.ended(err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, d.err
}

// ended decides what the end of a body means; nil means: go on reading.
func (d *download) ended(err error) error {
	switch {
	case context.Cause(d.ctx) != nil:
		return context.Cause(d.ctx)
	case errors.Is(err, io.EOF) && (d.total < 0 || d.offset == d.total):
		return io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	if d.offset == d.total {
		return io.EOF
	}
	broke := fmt.Errorf("broke off after %d of %s bytes: %w", d.offset, sizeText(d.total), urlProblem(err))
	if d.stuck >= d.c.opt.Retries || d.resumed >= maxResumptions {
		return broke
	}
	wait := backoff(d.c.opt.RetryWait, d.c.opt.MaxRetryWait, d.stuck, nil)
	d.stuck++
	d.resumed++
	if err := sleep(d.ctx, wait); err != nil {
		return err
	}
	if err := d.resume(); err != nil {
		return fmt.Errorf("%w; to resume: %w", broke, err)
	}
	return nil
}

func sizeText(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return strconv.FormatInt(n, 10)
}

// resume opens the rest. If-Range makes the server send the whole file when it
// is not the one the download began with.
func (d *download) resume() error {
	if err := d.body.Close(); err != nil && d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	h := http.Header{}
	if d.offset > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		if d.tag != "" {
			h.Set("If-Range", d.tag)
		} else if d.date != "" {
			h.Set("If-Range", d.date)
		}
	}
	resp, body, err := d.request(h)
	if err != nil {
		return err
	}
	d.body = body
	switch resp.StatusCode {
	case http.StatusPartialContent:
		return d.checkPart(resp)
	case http.StatusOK:
		return d.skip(resp)
	case http.StatusRequestedRangeNotSatisfiable:
		return errors.Join(errChanged, body.Close())
	}
	return d.c.statusError(d.url, resp)
}

// same reports whether an answer is about the file the download began with, as
// far as the server lets one tell. What it does not tell, the reader's digests do.
func (d *download) same(resp *http.Response) bool {
	tag, date := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	if d.tag != "" && tag != "" {
		return d.tag == tag
	}
	return d.date == "" || date == "" || d.date == date
}

func (d *download) checkPart(resp *http.Response) error {
	first, last, total, ok := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case !ok || first != d.offset || last < first:
		return fmt.Errorf("server answered Content-Range %.60q to a request for bytes from %d on", resp.Header.Get("Content-Range"), d.offset)
	case !d.same(resp), total >= 0 && d.total >= 0 && total != d.total:
		return errChanged
	}
	if d.total < 0 {
		d.total = total
	}
	return nil
}

// skip reads over what was delivered already.
func (d *download) skip(resp *http.Response) error {
	if !d.same(resp) || (d.total >= 0 && resp.ContentLength >= 0 && resp.ContentLength != d.total) {
		return errChanged
	}
	if n, err := io.CopyN(io.Discard, d.body, d.offset); err != nil {
		return fmt.Errorf("broke off again after %d bytes: %w", n, urlProblem(err))
	}
	return nil
}

// parseContentRange reads "bytes first-last/total"; total is -1 for "*".
func parseContentRange(s string) (first, last, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, size, ok2 := strings.Cut(s, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, false
	}
	total = -1
	var errs [3]error
	first, errs[0] = strconv.ParseInt(a, 10, 64)
	last, errs[1] = strconv.ParseInt(b, 10, 64)
	if size != "*" {
		total, errs[2] = strconv.ParseInt(size, 10, 64)
	}
	return first, last, total, errors.Join(errs[:]...) == nil && first >= 0
}

// Close ends the download, finished or not.
func (d *download) Close() error {
	if d.err == nil {
		d.err = errors.New("read after close")
	}
	if err := d.body.Close(); err != nil && d.err == nil {
		return err
	}
	return nil
}

// watched is a body that gives errStalled when nothing comes for too long.
type watched struct {
	body    io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	timeout time.Duration
}

func watch(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, timeout time.Duration) *watched {
	w := &watched{body: body, ctx: ctx, cancel: cancel, timeout: timeout}
	w.timer = time.AfterFunc(timeout, func() { cancel(fmt.Errorf("%w for %s", errStalled, timeout)) })
	w.timer.Stop()
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.timeout)
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	err := w.body.Close()
	w.cancel(nil)
	return err
}
