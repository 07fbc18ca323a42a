package advisory

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// ErrFetch: a feed cannot be had.
var ErrFetch = errors.New("feed cannot be fetched")

// maxFetch bounds what is read of one URL, in bytes.
const maxFetch = 1 << 30

// recordID is what an index may call a record: it becomes a part of a URL.
var recordID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// parallelFetches is how many records are fetched at a time.
const parallelFetches = 8

// Fetch reads a feed from a URL and returns it as a file to keep: as it came, or, where
// the URL is an index of OSV records ("[{id, modified}, …]", each record beside it as
// ID.json), a zip archive of all of them. previous is what an earlier call gave, whose
// records are taken again where the index says that they have not changed; it may be
// nil. What is returned was read as a feed.
func Fetch(ctx context.Context, client *http.Client, from string, previous []byte) ([]byte, *Feed, error) {
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, nil, fmt.Errorf("%s: %w: expected an http or https URL", from, ErrFetch)
	}
	data, err := get(ctx, client, u.String(), maxFetch)
	if err != nil {
		return nil, nil, err
	}
	if index := indexOf(data); index != nil {
		if data, err = fetchRecords(ctx, client, u, index, previous); err != nil {
			return nil, nil, err
		}
	}
	f, err := Read(path.Base(u.Path), data, Limits{})
	return data, f, err
}

// listed is a record of an index.
type listed struct {
	ID       string `json:"id"`
	Modified string `json:"modified"`
}

// indexOf reads an index of records; nil when it is something else.
func indexOf(data []byte) []listed {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '[' {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // records have more
	var list []listed
	if d.Decode(&list) != nil || len(list) == 0 {
		return nil
	}
	for _, l := range list {
		if !recordID.MatchString(l.ID) {
			return nil
		}
	}
	return list
}

func fetchRecords(ctx context.Context, client *http.Client, index *url.URL, list []listed, previous []byte) ([]byte, error) {
	if len(list) > (Limits{}).withDefaults().Records {
		return nil, fmt.Errorf("%s: %w: %d records", index, ErrFeed, len(list))
	}
	slices.SortFunc(list, func(a, b listed) int { return strings.Compare(a.ID, b.ID) })
	list = slices.CompactFunc(list, func(a, b listed) bool { return a.ID == b.ID })
	have := recordsOf(previous)
	records := make([][]byte, len(list))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelFetches)
	for i, l := range list {
		if old, ok := have[l.ID]; ok && l.Modified != "" && old.modified == l.Modified {
			records[i] = old.raw
			continue
		}
		g.Go(func() (err error) {
			at := *index
			at.Path = path.Join(path.Dir(index.Path), l.ID+".json")
			at.RawQuery = index.RawQuery
			records[i], err = get(gctx, client, at.String(), (Limits{}).withDefaults().Record)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for i, l := range list {
		w, err := z.CreateHeader(&zip.FileHeader{Name: l.ID + ".json", Method: zip.Deflate})
		if err == nil {
			_, err = w.Write(records[i])
		}
		if err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}

// stored is a record of an archive.
type stored struct {
	modified string
	raw      []byte
}

// recordsOf reads the records of an archive that Fetch gave; what cannot be read is
// fetched again.
func recordsOf(archive []byte) map[string]stored {
	out := map[string]stored{}
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return out
	}
	for _, f := range z.File {
		rc, err := f.Open()
		if err != nil {
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(rc, (Limits{}).withDefaults().Record))
		rc.Close()
		var l listed
		if err == nil && json.Unmarshal(raw, &l) == nil && l.ID+".json" == f.Name {
			out[l.ID] = stored{l.Modified, raw}
		}
	}
	return out
}

// get reads a URL within a limit.
func get(ctx context.Context, client *http.Client, from string, limit int64) (_ []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %w: %s", from, ErrFetch, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %w", from, ErrFetch, err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s: %w: more than %d bytes", from, ErrFetch, limit)
	case resp.ContentLength >= 0 && int64(len(b)) != resp.ContentLength:
		return nil, fmt.Errorf("%s: %w: %d bytes, expected %d", from, ErrFetch, len(b), resp.ContentLength)
	}
	return b, nil
}
