package distro

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/repository"
)

// step brings one job to its end: finds out whether it is current, or builds it.
func (r *run) step(ctx context.Context, j *job) settlement {
	s := settlement{job: j}
	rec, err := r.advance(ctx, j, &s.result)
	switch {
	case err == nil:
		s.record = rec
		for _, m := range rec.Packages {
			s.result.Packages = append(s.result.Packages, m.file())
		}
	case ctx.Err() != nil:
		s.result.Status, s.result.Reason = NotBuilt, "stopped"
	default:
		s.result.Status, s.result.Err, s.result.Error = Failed, err, err.Error()
	}
	return s
}

func (r *run) advance(ctx context.Context, j *job, res *Result) (*record, error) {
	now, env, err := r.examine(ctx, j)
	if err != nil {
		return nil, err
	}
	var was []made
	if j.last != nil {
		was = slices.Clone(j.last.Packages)
	}
	reason, err := r.reason(ctx, j.last, now)
	if err != nil {
		return nil, err
	}
	if reason == "" {
		res.Status = Current
		now.Packages, now.Output, now.Seconds = j.last.Packages, j.last.Output, j.last.Seconds
		if now.Request == j.last.Request && slices.Equal(was, now.Packages) {
			return now, r.keep(ctx, now)
		}
		return now, errors.Join(r.keep(ctx, now), r.state.write(now))
	}
	if env == nil {
		if env, err = r.environment(ctx, j); err != nil {
			return nil, err
		}
	}
	res.Reason = reason
	r.begin(j, reason)
	start := r.o.Now()
	err = r.build(ctx, j, env, now)
	now.Seconds = r.o.Now().Sub(start).Seconds()
	res.Seconds = now.Seconds
	if err != nil {
		return nil, err
	}
	res.Status = Built
	if j.last != nil && j.last.Output == now.Output {
		res.Status = Unchanged
	}
	return now, r.state.write(now)
}

// examine finds out what a build depends on now. The environment is nil when it
// was not solved, because nothing that it is solved from changed.
func (r *run) examine(ctx context.Context, j *job) (*record, []Input, error) {
	now := &record{Format: recordFormat, Name: j.build.Package.Name}
	var err error
	if now.Parts.Definition, err = definitionDigest(j.build); err != nil {
		return nil, nil, err
	}
	if now.Parts.Inputs, err = r.builder.Inputs(ctx, j.build); err != nil {
		return nil, nil, err
	}
	now.Parts.Builder = r.builder.ID()
	now.Request = r.requestDigest(j)
	var env []Input
	if j.last != nil && j.last.Request == now.Request {
		now.Environment = j.last.Environment
	} else {
		if env, err = r.environment(ctx, j); err != nil {
			return nil, nil, err
		}
		now.Environment = r.members(env)
	}
	now.Parts.Environment = environmentDigest(now.Environment)
	return now, env, nil
}

// reason says why a build is needed; empty when it is not.
func (r *run) reason(ctx context.Context, last, now *record) (string, error) {
	switch {
	case last == nil:
		return "not built before", nil
	case last.Parts.Definition != now.Parts.Definition:
		return "the definition changed", nil
	case last.Parts.Inputs != now.Parts.Inputs:
		return "files beside the definition changed", nil
	case last.Parts.Builder != now.Parts.Builder:
		return "the builder changed", nil
	case last.Parts.Environment != now.Parts.Environment:
		return "environment: " + difference(last.Environment, now.Environment), nil
	}
	for i := range last.Packages {
		ok, err := r.intact(ctx, &last.Packages[i])
		if err != nil {
			return "", err
		}
		if !ok {
			return last.Packages[i].file() + " is gone or was altered", nil
		}
	}
	return "", nil
}

// difference names the first package that differs.
func difference(before, now []member) string {
	was := map[string]member{}
	for _, m := range before {
		was[m.Name] = m
	}
	count, text := 0, ""
	say := func(what string) {
		if count++; count == 1 {
			text = what
		}
	}
	for _, m := range now {
		old, ok := was[m.Name]
		delete(was, m.Name)
		switch {
		case !ok:
			say(m.Name + " " + m.Version + " is new")
		case old.Version != m.Version:
			say(m.Name + " " + old.Version + " became " + m.Version)
		case old.ID != m.ID:
			say(m.Name + " changed")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		say(name + " is gone")
	}
	switch count {
	case 0:
		return "the order of installation changed"
	case 1:
		return text
	}
	return fmt.Sprintf("%s, and %d more differences", text, count-1)
}

// intact reports whether a package file is as it was made. A file with the time
// and size of before is not read; one that was, and is the same, gets its new time
// into m.
func (r *run) intact(ctx context.Context, m *made) (bool, error) {
	name := filepath.Join(r.state.packages, m.file())
	fi, err := os.Lstat(name)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != m.Size {
		return false, ctx.Err()
	}
	if fi.ModTime().UnixNano() == m.Modified {
		return true, nil
	}
	sum, err := hashFile(ctx, name)
	if err != nil || sum != m.SHA256 {
		return false, ctx.Err()
	}
	m.Modified = fi.ModTime().UnixNano()
	return true, nil
}

func hashFile(ctx context.Context, name string) (sum apk.SHA256, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		if _, err := io.CopyN(h, f, 4<<20); errors.Is(err, io.EOF) {
			return apk.SHA256(h.Sum(nil)), nil
		} else if err != nil {
			return sum, err
		}
	}
}

