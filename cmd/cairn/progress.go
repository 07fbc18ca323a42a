package main

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/cairn-dev/cairn/packages"
)

// progress shows what a command is doing: one line that is rewritten on a
// terminal, a line per stage otherwise, nothing with --quiet.
type progress struct {
	a    *app
	live bool
	off  bool

	mu      sync.Mutex
	shown   bool
	stageOf string
	total   int64
	done    int64
	fetched int64 // bytes
	reused  int64 // packages
}

func newProgress(a *app) *progress {
	p := &progress{a: a, off: a.quiet || a.progress == "none"}
	if f, ok := a.std.err.(*os.File); ok && a.progress == "auto" && !a.verbose {
		p.live = term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
	}
	return p
}

func (p *progress) stage(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stageOf = name
	switch {
	case p.off:
	case p.live:
		p.draw(name + "…")
	case p.a.verbose:
		fmt.Fprintf(p.a.std.err, "%s\n", name)
	}
}

func (p *progress) event(e packages.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Kind {
	case packages.PackagesChosen:
		p.total += e.Bytes
	case packages.PackageReady:
		p.done++
		if e.Reused {
			p.reused++
		} else {
			p.fetched += e.Bytes
		}
	}
	switch {
	case p.off:
	case p.live && e.Kind == packages.PackageReady:
		p.draw(fmt.Sprintf("%s: %d of %d packages, %s fetched: %s", p.stageOf, p.done, max(p.total, p.done), bytesText(p.fetched), e.Subject))
	case p.a.verbose && !p.live:
		p.line(e)
	}
}

func (p *progress) line(e packages.Event) {
	switch e.Kind {
	case packages.IndexLoaded:
		fmt.Fprintf(p.a.std.err, "index %s (%s): %s\n", e.Subject, e.Arch, bytesText(e.Bytes))
	case packages.PackageReady:
		how := "fetched"
		if e.Reused {
			how = "in store"
		}
		fmt.Fprintf(p.a.std.err, "package %s (%s): %s, %s\n", e.Subject, e.Arch, bytesText(e.Bytes), how)
	}
}

// draw rewrites the line; the text is cut to the width of the terminal.
func (p *progress) draw(text string) {
	width := 80
	if f, ok := p.a.std.err.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 10 {
			width = w
		}
	}
	if r := []rune(text); len(r) >= width {
		text = string(r[:width-1])
	}
	fmt.Fprintf(p.a.std.err, "\r\x1b[K%s", text)
	p.shown = true
}

// stop clears the line. It may be called more than once.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.a.std.err, "\r\x1b[K")
		p.shown = false
	}
	p.off = true
}
