package buildkit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fake is a daemon that can be lost.
type fake struct {
	mu   sync.Mutex
	lost bool
	jobs []string
	do   func(f *fake, j Job) error
}

var errGone = errors.New("connection refused")

func (f *fake) ping(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost {
		return errGone
	}
	return nil
}

func (f *fake) run(_ context.Context, j Job) error {
	f.mu.Lock()
	f.jobs = append(f.jobs, j.Image)
	f.mu.Unlock()
	if f.do != nil {
		return f.do(f, j)
	}
	_, err := j.Out.Write([]byte("result"))
	return err
}

func (f *fake) Close() error { return nil }

func (f *fake) lose() { f.mu.Lock(); f.lost = true; f.mu.Unlock() }

func workersOf(t *testing.T, fakes map[string]*fake) (*Workers, error) {
	t.Helper()
	var addresses []string
	for a := range fakes {
		addresses = append(addresses, a)
	}
	slices.Sort(addresses)
	return connect(t.Context(), addresses, func(_ context.Context, a string) (daemon, error) { return fakes[a], nil })
}

func out(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestLostDaemonsJobGoesOnElsewhere(t *testing.T) {
	a, b := &fake{}, &fake{}
	a.do = func(f *fake, j Job) error {
		_, _ = j.Out.Write([]byte("half of a result that is longer"))
		f.lose()
		return errors.New("unexpected EOF")
	}
	w, err := workersOf(t, map[string]*fake{"a": a, "b": b})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	file := out(t)
	if err := w.Run(t.Context(), Job{Out: file, Log: &log}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file.Name()); string(got) != "result" {
		t.Errorf("result %q", got)
	}
	if !strings.Contains(log.String(), "buildkit a: stopped answering") {
		t.Errorf("log %q", log.String())
	}
	if got := w.Lost(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("lost %v", got)
	}
	if err := w.Run(t.Context(), Job{Out: out(t)}); err != nil || len(a.jobs) != 1 {
		t.Errorf("the lost daemon got %d jobs, %v", len(a.jobs), err)
	}
}

func TestFailedStepIsNotTriedAgain(t *testing.T) {
	a, b := &fake{}, &fake{}
	a.do = func(*fake, Job) error { return ErrJob }
	w, err := workersOf(t, map[string]*fake{"a": a, "b": b})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context(), Job{Out: out(t)}); !errors.Is(err, ErrJob) || len(b.jobs) != 0 {
		t.Errorf("found %v with %d jobs elsewhere, expected ErrJob and none", err, len(b.jobs))
	}
}

func TestNoDaemon(t *testing.T) {
	a, b := &fake{lost: true}, &fake{lost: true}
	if _, err := workersOf(t, map[string]*fake{"a": a, "b": b}); !errors.Is(err, ErrWorkers) || !errors.Is(err, errGone) || !strings.Contains(err.Error(), "b: connection refused") {
		t.Errorf("found %v, expected ErrWorkers and why", err)
	}
	b.lost = false
	w, err := workersOf(t, map[string]*fake{"a": a, "b": b})
	if err != nil {
		t.Fatal(err)
	}
	b.do = func(f *fake, _ Job) error { f.lose(); return errGone }
	if err := w.Run(t.Context(), Job{Out: out(t)}); !errors.Is(err, ErrWorkers) {
		t.Errorf("found %v, expected ErrWorkers", err)
	}
	a.lost = false // it is back
	if err := w.Run(t.Context(), Job{Out: out(t)}); err != nil {
		t.Error(err)
	}
}

func TestJobsAreShared(t *testing.T) {
	fakes := map[string]*fake{}
	start := make(chan struct{})
	var arrived sync.WaitGroup
	arrived.Add(6)
	for _, name := range []string{"a", "b", "c"} {
		fakes[name] = &fake{do: func(*fake, Job) error { arrived.Done(); <-start; return nil }}
	}
	w, err := workersOf(t, fakes)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			if err := w.Run(t.Context(), Job{}); err != nil {
				t.Error(err)
			}
		})
	}
	arrived.Wait()
	close(start)
	group.Wait()
	for name, f := range fakes {
		if len(f.jobs) != 2 {
			t.Errorf("%s got %d jobs, expected 2", name, len(f.jobs))
		}
	}
}

func TestDefinitionRefused(t *testing.T) {
	_, err := solve(t.Context(), Job{Image: "sha256:" + strings.Repeat("0", 64), Arch: "amd64", Steps: []Step{{Args: []string{"x"}, Env: []string{"A"}}}})
	if err == nil || !strings.Contains(err.Error(), `step 1: variable "A": expected NAME=VALUE`) {
		t.Errorf("found %v", err)
	}
}
