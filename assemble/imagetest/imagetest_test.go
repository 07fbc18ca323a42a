package imagetest

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/xml"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
	"github.com/cairn-dev/cairn/packages/apk"
)

// example is an image with something to find for every kind of test.
func example() subjecttest.Image {
	return subjecttest.Image{
		Arch: runtime.GOARCH,
		Layers: []subjecttest.Layer{{
			Members: []string{"d usr", "d usr/bin", "f usr/bin/app 0755 program", "l bin usr/bin", "l usr/bin/link app", "l usr/bin/dangling nothing",
				"d etc", "f etc/conf 0640 listen=8080\nuser=app\n", "f etc/passwd 0644 root:x:0:0:root:/root:/bin/sh\napp:x:1000:2000:app:/home/app:/sbin/nologin\n",
				"f etc/group 0644 app:x:2000:\n", "d tmp 1777", "d usr/share/doc/a", "f usr/share/doc/a/copyright 0644 MIT", "d usr/share/doc/libgnutls30"},
			Installed: []apk.InstalledPackage{{Package: apk.Package{Name: "app", Version: "1.2-r3", Arch: "x86_64"},
				Dirs: []apk.InstalledDir{{Path: "usr/bin", Mode: 0o755, Files: []apk.InstalledFile{{Name: "app", Mode: 0o755}}}}}},
		}},
		Config: v1.Config{
			Env: []string{"PATH=/usr/bin", "HOME=/home/app", "VERSION=1.2"}, Entrypoint: []string{"/usr/bin/app"}, Cmd: []string{"serve"}, User: "app",
			WorkingDir: "/srv", ExposedPorts: map[string]struct{}{"8080/tcp": {}, "53/udp": {}}, Volumes: map[string]struct{}{"/data": {}},
			Labels: map[string]string{"title": "app"},
		},
	}
}

