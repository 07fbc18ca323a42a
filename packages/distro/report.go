package distro

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/cairn-dev/cairn/packages/graph"
)

// Report says what became of a run.
type Report struct {
	Arch string `json:"arch"`
	// Counts are how many definitions have each status.
	Counts map[Status]int `json:"counts"`
	// Builds are all definitions by name.
	Builds []*Result `json:"builds"`
	// Cycles are the builds that needed each other, with the packages that were
	// taken from elsewhere for that.
	Cycles []graph.Cycle `json:"cycles"`
	// Seconds is how long it took.
	Seconds float64 `json:"seconds"`
}

// Result is what became of one definition.
type Result struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Status Status `json:"status"`
	// Reason says why it was built, or what it is blocked by.
	Reason string `json:"reason,omitempty"`
	// Packages are the files in the repository's directory.
	Packages []string `json:"packages,omitempty"`
	Seconds  float64  `json:"seconds,omitempty"`
	// Log is the file with what the build printed.
	Log   string `json:"log,omitempty"`
	Error string `json:"error,omitempty"`
	Err   error  `json:"-"`
}

func (r *run) report() *Report {
	out := &Report{Arch: r.o.Arch, Counts: map[Status]int{}, Builds: []*Result{}, Cycles: r.plan.Cycles}
	for i, res := range r.results {
		if res == nil {
			b := r.plan.jobs[i].build
			res = &Result{Name: b.Package.Name, File: b.File, Status: NotBuilt}
		}
		out.Counts[res.Status]++
		out.Builds = append(out.Builds, res)
	}
	return out
}

func (r *Report) err(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if n := len(r.Builds) - r.Counts[Built] - r.Counts[Unchanged] - r.Counts[Current]; n > 0 {
		return fmt.Errorf("%s: %w: %s", r.Arch, ErrFailed, r.Summary())
	}
	return nil
}

// statuses are in the order in which people are told of them.
var statuses = []Status{Built, Unchanged, Current, Failed, Blocked, NotBuilt}

// Summary is one line with how many there are of each status.
func (r *Report) Summary() string {
	text := ""
	for _, s := range statuses {
		if n := r.Counts[s]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, s)
		}
	}
	if text == "" {
		return "nothing to build"
	}
	return text[2:]
}

// Text writes the report for people: a line for each definition that is not
// current, and the summary.
func (r *Report) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, b := range r.Builds {
		if b.Status == Current {
			continue
		}
		why := b.Reason
		if b.Status == Failed {
			why = "see " + b.Log
		}
		took := "-"
		if b.Seconds > 0 {
			took = fmt.Sprintf("%.1f s", b.Seconds)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", b.Name, b.Status, took, why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", r.Arch, r.Summary())
	return err
}
