package distro

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/repository"
)

// Run builds what is not current of the definitions, which were compiled for
// o.Arch. The report is there also when the error is [ErrFailed] or that of a
// context that ended; what was finished then stays, and another run goes on from
// there.
//
// Several runs may have one directory at the same time; what both build is there
// as the last one made it.
func Run(ctx context.Context, builds []*definition.Build, builder Builder, o Options) (_ *Report, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	start := o.Now()
	plan, err := NewPlan(builds, o.Repositories)
	if err != nil {
		return nil, err
	}
	r := &run{o: o, builder: builder, plan: plan, pool: newPool(), indexes: indexDigests(o.Repositories), made: map[string]made{}, index: map[string]*apk.Package{}, began: map[string]time.Time{}}
	if r.state, err = newState(o.Dir, o.Arch); err != nil {
		return nil, err
	}
	work, end, err := r.state.workspace(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	r.work = work
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	r.loop(ctx)
	report := r.report()
	report.Seconds = o.Now().Sub(start).Seconds()
	return report, report.err(ctx)
}

// run is one call of [Run].
type run struct {
	o       Options
	builder Builder
	plan    *Plan
	state   *state
	work    string
	pool    *pool
	known   bool // how long builds took the last time
	index   map[string]*apk.Package
	indexes []string // digests of the other repositories

	mu      sync.Mutex // of what follows
	made    map[string]made
	began   map[string]time.Time
	results []*Result // by job; nil is not settled
	settled int
}

// indexFile is the repository's index.
func (r *run) indexFile() string { return filepath.Join(r.state.packages, repository.IndexFile) }

// load reads what earlier runs left.
func (r *run) load(ctx context.Context) error {
	if err := r.loadIndex(ctx); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, j := range r.plan.jobs {
		for _, name := range j.names {
			r.pool.reserve(i, name)
		}
		g.Go(func() (err error) {
			j.last, err = r.state.read(j.build.Package.Name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("repository %s: %w", r.o.Dir, err)
	}
	r.known = r.plan.weigh()
	r.results = make([]*Result, len(r.plan.jobs))
	return nil
}

// loadIndex reads the index, which is signed again when it is not signed by the
// keys.
func (r *run) loadIndex(ctx context.Context) error {
	b, err := os.ReadFile(r.indexFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ix, err := repository.ReadIndex(bytes.NewReader(b), repository.ReadOptions{UnsafeUnsigned: true})
	if err != nil {
		return fmt.Errorf("%s: %w", r.indexFile(), err)
	}
	for i := range ix.Len() {
		p := ix.Package(i)
		r.index[p.Filename()] = p
	}
	var ring []repository.Key
	for _, k := range r.o.Keys {
		public, err := k.Public()
		if err != nil {
			return err
		}
		ring = append(ring, public)
	}
	if len(ring) == 0 {
		return nil
	}
	if _, err := repository.ReadIndex(bytes.NewReader(b), repository.ReadOptions{Keyring: repository.NewKeyring(ring...)}); err == nil {
		return nil
	}
	return r.update(ctx, func() ([]*apk.Package, error) { return nil, nil })
}

// settlement is the end of a job's step.
type settlement struct {
	job    *job
	result Result
	record *record
}

// loop starts jobs, those with the longest way behind them first, and settles
// them.
func (r *run) loop(ctx context.Context) {
	var ready []*job
	for _, j := range r.plan.jobs {
		if j.missing == 0 {
			ready = append(ready, j)
		}
	}
	slices.SortFunc(ready, first)
	done := make(chan settlement)
	stop := false
	for running := 0; ; running-- {
		for ; running < max(1, r.o.Jobs) && len(ready) > 0 && !stop && ctx.Err() == nil; running++ {
			j := ready[0]
			ready = ready[1:]
			go func() { done <- r.step(ctx, j) }()
		}
		if running == 0 {
			return
		}
		s := <-done
		r.settle(s.job, &s.result)
		if s.record == nil {
			stop = stop || r.o.StopAtFailure
			r.block(s.job)
			continue
		}
		s.job.last, s.job.out = s.record, s.record.Output
		for _, i := range s.job.wakes {
			next := r.plan.jobs[i]
			if next.missing--; next.missing == 0 {
				at, _ := slices.BinarySearchFunc(ready, next, first)
				ready = slices.Insert(ready, at, next)
			}
		}
	}
}

// block settles all that needs a failed build.
func (r *run) block(failed *job) {
	if r.results[failed.index].Status != Failed {
		return // it was stopped
	}
	stack := slices.Clone(failed.wakes)
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if r.results[i] != nil {
			continue
		}
		j := r.plan.jobs[i]
		r.settle(j, &Result{Status: Blocked, Reason: "needs " + failed.build.Package.Name})
		stack = append(stack, j.wakes...)
	}
}

// settle records what became of a job and says so.
func (r *run) settle(j *job, res *Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res.Name, res.File = j.build.Package.Name, j.build.File
	if res.Status == Built || res.Status == Unchanged || res.Status == Failed {
		res.Log = r.state.log(res.Name)
	}
	r.results[j.index] = res
	r.settled++
	delete(r.began, res.Name)
	r.tell(Event{Name: res.Name, Status: res.Status, Reason: res.Reason, Err: res.Err, Log: res.Log, Took: time.Duration(res.Seconds * float64(time.Second))})
}

// begin says that a build starts.
func (r *run) begin(j *job, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := j.build.Package.Name
	r.began[name] = r.o.Now()
	r.tell(Event{Name: name, Reason: reason, Log: r.state.log(name)})
}

// tell completes an event; r.mu is held.
func (r *run) tell(e Event) {
	if r.o.Progress == nil {
		return
	}
	e.Done, e.Total = r.settled, len(r.results)
	for name := range r.began {
		e.Running = append(e.Running, name)
	}
	slices.SortFunc(e.Running, func(a, b string) int {
		return cmp.Or(r.began[a].Compare(r.began[b]), cmp.Compare(a, b))
	})
	if r.known {
		e.Left = r.left()
	}
	r.o.Progress(e)
}

// left estimates the rest.
func (r *run) left() time.Duration {
	now := r.o.Now()
	var sum, way float64
	for i, j := range r.plan.jobs {
		if r.results[i] != nil {
			continue
		}
		ran := 0.0
		if t, ok := r.began[j.build.Package.Name]; ok {
			ran = min(now.Sub(t).Seconds(), j.weight)
		}
		sum += j.weight - ran
		way = max(way, j.tail-ran)
	}
	return time.Duration(max(sum/float64(max(1, r.o.Jobs)), way) * float64(time.Second))
}

func (r *run) madeOf(pkg string) made {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made[pkg]
}
