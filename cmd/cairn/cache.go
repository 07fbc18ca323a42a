package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/store"
)

func newCache(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look after the package store and the index cache",
		Long:  "Look after the package store and the index cache, which lie in --cache-dir.",
	}
	cmd.AddCommand(newCacheInfo(a), newCacheVerify(a), newCachePrune(a), newCacheClean(a))
	return cmd
}

// withWorkspace opens the workspace that the flags name for one action.
func withWorkspace(s *storeFlags, a *app, do func(*packages.Workspace) error) (err error) {
	ws, err := s.open(a, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ws.Close()) }()
	return do(ws)
}

func newCacheInfo(a *app) *cobra.Command {
	var s storeFlags
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Say what the store holds",
		Args:  args(0, 0, "none"),
		RunE: func(*cobra.Command, []string) error {
			return withWorkspace(&s, a, func(ws *packages.Workspace) error {
				info, err := ws.CacheInfo()
				if err != nil {
					return err
				}
				return render(a.std.out, format(a.format), info, nil, func(w io.Writer) error { return printInfo(w, info) })
			})
		},
	}
	s.registerDir(cmd)
	return cmd
}

func printInfo(w io.Writer, info packages.CacheInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, u store.Usage) { fmt.Fprintf(t, "%s\t%d\t%s\n", name, u.Count, bytesText(u.Bytes)) }
	fmt.Fprintf(t, "%s\n", info.Store.Dir)
	row("packages", info.Store.Data)
	row("receipts", info.Store.Receipts)
	for _, kind := range slices.Sorted(maps.Keys(info.Store.Objects)) {
		row(kind, info.Store.Objects[kind])
	}
	row("garbage", info.Store.Garbage)
	row("indexes and keys", store.Usage{Count: info.Index.Files, Bytes: info.Index.Bytes})
	return t.Flush()
}

func newCacheVerify(a *app) *cobra.Command {
	var s storeFlags
	var full bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read everything in the store again and check it",
		Long: `Read everything in the store again and check every hash. What is damaged is
removed, so that the next build fetches it anew. --full reads each package as if
it came in now and compares all that is recorded of it.`,
		Args: args(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withWorkspace(&s, a, func(ws *packages.Workspace) error {
				problems, err := ws.CheckCache(cmd.Context(), full)
				if err != nil {
					return err
				}
				if problems == nil {
					problems = []string{}
				}
				err = render(a.std.out, format(a.format), problems, elements(problems), func(w io.Writer) error {
					for _, p := range problems {
						fmt.Fprintln(w, p)
					}
					_, err := fmt.Fprintf(w, "%d problems\n", len(problems))
					return err
				})
				if err == nil && len(problems) > 0 {
					err = fmt.Errorf("cache verify: %d problems: %w", len(problems), store.ErrCorrupt)
				}
				return err
			})
		},
	}
	s.registerDir(cmd)
	cmd.Flags().BoolVar(&full, "full", false, "inflate every package again and compare it with what is recorded")
	return cmd
}

func newCachePrune(a *app) *cobra.Command {
	var s storeFlags
	var older time.Duration
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what was not used for long",
		Long: `Remove what was not used for the longest time until the store fits into
--cache-max-size, or all that was not used within --older-than. Other processes
must not be using the store.`,
		Example: "  cairn cache prune --cache-max-size=10GB",
		Args:    args(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			size, err := parseSize(s.maxSize)
			if err != nil {
				return usageError{fmt.Errorf("--cache-max-size: %w", err)}
			}
			if size == 0 && older == 0 {
				return usageError{errors.New("cache prune: give --cache-max-size or --older-than\nhint: cairn cache clean removes everything")}
			}
			s.maxSize = "" // the store's own limit, on closing, is not meant here
			o := store.PruneOptions{MaxSize: size, DryRun: dryRun}
			if older > 0 {
				o.KeepNewerThan = time.Now().Add(-older)
			}
			return withWorkspace(&s, a, func(ws *packages.Workspace) error {
				r, err := ws.PruneCache(cmd.Context(), o)
				if err != nil {
					return err
				}
				return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
					verb := "removed"
					if dryRun {
						verb = "would remove"
					}
					_, err := fmt.Fprintf(w, "%s %d things, %s; %s stay\n", verb, r.Removed.Count, bytesText(r.Removed.Bytes), bytesText(r.Kept.Bytes))
					return err
				})
			})
		},
	}
	s.registerDir(cmd)
	cmd.Flags().StringVar(&s.maxSize, "cache-max-size", "", "the `size` that may stay, as in 10GB")
	cmd.Flags().DurationVar(&older, "older-than", 0, "keep what was used within this `duration`, as in 720h")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	return cmd
}

func newCacheClean(a *app) *cobra.Command {
	var s storeFlags
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove everything from the store and the index cache",
		Args:  args(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withWorkspace(&s, a, func(ws *packages.Workspace) error {
				r, err := ws.CleanCache(cmd.Context())
				if err != nil {
					return err
				}
				return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "removed %d things, %s\n", r.Removed.Count, bytesText(r.Removed.Bytes))
					return err
				})
			})
		},
	}
	s.registerDir(cmd)
	return cmd
}
