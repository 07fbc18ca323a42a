package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/advisory"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

func newFeed(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "feed",
		Short: "Fetch and look at advisory feeds",
		Long: `Fetch and look at feeds of advisories: what distributions say of vulnerabilities in
their packages. cairn comes with none, and asks for none by itself.`,
	}
	cmd.AddCommand(newFeedFetch(a), newFeedShow(a))
	return cmd
}

func newFeedFetch(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "fetch URL --out FILE",
		Short: "Fetch a feed into a file",
		Long: `Fetch a feed into a file: OSV records, a zip archive of them, or a secdb, as it
comes. Where URL is an index of OSV records (a list of id and modified, with each
record beside it as ID.json), as Chainguard publishes it, the file is a zip archive of
all records; what it has already, and the index says has not changed, is not fetched
again.

The file is read as a feed before it takes the place of the one before. Feeds have
licences of their own.`,
		Example: "  cairn feed fetch https://secdb.alpinelinux.org/v3.22/main.json --out alpine-main.json\n" +
			"  cairn feed fetch https://advisories.cgr.dev/chainguard/v2/osv/all.json --out wolfi.zip",
		Args: args(1, 1, "a URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usageError{errors.New("--out: missing")}
			}
			previous, err := os.ReadFile(a.at(out))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			data, f, err := advisory.Fetch(cmd.Context(), feedClient(), args[0], previous)
			if err != nil {
				return err
			}
			if err := writeFileAtomic(a.at(out), data, 0o644); err != nil {
				return err
			}
			f.Name = out
			return printFeed(a, f)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write")
	return cmd
}

// feedClient asks again what may be answered the next time.
func feedClient() *http.Client {
	c := retryablehttp.NewClient()
	c.Logger = nil
	c.RetryMax = 3
	c.RetryWaitMin = 200 * time.Millisecond
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	return c.StandardClient()
}

func newFeedShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show FEED",
		Short:   "Show what a feed is",
		Long:    `Show what a feed is: a file, or a directory of records. Whether what it says is true is its publisher's business.`,
		Example: "  cairn feed show wolfi.zip",
		Args:    args(1, 1, "a feed"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := advisory.Open(cmd.Context(), a.at(args[0]), nil)
			if err != nil {
				return err
			}
			f.Name = args[0]
			return printFeed(a, f)
		},
	}
}

func printFeed(a *app, f *advisory.Feed) error {
	return render(a.std.out, format(a.format), f.Meta, nil, func(w io.Writer) error {
		newest := "not said"
		if !f.Newest.IsZero() {
			newest = f.Newest.Format(time.RFC3339)
		}
		_, err := fmt.Fprintf(w, "%s: %d records for %s (%d for others), the newest: %s\n%s\n", f.Name, f.Records, strings.Join(f.Distros, ", "), f.Ignored, newest, f.SHA256)
		return err
	})
}

// feedFlags are the flags of commands that look at advisories.
type feedFlags struct {
	feeds []string
	vex   []string
	asOf  string
}

func (f *feedFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.feeds, "feed", nil, "advisory `feed`: a file, a directory of records, or a URL; may be repeated")
	cmd.Flags().StringArrayVar(&f.vex, "vex", nil, "OpenVEX `document` whose statements excuse findings; may be repeated")
	cmd.Flags().StringVar(&f.asOf, "as-of", "", "leave out what was published after this `time`, RFC 3339 or a date")
}

// open opens the feeds.
func (f *feedFlags) open(ctx context.Context, a *app, st *store.Store, offline bool) (advisory.Feeds, error) {
	var out advisory.Feeds
	for _, name := range f.feeds {
		var feed *advisory.Feed
		var err error
		if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
			if offline {
				return nil, fmt.Errorf("feed %s: %w", name, repository.ErrOffline)
			}
			_, feed, err = advisory.Fetch(ctx, feedClient(), name, nil)
		} else {
			feed, err = advisory.Open(ctx, a.at(name), st)
		}
		if err != nil {
			return nil, err
		}
		feed.Name = name
		out = append(out, feed)
	}
	return out, nil
}

// parseAsOf reads --as-of.
func (f *feedFlags) parseAsOf() (time.Time, error) {
	if f.asOf == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, f.asOf); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("--as-of: found %q, expected a time such as 2026-01-02T15:04:05Z, or a date", f.asOf)}
}
