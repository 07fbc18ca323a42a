package distro

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
)

var chain = []string{"base", "lib base | lib-dev", "app lib-dev", "other base"}

func run1(t *testing.T, f *fake, o Options, lines ...string) (*Report, error) {
	t.Helper()
	o.Arch = "x86_64"
	return Run(t.Context(), define(t, lines...), f, o)
}

func TestBuildsOnceAndAgainWhatChanged(t *testing.T) {
	changed := func(i int, line string) []string {
		lines := append([]string{}, chain...)
		lines[i] = line
		return lines
	}
	for _, test := range []struct {
		name   string
		lines  []string
		change func(t *testing.T, f *fake, dir string)
		taste  bool
		want   string // builds
		reason string // "name: reason" of one
		status string
	}{
		{name: "nothing", lines: chain, status: "app=current base=current lib=current other=current"},
		{name: "content", lines: changed(0, "base = new"), want: "base lib other", reason: "lib: environment: base changed",
			// What lib and other made is as before, which is why app is not built.
			status: "app=current base=built lib=unchanged other=unchanged"},
		{name: "content that goes through", lines: changed(0, "base = new"), taste: true, want: "app base lib other",
			status: "app=built base=built lib=built other=built"},
		{name: "definition without effect", lines: chain, change: func(_ *testing.T, f *fake, _ string) { f.id = "2" }, want: "app base lib other", reason: "base: the builder changed",
			status: "app=unchanged base=unchanged lib=unchanged other=unchanged"},
		{name: "inputs", lines: chain, change: func(_ *testing.T, f *fake, _ string) { f.inputs = "patch" }, want: "app base lib other", reason: "base: files beside the definition changed",
			status: "app=unchanged base=unchanged lib=unchanged other=unchanged"},
		{name: "new need", lines: changed(3, "other base lib"), want: "other", reason: "other: the definition changed", status: "app=current base=current lib=current other=unchanged"},
		{name: "file is gone", lines: chain, want: "lib", reason: "lib: lib-dev-1.0-r0.apk is gone or was altered", status: "app=current base=current lib=unchanged other=current",
			change: func(t *testing.T, _ *fake, dir string) {
				if err := os.Remove(filepath.Join(dir, "x86_64", "lib-dev-1.0-r0.apk")); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "file was altered", lines: chain, want: "other", reason: "other: other-1.0-r0.apk is gone or was altered", status: "app=current base=current lib=current other=unchanged",
			change: func(t *testing.T, _ *fake, dir string) {
				name := filepath.Join(dir, "x86_64", "other-1.0-r0.apk")
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				b[len(b)-1] ^= 1
				if err := os.WriteFile(name, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "file was touched", lines: chain, status: "app=current base=current lib=current other=current",
			change: func(t *testing.T, _ *fake, dir string) {
				now := time.Now()
				if err := os.Chtimes(filepath.Join(dir, "x86_64", "other-1.0-r0.apk"), now, now); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "index is gone", lines: chain, status: "app=current base=current lib=current other=current",
			change: func(t *testing.T, _ *fake, dir string) {
				if err := os.Remove(filepath.Join(dir, "x86_64", repository.IndexFile)); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "record of another version", lines: chain, want: "other", reason: "other: not built before", status: "app=current base=current lib=current other=built",
			change: func(t *testing.T, _ *fake, dir string) {
				if err := os.WriteFile(filepath.Join(dir, ".cairn", "x86_64", "builds", "other.json"), []byte(`{"format":99,"name":"other"}`), 0o644); err != nil {
					t.Fatal(err)
				}
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			f := &fake{taste: test.taste}
			report, err := run1(t, f, Options{Dir: dir, Jobs: 2}, chain...)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.taken(); got != "app base lib other" {
				t.Fatalf("first run built %s", got)
			}
			if got := report.Summary(); got != "4 built" {
				t.Fatalf("first run: %s", got)
			}
			if test.change != nil {
				test.change(t, f, dir)
			}
			report, err = run1(t, f, Options{Dir: dir, Jobs: 2}, test.lines...)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.taken(); got != test.want {
				t.Errorf("built %q, expected %q", got, test.want)
			}
			if got := text(report); got != test.status {
				t.Errorf("found    %s\nexpected %s", got, test.status)
			}
			name, reason, _ := strings.Cut(test.reason, ": ")
			for _, b := range report.Builds {
				if b.Name == name && b.Reason != reason {
					t.Errorf("%s: reason %q, expected %q", name, b.Reason, reason)
				}
			}
			if got := strings.Join(indexed(t, dir), " "); got != "app-1.0-r0.apk base-1.0-r0.apk lib-1.0-r0.apk lib-dev-1.0-r0.apk other-1.0-r0.apk" {
				t.Errorf("index: %s", got)
			}
			if test.name == "file was touched" {
				m, err := (&state{builds: filepath.Join(dir, ".cairn", "x86_64", "builds")}).read("other")
				fi, statErr := os.Stat(filepath.Join(dir, "x86_64", "other-1.0-r0.apk"))
				if err != nil || statErr != nil || m.Packages[0].Modified != fi.ModTime().UnixNano() {
					t.Errorf("the new time was not recorded: %v, %v", err, statErr)
				}
			}
			if report, err = run1(t, f, Options{Dir: dir}, test.lines...); err != nil || report.Summary() != "4 current" {
				t.Errorf("third run: %v, %v", report.Summary(), err)
			}
		})
	}
}

func TestCommitAloneBuildsNothing(t *testing.T) {
	dir := t.TempDir()
	f := &fake{}
	builds := define(t, "a")
	for i, commit := range []string{"1111", "2222"} {
		builds[0].Package.Commit = commit
		report, err := Run(t.Context(), builds, f, Options{Dir: dir, Arch: "x86_64"})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"a=built", "a=current"}[i]; text(report) != want {
			t.Errorf("found %s, expected %s", text(report), want)
		}
	}
}

func TestFailureStopsOnlyDependants(t *testing.T) {
	dir := t.TempDir()
	f := &fake{fail: map[string]bool{"lib": true}}
	report, err := run1(t, f, Options{Dir: dir, Jobs: 2}, append(chain, "top app", "free")...)
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("found %v, expected ErrFailed", err)
	}
	if got, want := text(report), "app=blocked base=built free=built lib=failed other=built top=blocked"; got != want {
		t.Errorf("found    %s\nexpected %s", got, want)
	}
	if got := report.Builds[5].Reason; got != "needs lib" {
		t.Errorf("reason %q", got)
	}
	log, err := os.ReadFile(report.Builds[3].Log)
	if err != nil || string(log) != "building lib\n" {
		t.Errorf("log %q, %v", log, err)
	}
	if got := report.Builds[3].Error; got != "lib: step 1: exit status 1" {
		t.Errorf("error %q", got)
	}
	f.taken()
	f.fail = nil
	if _, err = run1(t, f, Options{Dir: dir}, append(chain, "top app", "free")...); err != nil {
		t.Fatal(err)
	}
	if got := f.taken(); got != "app lib top" {
		t.Errorf("afterwards built %s", got)
	}
}

func TestStopAtFailure(t *testing.T) {
	f := &fake{fail: map[string]bool{"a": true}}
	report, err := run1(t, f, Options{Dir: t.TempDir(), StopAtFailure: true}, "a", "b", "c")
	if !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if got, want := text(report), "a=failed b=not built c=not built"; got != want {
		t.Errorf("found %s, expected %s", got, want)
	}
}

func TestCycles(t *testing.T) {
	lines := []string{"cc libc shell", "libc cc", "shell cc libc", "app cc"}
	_, err := run1(t, &fake{}, Options{Dir: t.TempDir()}, lines...)
	if !errors.Is(err, ErrSeed) || !strings.Contains(err.Error(), "cc, libc, shell: ") || !strings.Contains(err.Error(), "no repository has cc") {
		t.Errorf("without a seed: %v", err)
	}
	dir := t.TempDir()
	f := &fake{taste: true}
	o := Options{Dir: dir, Jobs: 2, Repositories: []Repository{seeds(t, "cc", "libc=7-r0", "unused")}}
	for round := range 2 {
		report, err := run1(t, f, o, lines...)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"4 built", "4 current"}[round]
		if report.Summary() != want {
			t.Errorf("round %d: %s, expected %s", round, report.Summary(), want)
		}
	}
	for name, want := range map[string]string{
		"libc":  "cc-0.1-r0@0",
		"shell": "cc-0.1-r0@0 libc-1.0-r0@here", // 7 is newer, but libc was built before
		"cc":    "libc-1.0-r0@here shell-1.0-r0@here",
		"app":   "cc-1.0-r0@here",
	} {
		if got := f.environment(name); got != want {
			t.Errorf("%s was built with %s, expected %s", name, got, want)
		}
	}
	// A seed that changes is a change of what was built with it.
	f.taken()
	o.Repositories = []Repository{seeds(t, "cc=0.2-r0", "libc")}
	report, err := run1(t, f, o, lines...)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Builds[2].Reason; got != "environment: cc 0.1-r0 became 0.2-r0" {
		t.Errorf("reason %q", got)
	}
}

// The seeds are chosen among what there is.
func TestOtherSeeds(t *testing.T) {
	f := &fake{}
	_, err := run1(t, f, Options{Dir: t.TempDir(), Repositories: []Repository{seeds(t, "libc")}}, "cc libc", "libc cc")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.environment("cc"); got != "libc-0.1-r0@0" {
		t.Errorf("cc was built with %s", got)
	}
}

// What a build sees does not depend on what an earlier run, or a faster build,
// left there.
func TestSeesOnlyWhatIsBefore(t *testing.T) {
	dir := t.TempDir()
	f := &fake{}
	o := Options{Dir: dir, Repositories: []Repository{seeds(t, "tool")}}
	if _, err := run1(t, f, o, "a", "b a", "tool b"); err != nil {
		t.Fatal(err)
	}
	// Now b needs tool, which is a cycle: the tool of the first run is not taken.
	if _, err := run1(t, f, o, "a", "b a tool", "tool b"); err != nil {
		t.Fatal(err)
	}
	if got := f.environment("b"); got != "a-1.0-r0@here tool-0.1-r0@0" {
		t.Errorf("b was built with %s", got)
	}
}

// A repository that one definition brings is not there for others.
func TestRepositoryOfOneDefinition(t *testing.T) {
	own, all := seeds(t, "tool"), seeds(t, "base")
	own.For = "a"
	f := &fake{}
	report, err := run1(t, f, Options{Dir: t.TempDir(), Repositories: []Repository{own, all}}, "a tool base", "b tool", "c base")
	if !errors.Is(err, ErrFailed) || text(report) != "a=built b=failed c=built" {
		t.Fatalf("%s, %v", text(report), err)
	}
	if a, c := f.environment("a"), f.environment("c"); a != "base-0.1-r0@1 tool-0.1-r0@0" || c != "base-0.1-r0@1" {
		t.Errorf("a was built with %s, c with %s", a, c)
	}
}

func TestRuntimeNeedsAreInEnvironment(t *testing.T) {
	f := &fake{}
	if _, err := run1(t, f, Options{Dir: t.TempDir(), Jobs: 4}, "app lib", "lib +base", "base"); err != nil {
		t.Fatal(err)
	}
	if got := f.environment("app"); got != "base-1.0-r0@here lib-1.0-r0@here" {
		t.Errorf("app was built with %s", got)
	}
}

func TestMissingNeedFailsItsBuild(t *testing.T) {
	report, err := run1(t, &fake{}, Options{Dir: t.TempDir()}, "a nowhere", "b")
	if !errors.Is(err, ErrFailed) || text(report) != "a=failed b=built" {
		t.Fatalf("%s, %v", text(report), err)
	}
	var missing *solve.MissingError
	if !errors.As(report.Builds[0].Err, &missing) || missing.Name != "nowhere" {
		t.Errorf("found %v, expected a MissingError", report.Builds[0].Err)
	}
}

func TestJobs(t *testing.T) {
	for _, jobs := range []int{1, 3} {
		f := &fake{delay: 30 * time.Millisecond}
		if _, err := run1(t, f, Options{Dir: t.TempDir(), Jobs: jobs}, "a", "b", "c", "d", "e", "f"); err != nil {
			t.Fatal(err)
		}
		if f.most != jobs {
			t.Errorf("%d builds at a time, expected %d", f.most, jobs)
		}
	}
}

func TestBuilderMadeSomethingElse(t *testing.T) {
	for _, test := range []struct {
		name, want string
		make       func(t Task, p apk.Package) ([]byte, bool)
	}{
		{"none", "found no package a-dev", func(_ Task, p apk.Package) ([]byte, bool) { return nil, p.Name == "a" }},
		{"other name", "found package x, expected one each of a, a-dev", func(_ Task, p apk.Package) ([]byte, bool) {
			p.Name = "x"
			return packed(p, ""), true
		}},
		{"twice", "found package a, expected", func(_ Task, p apk.Package) ([]byte, bool) {
			p.Name = "a"
			return packed(p, ""), true
		}},
		{"other version", "found a-2-r0, expected version 1.0-r0", func(_ Task, p apk.Package) ([]byte, bool) {
			p.Version = "2-r0"
			return packed(p, ""), true
		}},
		{"other architecture", "found a-1.0-r0 for armhf, expected x86_64", func(_ Task, p apk.Package) ([]byte, bool) {
			p.Arch = "armhf"
			return packed(p, ""), true
		}},
		{"no package", "a.apk: ", func(Task, apk.Package) ([]byte, bool) { return []byte("x"), true }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			report, err := run1(t, &fake{make: test.make}, Options{Dir: dir}, "a | a-dev")
			if !errors.Is(err, ErrFailed) || !strings.Contains(report.Builds[0].Error, test.want) {
				t.Errorf("found %q, expected %q in it", report.Builds[0].Error, test.want)
			}
			left, err := os.ReadDir(filepath.Join(dir, "x86_64"))
			if err != nil || len(left) != 0 {
				t.Errorf("left in the repository: %v, %v", left, err)
			}
			work, err := os.ReadDir(filepath.Join(dir, ".cairn", "x86_64", "work"))
			if err != nil || len(work) != 1 {
				t.Errorf("left to work on: %v, %v", work, err)
			}
		})
	}
}

func TestIndexIsSigned(t *testing.T) {
	dir := t.TempDir()
	key := apktest.NewKey("me.rsa.pub")
	signing := repository.SigningKey{Name: "me.rsa.pub", Private: key.Private}
	public, err := signing.Public()
	if err != nil {
		t.Fatal(err)
	}
	signed := func() error {
		f, err := os.Open(filepath.Join(dir, "x86_64", repository.IndexFile))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, err = repository.ReadIndex(f, repository.ReadOptions{Keyring: repository.NewKeyring(public)})
		return err
	}
	if _, err := run1(t, &fake{}, Options{Dir: dir}, "a"); err != nil {
		t.Fatal(err)
	}
	if signed() == nil {
		t.Fatal("signed without a key")
	}
	for range 2 {
		report, err := run1(t, &fake{}, Options{Dir: dir, Keys: []repository.SigningKey{signing}}, "a")
		if err != nil || text(report) != "a=current" {
			t.Fatalf("%s, %v", text(report), err)
		}
		if err := signed(); err != nil {
			t.Error(err)
		}
	}
}

func TestProgress(t *testing.T) {
	dir := t.TempDir()
	clock := time.Unix(0, 0)
	var mu sync.Mutex
	now := func() time.Time { // every look takes a second
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Second)
		return clock
	}
	var lines []string
	o := Options{Dir: dir, Now: now, Progress: func(e Event) {
		lines = append(lines, fmt.Sprintf("%s %s %d/%d running %v left %v", e.Name, e.Status, e.Done, e.Total, e.Running, e.Left > 0))
	}}
	f := &fake{fail: map[string]bool{"bad": true}}
	if _, err := run1(t, f, o, "bad", "z bad", "ok"); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	want := []string{
		"bad  0/3 running [bad] left false",
		"bad failed 1/3 running [] left false",
		"z blocked 2/3 running [] left false",
		"ok  2/3 running [ok] left false",
		"ok built 3/3 running [] left false",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("found\n%s\nexpected\n%s", got, strings.Join(want, "\n"))
	}
	lines = nil
	f.fail = nil
	var left time.Duration
	o.Progress = func(e Event) {
		if e.Name == "bad" && e.Status == "" {
			left = e.Left
		}
	}
	if _, err := run1(t, f, o, "bad", "z bad", "ok"); err != nil {
		t.Fatal(err)
	}
	// ok took two looks at the clock; bad and z are taken to be as long.
	if left < 2*time.Second || left > 8*time.Second {
		t.Errorf("left %v, expected some seconds", left)
	}
}

