package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/klauspost/compress/gzip"
)

// usage is what one run cost, as the operating system accounts it.
type usage struct {
	wall, user, sys time.Duration
	rss             int64 // peak, bytes
	written         int64 // to the file system, bytes
}

func (u usage) cpu() time.Duration { return u.user + u.sys }

// execute runs a program to its end.
func execute(ctx context.Context, name string, args ...string) (usage, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	r := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{
		wall: wall, user: cmd.ProcessState.UserTime(), sys: cmd.ProcessState.SystemTime(),
		rss: r.Maxrss * 1024, written: r.Oublock * 512,
	}, nil
}

// serve offers a directory on a loopback port.
func serve(dir string) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	return "http://" + l.Addr().String(), func() { _ = s.Close() }, nil
}

// referencePass does, on one goroutine, what no assembler can avoid: SHA-256 of
// the compressed bytes, inflation, SHA-256 of the inflated bytes.
func referencePass(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "x86_64", "*.apk"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s: no packages", dir)
	}
	for _, name := range files {
		if err := passOver(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func passOver(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	compressed, inflated := sha256.New(), sha256.New()
	z, err := gzip.NewReader(io.TeeReader(f, compressed))
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{inflated}, struct{ io.Reader }{z}, make([]byte, 256<<10))
	return err
}

func repositorySize(dir string) (size int64, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "x86_64", "*.apk"))
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil {
			return 0, err
		}
		size += fi.Size()
	}
	return size, err
}

// report collects the runs of one case.
type report struct {
	name       string
	packages   int
	compressed int64
	reference  usage
	cold, warm map[string]usage
}

func newReport(name string, packages int, compressed int64, reference usage) *report {
	return &report{name, packages, compressed, reference, map[string]usage{}, map[string]usage{}}
}

func (r *report) add(tool string, cold, warm usage) { r.cold[tool], r.warm[tool] = cold, warm }

func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d requested packages, repository of %.0f MB compressed; one pass of sha256+inflate+sha256: %.2f s CPU\n",
		r.name, r.packages, mb(r.compressed), r.reference.cpu().Seconds())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tcairn\tapko\tratio apko/cairn\t")
	for _, run := range []struct {
		name string
		of   map[string]usage
	}{{"cold", r.cold}, {"warm", r.warm}} {
		c, a := run.of["cairn"], run.of["apko"]
		row(t, run.name+" wall s", c.wall.Seconds(), a.wall.Seconds())
		row(t, run.name+" cpu s", c.cpu().Seconds(), a.cpu().Seconds())
		row(t, run.name+" peak MB", mb(c.rss), mb(a.rss))
		row(t, run.name+" written MB", mb(c.written), mb(a.written))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	c := r.cold["cairn"]
	_, err := fmt.Fprintf(w, "cairn cold: %.2f × the reference pass in CPU, %.2f × the compressed size written\n\n",
		c.cpu().Seconds()/r.reference.cpu().Seconds(), float64(c.written)/float64(r.compressed))
	return err
}

func row(w io.Writer, name string, cairn, apko float64) {
	ratio := "-"
	if cairn > 0 {
		ratio = fmt.Sprintf("%.1f", apko/cairn)
	}
	fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%s\t\n", name, cairn, apko, ratio)
}

func mb(n int64) float64 { return float64(n) / 1e6 }
