package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/repository"
)

// buildGraph builds many definitions with a builder of one, shows how it goes,
// and prints the report: also when some were not built or the run was stopped.
func (a *app) buildGraph(ctx context.Context, builds []*definition.Build, builder distro.Builder, o distro.Options) error {
	p := &graphProgress{progress: newProgress(a)}
	o.Progress = p.event
	report, err := distro.Run(ctx, builds, builder, o)
	p.stop()
	if report == nil {
		return err
	}
	shown := render(a.std.out, format(a.format), report, elements(report.Builds), func(w io.Writer) error { return report.Text(w) })
	return errors.Join(err, shown)
}

// buildRepositories are the repositories of indexes that were loaded.
func buildRepositories(indexes []*repository.Index) []distro.Repository {
	out := make([]distro.Repository, len(indexes))
	for i, ix := range indexes {
		out[i] = distro.Repository{Index: ix, SHA256: ix.SHA256, URL: ix.URL, Tag: ix.Source().Tag}
	}
	return out
}

// graphProgress shows a build of many: on a terminal one line that is rewritten
// and a line that stays for each failure, otherwise a line for each definition
// that was not current.
type graphProgress struct{ *progress }

// event is called by one goroutine at a time.
func (p *graphProgress) event(e distro.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return
	}
	if line := eventLine(e, p.a.verbose); line != "" && (!p.live || e.Status == distro.Failed) {
		if p.shown {
			fmt.Fprint(p.a.std.err, "\r\x1b[K")
		}
		fmt.Fprintln(p.a.std.err, line)
	}
	if p.live {
		p.draw(stateLine(e))
	}
}

// eventLine says what happened to one definition; empty for what is not worth a
// line.
func eventLine(e distro.Event, verbose bool) string {
	switch e.Status {
	case "":
		if verbose {
			return fmt.Sprintf("%s: building: %s: log %s", e.Name, e.Reason, e.Log)
		}
	case distro.Built, distro.Unchanged:
		return fmt.Sprintf("%s: %s in %s (%s)", e.Name, e.Status, tookText(e.Took), countText(e))
	case distro.Failed:
		return fmt.Sprintf("%s: failed: %s\n  log: %s", e.Name, strings.ReplaceAll(e.Err.Error(), "\n", "\n  "), e.Log)
	case distro.Blocked:
		return fmt.Sprintf("%s: blocked: %s", e.Name, e.Reason)
	case distro.Current:
		if verbose {
			return e.Name + ": current"
		}
	}
	return ""
}

func countText(e distro.Event) string {
	text := fmt.Sprintf("%d of %d", e.Done, e.Total)
	if e.Left > 0 {
		text += ", about " + tookText(e.Left) + " left"
	}
	return text
}

// stateLine says how the run is going.
func stateLine(e distro.Event) string {
	line := countText(e)
	if len(e.Running) > 0 {
		line += ": building " + strings.Join(e.Running, ", ")
	}
	return line
}

// tookText spells a duration for people: 1.5 s, 42 s, 3 min, 2 h 5 min.
func tookText(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 9.95:
		return fmt.Sprintf("%.1f s", s)
	case s < 119.5:
		return fmt.Sprintf("%.0f s", s)
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}