func TestCancelledRunGoesOn(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{delay: 5 * time.Millisecond}
	o := Options{Dir: dir, Arch: "x86_64", Jobs: 1, Progress: func(e Event) {
		if e.Status == Built && e.Done == 3 {
			cancel()
		}
	}}
	lines := []string{"a", "b a", "c b", "d c", "e d", "f e"}
	report, err := Run(ctx, define(t, lines...), f, o)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("found %v, expected context.Canceled", err)
	}
	if got, want := text(report), "a=built b=built c=built d=not built e=not built f=not built"; got != want {
		t.Errorf("found %s\nexpected %s", got, want)
	}
	f.taken()
	o.Progress = nil
	if _, err := Run(t.Context(), define(t, lines...), f, o); err != nil {
		t.Fatal(err)
	}
	if got := f.taken(); got != "d e f" {
		t.Errorf("went on with %s, expected d e f", got)
	}
}

// many are definitions in twenty groups of five that wait for each other.
func many(prefix string) []string {
	var lines []string
	for i := range 20 {
		need := ""
		if i%5 > 0 {
			need = fmt.Sprintf("%s%d", prefix, i-1)
		}
		lines = append(lines, fmt.Sprintf("%s%d %s", prefix, i, need))
	}
	return lines
}

// The test's own program is what is killed: see TestMain.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DISTRO_TEST_DIR"); dir != "" {
		t := &testing.T{}
		f := &fake{delay: 10 * time.Millisecond}
		_, err := Run(context.Background(), define(t, many(os.Getenv("DISTRO_TEST_PREFIX"))...), f, Options{Dir: dir, Arch: "x86_64", Jobs: 2,
			Progress: func(e Event) { fmt.Println(e.Name, e.Status) }})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func process(t *testing.T, dir, prefix string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "DISTRO_TEST_DIR="+dir, "DISTRO_TEST_PREFIX="+prefix)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestKilledRunGoesOn(t *testing.T) {
	dir := t.TempDir()
	for round, after := range []time.Duration{60 * time.Millisecond, 90 * time.Millisecond, 40 * time.Millisecond} {
		cmd := process(t, dir, "k")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	// What the killed runs finished is not built again.
	records, err := filepath.Glob(filepath.Join(dir, ".cairn", "x86_64", "builds", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	report, err := run1(t, f, Options{Dir: dir, Jobs: 2}, many("k")...)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Counts[Current]; got != len(records) {
		t.Errorf("%d current, expected the %d that were recorded", got, len(records))
	}
	if got := len(indexed(t, dir)); got != 20 {
		t.Errorf("%d packages in the index, expected 20", got)
	}
	work, err := os.ReadDir(filepath.Join(dir, ".cairn", "x86_64", "work"))
	if err != nil || len(work) != 1 {
		t.Errorf("left to work on: %v, %v", work, err)
	}
}

// Eight runs make twenty packages each in one repository; all are in its index,
// and a ninth finds everything current.
func TestMelangeDefect_ParallelBuildsLoseEntries(t *testing.T) {
	dir := t.TempDir()
	var all []*definition.Build
	var wg sync.WaitGroup
	for i := range 8 {
		prefix := fmt.Sprintf("p%d-", i)
		all = append(all, define(t, many(prefix)...)...)
		cmd := process(t, dir, prefix)
		wg.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(indexed(t, dir)); got != 160 {
		t.Errorf("%d packages in the index, expected 160", got)
	}
	report, err := Run(t.Context(), all, &fake{}, Options{Dir: dir, Arch: "x86_64"})
	if err != nil || report.Summary() != "160 current" {
		t.Errorf("%s, %v", report.Summary(), err)
	}
}

// A package of the same version elsewhere does not take the place of what was
// built.
func TestBuiltWinsOverTheSameVersionElsewhere(t *testing.T) {
	f := &fake{}
	o := Options{Dir: t.TempDir(), Repositories: []Repository{seeds(t, "lib=1.0-r0", "tool")}}
	if _, err := run1(t, f, o, "lib", "app lib tool<1", "tool"); err != nil {
		t.Fatal(err)
	}
	// Where the request wants another version than the one built, it gets it.
	if got := f.environment("app"); got != "lib-1.0-r0@here tool-0.1-r0@0" {
		t.Errorf("app was built with %s", got)
	}
}