func open(t testing.TB, img subjecttest.Image) *subject.Subject {
	t.Helper()
	s, err := subject.Open(t.Context(), subjecttest.Layout(t, img), subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func parse(t testing.TB, text string) *File {
	t.Helper()
	if !strings.Contains(text, "schemaVersion") {
		text = "schemaVersion: 2.0.0\n" + text
	}
	f, err := Parse("x.yaml", []byte(text), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// outcome renders a report: a line for each test and an indented one for each
// message.
func outcome(r *Report) string {
	var b strings.Builder
	for _, s := range r.Suites {
		for _, x := range s.Tests {
			fmt.Fprintf(&b, "%s: %s\n", x.Status, x.Name)
			for _, m := range x.Messages {
				fmt.Fprintf(&b, "  %s\n", m)
			}
		}
	}
	return b.String()
}

func on(t testing.TB, img subjecttest.Image, text string, o Options) *Report {
	t.Helper()
	s := open(t, img)
	r, err := Run(t.Context(), s, []*subject.Image{&s.Images[0]}, []*File{parse(t, text)}, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func check(t *testing.T, img subjecttest.Image, text, want string) {
	t.Helper()
	if d := cmp.Diff(want, outcome(on(t, img, text, Options{NoRunner: "no runner"}))); d != "" {
		t.Error(d)
	}
}

func TestFileExistence(t *testing.T) {
	for _, c := range []struct{ test, want string }{
		{"path: /usr/bin/app", "passed"},
		{"path: usr/bin/app", "passed"},
		{"path: /bin/link, permissions: '-rwxr-xr-x'", "passed"},
		{"path: /bin/link, permissions: 'Lrwxrwxrwx'", "passed"},
		{"path: /tmp, permissions: 'dtrwxrwxrwx'", "passed"},
		{"path: '$HOME/x', shouldExist: false", "passed"},
		{"path: '$PATH/app', uid: 0, gid: 0, isExecutableBy: other", "passed"},
		{"path: '/$UNSET', shouldExist: true", "failed: /${UNSET}: found nothing, expected it there"},
		{"path: /bin/dangling", "failed: /bin/dangling: by way of /usr/bin/dangling → nothing: /usr/bin/nothing: found nothing, expected it there"},
		{"path: /bin/dangling, shouldExist: false", "failed: /bin/dangling: found a link to nothing, expected nothing"},
		{"path: /usr/bin/app, shouldExist: false", "failed: /usr/bin/app: found a file, expected nothing (of package app)"},
		{"path: /etc/conf, permissions: '-rw-r--r--'", "failed: /etc/conf: permissions: found -rw-r-----, expected -rw-r--r--"},
		{"path: /etc/conf, uid: 5, gid: 0", "failed: /etc/conf: uid: found 0, expected 5"},
		{"path: /etc/conf, isExecutableBy: any", "failed: /etc/conf: found mode 0640, expected it to be executable by any"},
		{"path: /etc/conf/x", "failed: /etc/conf/x: /etc/conf is no directory: found nothing, expected it there"},
	} {
		got := outcome(on(t, example(), "fileExistenceTests: [{name: n, "+c.test+"}]", Options{}))
		got = strings.TrimSuffix(strings.Replace(strings.Replace(got, ": n\n  ", ": ", 1), ": n\n", "", 1), "\n")
		if got != c.want {
			t.Errorf("%s:\nfound    %q\nexpected %q", c.test, got, c.want)
		}
	}
}

func TestFileContent(t *testing.T) {
	check(t, example(), `
fileContentTests:
  - {name: good, path: /etc/conf, expectedContents: ['(?m)^user=app$', listen], excludedContents: [root]}
  - {name: bad, path: /etc/conf, expectedContents: ['^user'], excludedContents: ['listen=\d+']}
  - {name: missing, path: /etc/none, expectedContents: [x]}
  - {name: directory, path: /etc, expectedContents: [x]}
`, `passed: good
failed: bad
  /etc/conf: expected "^user", which is not in it
  /etc/conf: found "listen=8080", expected nothing that matches "listen=\\d+"
failed: missing
  /etc/none: found nothing, expected a file
failed: directory
  /etc: content cannot be read: no regular file
`)
}

func TestMetadata(t *testing.T) {
	check(t, example(), `
metadataTest:
  envVars: [{key: VERSION, value: 1.2}, {key: PATH, value: "^/usr", isRegex: true}]
  env: [{key: HOME, value: /home/app}]
  unboundEnvVars: [{key: SECRET}]
  labels: [{key: title, value: app}]
  entrypoint: [/usr/bin/app]
  cmd: [serve]
  exposedPorts: [8080, 8080/tcp, 53/udp]
  unexposedPorts: [80, "53"]
  volumes: [/data]
  unmountedVolumes: [/srv]
  workdir: /srv
  user: app
`, "passed: metadata\n")
	check(t, example(), `
metadataTest:
  envVars: [{key: VERSION, value: "1"}, {key: NONE, value: x}, {key: PATH, value: "^/bin", isRegex: true}]
  unboundEnvVars: [{key: HOME}]
  labels: [{key: title, value: other}]
  entrypoint: []
  cmd: [serve, more]
  exposedPorts: [80]
  unexposedPorts: [8080]
  volumes: [/srv]
  unmountedVolumes: [/data]
  workdir: /
  user: root
`, `failed: metadata
  environment variable VERSION: found "1.2", expected "1"
  environment variable NONE: found none, expected "x"
  environment variable PATH: found "/usr/bin", expected a match of "^/bin"
  label title: found "app", expected "other"
  environment variable HOME: found "/home/app", expected none
  entrypoint: found ["/usr/bin/app"], expected []
  cmd: found ["serve"], expected ["serve" "more"]
  port 80: expected it, not found
  port 8080: found it, expected it not to be there
  volume /srv: expected it, not found
  volume /data: found it, expected it not to be there
  workdir: found "/srv", expected "/"
  user: found "app", expected "root"
`)
}

func TestLicenses(t *testing.T) {
	check(t, example(), "licenseTests: [{debian: true}]", "passed: licences\n")
	img := example()
	img.Layers[0].Members = append(img.Layers[0].Members, "f usr/share/doc/b/copyright 0644 GNU Agpl 3", "d usr/share/doc/c", "f l 0644 wtfpl")
	check(t, img, "licenseTests: [{debian: true, files: [/l]}]", `failed: licences
  /l: found WTFPL, expected a licence without it
  /usr/share/doc/b/copyright: found AGPL, expected a licence without it
  /usr/share/doc/c/copyright: found nothing, expected a file
`)
	check(t, subjecttest.Image{Arch: "amd64"}, "licenseTests: [{debian: true}]",
		"failed: licences\n  /usr/share/doc: /usr: found nothing, expected the licences of Debian's packages\n")
}

func TestOwnKeys(t *testing.T) {
	all := `
cairn:
  noShell: true
  noSetuid: true
  noWorldWritable: true
  user: "%s"
  maxSize: %s
  maxLayers: %d
  reproducible: true
  packages: {present: [%s], absent: [%s]}
`
	check(t, example(), fmt.Sprintf(all, "1000", "10MB", 1, "app, 'app>1', app~1.2", "busybox, 'app<1'"),
		"passed: noShell\npassed: noSetuid\npassed: noWorldWritable\npassed: user\npassed: maxSize\npassed: maxLayers\npassed: packages\npassed: reproducible\n")
	img := example()
	img.Layers = append(img.Layers, subjecttest.Layer{Members: []string{
		"f bin/sh 0755 shell", "f bin/su 4755 su", "f etc/open 0666 x", "f var/log/apt.log 0644 installed", "f etc/machine-id 0444 0123",
		"f srv/__pycache__/a.cpython-311.pyc 0644 \xa7\x0d\x0d\x0a\x00\x00\x00\x00timetimesize", "f srv/__pycache__/b.cpython-311.pyc 0644 \xa7\x0d\x0d\x0a\x01\x00\x00\x00hashhash",
	}})
	check(t, img, fmt.Sprintf(all, "1000:1000", "500B", 1, "'app=2', python", "'app>1'"), strings.Replace(ownFailures, "SIZE", fmt.Sprint(layerSizes(t, img)), 1))
	check(t, subjecttest.Image{Arch: "amd64", Layers: []subjecttest.Layer{{Members: []string{"f a"}}}}, "cairn: {user: root, packages: {absent: [x]}}",
		"passed: user\nfailed: packages\n  found no installed database, expected one to look packages up in\n")
}

const ownFailures = `failed: noShell
  /usr/bin/sh: found mode 0755, a shell
failed: noSetuid
  /usr/bin/su: found mode 4755, setuid or setgid
failed: noWorldWritable
  /etc/open: found mode 0666, writable for everybody
failed: user
  found app, expected 1000:1000
failed: maxSize
  found SIZE bytes in compressed layers, expected at most 500B
failed: maxLayers
  found 2 layers, expected at most 1
failed: packages
  package app: found 1.2-r3, expected app=2
  package python: found none
  package app>1: found app-1.2-r3, expected none
failed: reproducible
  /etc/machine-id: names one machine
  /var/log/apt.log: is written when things happen
  /srv/__pycache__/a.cpython-311.pyc: compiled when the image was built: it holds the time of its source
`

func layerSizes(t *testing.T, img subjecttest.Image) (sum int64) {
	m, err := img.Build(t).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Layers {
		sum += m.Layers[i].Size
	}
	return sum
}

// What a package brings is the same in every build; what was changed since is not.
func TestReproducibleFilesOfPackages(t *testing.T) {
	for content, want := range map[string]string{"alpine": "passed: reproducible\n", "build-host-7": "failed: reproducible\n  /etc/hostname: names the build's machine (of package layout)\n"} {
		img := example()
		img.Layers = append(img.Layers, subjecttest.Layer{Members: []string{"f etc/hostname 0644 " + content}, Installed: []apk.InstalledPackage{{
			Package: apk.Package{Name: "layout", Version: "1-r0", Arch: "x86_64"},
			Dirs:    []apk.InstalledDir{{Path: "etc", Files: []apk.InstalledFile{{Name: "hostname", Mode: 0o644, SHA1: sha1.Sum([]byte("alpine"))}}}}}}})
		check(t, img, "cairn: {reproducible: true}", want)
	}
}

// A clock that ran on after the image was made shows.
func TestReproducibleTimes(t *testing.T) {
	s := open(t, example())
	s.Images[0].Config.Created = v1.Time{Time: subjecttest.Created.Add(-time.Hour)}
	r, err := Run(t.Context(), s, []*subject.Image{&s.Images[0]}, []*File{parse(t, "cairn: {reproducible: true}")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := outcome(r)
	for _, want := range []string{"/etc/conf: changed 2024-02-03T04:05:06Z, after the image was made (2024-02-03T03:05:06Z)", "history 1: made 2024-02-03T04:05:06Z, after the image"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// scripted is a runner that answers as it is told, and notes what it was asked.
type scripted struct {
	answers map[string]Output // by the command line
	log     []string
	err     error
}

func (s *scripted) Name() string { return "script" }

func (s *scripted) Start(context.Context, *subject.Image, *files.Tree, *RunOptions) (Box, error) {
	s.log = append(s.log, "start")
	return s, s.err
}

func (s *scripted) Run(ctx context.Context, c Command) (*Output, error) {
	line := strings.Join(c.Args, " ")
	s.log = append(s.log, line+" | "+strings.Join(c.Env, " "))
	if line == "sleep" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	out, ok := s.answers[line]
	if !ok {
		return nil, fmt.Errorf("%q was not expected", line)
	}
	return &out, nil
}

func (s *scripted) Close() error {
	s.log = append(s.log, "close")
	return nil
}

const commands = `
globalEnvVars: [{key: A, value: "$VERSION+"}, {key: PATH, value: "/opt:$PATH"}]
commandTests:
  - name: good
    setup: [[prepare, "$A"]]
    teardown: [[clean]]
    command: app
    args: [--to, "$B $1 $UNSET"]
    envVars: [{key: B, value: "$A-b"}]
    expectedOutput: ['^out$']
    excludedOutput: [err]
    expectedError: [warn]
  - {name: bad, command: app, args: [bad], exitCode: 3, expectedOutput: [no], excludedError: ['w.*n']}
  - {name: unprepared, command: app, setup: [[prepare, badly]], teardown: [[clean]]}
  - {name: slow, command: sleep}
  - {name: unclean, command: app, args: [bad], exitCode: 4, teardown: [[prepare, badly]]}
`

func TestCommands(t *testing.T) {
	s := &scripted{answers: map[string]Output{
		"prepare 1.2+": {}, "clean": {}, "app --to 1.2+-b $1 ${UNSET}": {Stdout: "out", Stderr: "warning"},
		"app bad": {Stdout: "out", Stderr: "warn", ExitCode: 4}, "prepare badly": {ExitCode: 1, Stderr: "cannot"},
	}}
	r := on(t, example(), commands, Options{Runner: s, Timeout: 20 * time.Millisecond})
	if d := cmp.Diff(`passed: good
failed: bad
  exit code: found 4, expected 3
  standard output: expected "no", which is not in it
  standard error: found "warn", expected nothing that matches "w.*n"
failed: unprepared
  setup[0]: prepare: exit code 1, expected 0
failed: slow
  sleep: not done after 20ms
failed: unclean
  teardown[0]: prepare: exit code 1, expected 0
`, outcome(r)); d != "" {
		t.Error(d)
	}
	env := "A=1.2+ B=1.2+-b HOME=/home/app PATH=/opt:/usr/bin VERSION=1.2"
	want := []string{"start", "prepare 1.2+ | " + env, "app --to 1.2+-b $1 ${UNSET} | " + env, "clean | " + env, "close"}
	if d := cmp.Diff(want, s.log[:5]); d != "" {
		t.Error(d)
	}
	if r.Suites[0].Runner != "script" || r.Suites[0].Tests[1].Stdout != "out" || r.Suites[0].Tests[0].Stdout != "" {
		t.Errorf("found %+v", r.Suites[0])
	}
}

func TestCommandsThatAreNotRun(t *testing.T) {
	one := "commandTests: [{name: c, command: app}]"
	other := example()
	other.Arch = "s390x"
	for _, c := range []struct {
		img  subjecttest.Image
		o    Options
		want string
	}{
		{example(), Options{NoRunner: "no engine"}, "not run: c\n  no engine\n"},
		{example(), Options{NoCommands: true}, ""},
		{example(), Options{Runner: &scripted{err: &UnsupportedError{"script", "flying"}}}, "not run: c\n  script: flying: not possible\n"},
		{example(), Options{Runner: &scripted{err: errors.New("no room")}}, "failed: c\n  no room\n"},
		{other, Options{Runner: &scripted{}}, "not run: c\n  the image is for linux/s390x, this machine is linux/" + runtime.GOARCH + "\n"},
	} {
		r := on(t, c.img, one, c.o)
		if got := outcome(r); got != c.want {
			t.Errorf("found %q, expected %q", got, c.want)
		}
		if r.NotRun != strings.Count(c.want, "not run") || r.Skipped != 1 && c.o.NoCommands {
			t.Errorf("counted %+v", r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := open(t, example())
	if _, err := Run(ctx, s, []*subject.Image{&s.Images[0]}, []*File{parse(t, one)}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestEnvironmentOfEngineOptions(t *testing.T) {
	s := &scripted{answers: map[string]Output{"app": {}}}
	f := parse(t, "containerRunOptions: {envVars: [FROM_HERE, NOT_SET]}\ncommandTests: [{name: c, command: app}]")
	f.envFileContent = []byte("# comment\n\nFILE=\"from file\"\nFROM_HERE\n")
	sub := open(t, example())
	if _, err := Run(t.Context(), sub, []*subject.Image{&sub.Images[0]}, []*File{f}, Options{Runner: s, Getenv: func(name string) string {
		if name == "FROM_HERE" {
			return "here"
		}
		return ""
	}}); err != nil {
		t.Fatal(err)
	}
	if want := "app | FILE=from file FROM_HERE=here HOME=/home/app PATH=/usr/bin VERSION=1.2"; s.log[1] != want {
		t.Errorf("found %q, expected %q", s.log[1], want)
	}
}

// The XML is the same in every run, can be read again, and holds whatever a
// command printed.
func TestJUnit(t *testing.T) {
	s := &scripted{answers: map[string]Output{"app": {Stdout: "a\x00\x1b[1m<b>\xff]]>", ExitCode: 1}}}
	text := "commandTests: [{name: 'c <1>', command: app}, {name: d, command: none}]\nfileExistenceTests: [{name: e, path: /tmp}]"
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if err := on(t, example(), text, Options{Runner: s}).WriteJUnit(b); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != second.String() || strings.Contains(first.String(), "time=") {
		t.Errorf("not the same twice, or with a time:\n%s", first.String())
	}
	var got junitSuites
	if err := xml.Unmarshal(first.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	cases := got.Suites[0].Cases
	if got.Tests != 3 || got.Failures != 2 || got.Suites[0].Failures != 2 || len(cases) != 3 || cases[1].Name != "c <1>" ||
		cases[1].Failure == nil || cases[1].Failure.Message != "exit code: found 1, expected 0" || cases[1].Stdout != "a[1m<b>]]>" || cases[0].Failure != nil {
		t.Errorf("found %+v", got)
	}
	var timed, unrun bytes.Buffer
	if err := on(t, example(), text, Options{Runner: s, Measure: true}).WriteJUnit(&timed); err != nil || strings.Count(timed.String(), ` time="`) != 3 {
		t.Errorf("%v\n%s", err, timed.String())
	}
	if err := on(t, example(), text, Options{NoRunner: "nothing there"}).WriteJUnit(&unrun); err != nil || !strings.Contains(unrun.String(), `<skipped message="nothing there">`) || !strings.Contains(unrun.String(), `skipped="2"`) {
		t.Errorf("%v\n%s", err, unrun.String())
	}
}