// keep makes packages that are current known, and puts those back into the index
// that it lacks.
func (r *run) keep(ctx context.Context, rec *record) error {
	var lost, entries []*apk.Package
	for _, m := range rec.Packages {
		p := r.index[m.file()]
		if p == nil || p.Checksum.String() != m.Checksum {
			entry, _, err := pack.ReadEntry(ctx, filepath.Join(r.state.packages, m.file()))
			if err != nil {
				return err
			}
			p, lost = entry, append(lost, entry)
		}
		entries = append(entries, p)
	}
	if len(lost) > 0 {
		if err := r.update(ctx, func() ([]*apk.Package, error) { return lost, nil }); err != nil {
			return err
		}
	}
	r.know(rec, entries)
	return nil
}

// know lets later builds have packages.
func (r *run) know(rec *record, entries []*apk.Package) {
	r.mu.Lock()
	for _, m := range rec.Packages {
		r.made[m.Name] = m
	}
	r.mu.Unlock()
	for _, p := range entries {
		r.pool.put(p)
	}
}

// update adds packages to the index; add runs while no other writer does.
func (r *run) update(ctx context.Context, add func() ([]*apk.Package, error)) error {
	return repository.UpdateIndex(ctx, r.indexFile(), repository.WriteOptions{Keys: r.o.Keys}, func(have []*apk.Package) ([]*apk.Package, error) {
		added, err := add()
		if err != nil {
			return nil, err
		}
		return pack.Replace(have, added), nil
	})
}

// build runs the builder and publishes what it made.
func (r *run) build(ctx context.Context, j *job, env []Input, rec *record) (err error) {
	name := j.build.Package.Name
	dir, err := os.MkdirTemp(r.work, name+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "packages")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	log, err := os.Create(r.state.log(name))
	if err != nil {
		return err
	}
	files, err := r.builder.Build(ctx, Task{Build: j.build, Environment: env, Dir: out, Log: log})
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	entries, err := r.collect(ctx, j, files, dir, rec)
	if err != nil {
		return err
	}
	if err := r.publish(ctx, files, entries, rec); err != nil {
		return err
	}
	r.know(rec, entries)
	return nil
}

// collect looks at what was built: it must be the packages of the definition.
func (r *run) collect(ctx context.Context, j *job, files []string, dir string, rec *record) ([]*apk.Package, error) {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: "+format, append([]any{j.build.Package.Name, ErrOutput}, args...)...)
	}
	var entries []*apk.Package
	d := newDigest()
	got := map[string]bool{}
	for _, file := range files {
		if !strings.HasPrefix(filepath.Clean(file), dir+string(filepath.Separator)) {
			return nil, wrong("found %s, expected it in %s", file, dir)
		}
		p, _, err := pack.ReadEntry(ctx, file)
		if err != nil {
			return nil, err
		}
		switch {
		case !slices.Contains(j.names, p.Name) || got[p.Name]:
			return nil, wrong("found package %s, expected one each of %s", p.Name, strings.Join(j.names, ", "))
		case p.Version != j.build.Package.FullVersion():
			return nil, wrong("found %s, expected version %s", p.ID(), j.build.Package.FullVersion())
		case p.Arch != r.o.Arch && p.Arch != "noarch":
			return nil, wrong("found %s for %s, expected %s", p.ID(), p.Arch, r.o.Arch)
		}
		got[p.Name] = true
		identity, err := Identity(ctx, file, dir)
		if err != nil {
			return nil, err
		}
		sum, err := hashFile(ctx, file)
		if err != nil {
			return nil, err
		}
		entries = append(entries, p)
		rec.Packages = append(rec.Packages, made{Name: p.Name, Version: p.Version, SHA256: sum, Checksum: p.Checksum.String(), Size: p.Size, Identity: identity})
	}
	for _, name := range j.names {
		if !got[name] {
			return nil, wrong("found no package %s", name)
		}
	}
	slices.SortFunc(rec.Packages, func(a, b made) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range rec.Packages {
		d.add("made", m.Name, m.Identity)
	}
	rec.Output = d.String()
	return entries, nil
}

// publish moves the files into the repository and their entries into its index,
// while no other writer does either.
func (r *run) publish(ctx context.Context, files []string, entries []*apk.Package, rec *record) error {
	return r.update(ctx, func() ([]*apk.Package, error) {
		for i, file := range files {
			name := filepath.Join(r.state.packages, entries[i].Filename())
			if err := os.Chmod(file, 0o644); err != nil {
				return nil, err
			}
			if err := os.Rename(file, name); err != nil {
				return nil, err
			}
			fi, err := os.Lstat(name)
			if err != nil {
				return nil, err
			}
			k := slices.IndexFunc(rec.Packages, func(m made) bool { return m.Name == entries[i].Name })
			rec.Packages[k].Modified = fi.ModTime().UnixNano()
		}
		return entries, nil
	})
}
