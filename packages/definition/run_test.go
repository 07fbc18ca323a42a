package definition

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// recorder stands for every tool that a pipeline calls: it writes down how it
// was called, and answers where a script reads what it prints.
const recorder = `#!/bin/bash
name=${0##*/}
{
	printf '%s in %s' "$name" "${PWD#$HOME}"
	[ -z "$DESTDIR" ] || printf ' DESTDIR=%s' "$DESTDIR"
	for v in GOAMD64 GOARM64 GOEXPERIMENT GOMODCACHE RUSTFLAGS VERBOSE PERL_MM_USE_DEFAULT; do
		[ -z "${!v}" ] || printf ' %s=%s' "$v" "${!v}"
	done
	printf '%s\n' "$@" | sort | while IFS= read -r word; do printf ' <%s>' "$word"; done
	echo
} >> "$RECORD"
case $name in
ruby) echo /usr/lib/ruby/gems/3.2.0 ;;
nproc) echo 3 ;;
perl) echo -O2 ;;
apk) echo usr/bin/prog ;;
jq) echo 81.5 ;;
scanelf) [ -z "$SCANELF" ] || cat "$SCANELF" ;;
llvm-cov) echo TOTAL 1 2 3% 4 5 66.6% ;;
pombump) echo '<project/>' ;;
go)
	case $1 in
	install) echo bin > "$GOBIN/prog" ;;
	tool) echo 'total (statements) 71.2%' ;;
	esac ;;
python3) case $* in *nosuchmodule*) exit 1 ;; esac ;;
objcopy) for last; do :; done; echo debug > "$last" ;;
esac
exit 0
`

// guard stands for every tool that changes or searches files: it refuses paths
// outside the run's own directory, so that a mistake in a script, which is what
// these tests look for, costs nothing.
const guard = `#!/bin/bash
for word; do
	case $word in
	*../* | *..) ;;
	"$HOME" | "$HOME"/* | "$TMPDIR"/* | /dev/null) continue ;;
	/*) ;;
	*) continue ;;
	esac
	echo "refused ${0##*/} $word" >> "$RECORD"
	exit 97
done
exec REAL "$@"
`

var guarded = []string{"find", "mv", "rm", "rmdir", "mkdir", "cp", "ln", "chmod", "install", "tar", "patch", "touch"}

var recorded = []string{"make", "cmake", "meson", "go", "cargo", "gem", "ruby", "perl", "apk", "jq", "scanelf", "strip", "objcopy", "llvm-cov",
	"llvm-profdata", "pombump", "mvn", "npm", "node", "pnpm", "phpize", "nproc", "xcover", "Rscript", "python3", "gobump", "autoreconf", "python", "git"}

// tree is what the sandbox of the runs holds: paths below it, with their
// content; "-> x" is a symbolic link, a name that ends in "/" a directory.
var tree = map[string]string{
	"configure": "#!/bin/sh\n", "configure.ac": "", "go.mod": "module a\n", "cmd/main.go": "", "sub/configure": "", "sub/go.mod": "",
	"a.patch": "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-one\n+two\n", "b.patch": "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-two\n+three\n",
	"file": "one\n", "series": "# remark\na.patch\n\nb.patch\n", "hello.gemspec": "a\nsigning_key b\n", "prog.gem": "", "hello-1.0.gem": "",
	"target/release/tool": "t", "target/release/other": "o", "pom.xml": "<old/>\n", "pombump-deps.yaml": "", "venv/bin/activate": "", "default_1.profraw": "",
	"xcover-report.json": "{}", "go.mod.local": "module b\n",
	"melange-out/hello/usr/bin/tool": "x", "melange-out/hello/usr/bin/hello-config": "x", "melange-out/hello/usr/bin/hello_config": "x",
	"melange-out/hello/usr/include/hello.h": "h", "melange-out/hello/usr/lib/libhello.so.1.2": "so", "melange-out/hello/usr/lib/libhello.so.1": "-> libhello.so.1.2",
	"melange-out/hello/usr/lib/libhello.so": "-> libhello.so.1", "melange-out/hello/usr/lib/real.so": "plugin", "melange-out/hello/lib/libroot.so": "-> libroot.so.3",
	"melange-out/hello/lib/libroot.so.3": "so", "melange-out/hello/usr/lib/libhello.a": "a", "melange-out/hello/usr/lib/sub/deep.a": "a", "melange-out/hello/usr/lib/libhello.la": "la",
	"melange-out/hello/usr/lib/pkgconfig/hello.pc": "pc", "melange-out/hello/usr/share/pkgconfig/data.pc": "pc", "melange-out/hello/usr/lib/cmake/h/c.cmake": "c",
	"melange-out/hello/usr/share/aclocal/h.m4": "m", "melange-out/hello/usr/share/gir-1.0/h.gir": "g", "melange-out/hello/usr/lib/x/stub.o": "o", "melange-out/hello/usr/lib/x/gen.c": "c",
	"melange-out/hello/opt/inner/include/o.h": "h", "melange-out/hello/usr/lib/qt6/mkspecs/m": "m", "melange-out/hello/usr/lib/q.prl": "p", "melange-out/hello/opt/lib/libopt.so.5": "so",
	"melange-out/hello/usr/share/man/man1/tool.1": "m", "melange-out/hello/usr/local/share/man/man3/l.3": "m", "melange-out/hello/usr/share/info/dir": "d", "melange-out/hello/usr/share/info/h.info": "i",
	"melange-out/hello/usr/share/doc/hello/README": "r", "melange-out/hello/usr/share/locale/de/h.mo": "l",
	"melange-out/hello/usr/lib/perl5/.packlist": "p", "melange-out/hello/usr/lib/perl5/perllocal.pod": "p",
	"melange-out/hello/usr/lib/ruby/gems/3.2.0/cache/c": "c", "melange-out/hello/usr/lib/ruby/gems/3.2.0/build_info/b": "b", "melange-out/hello/usr/lib/ruby/gems/3.2.0/gems/x/mkmf.log": "m",
	"melange-out/hello/usr/lib/ruby/gems/3.2.0/gems/x/gem_make.out": "m", "melange-out/hello/usr/lib/ruby/gems/3.2.0/gems/x/keep": "k",
	"melange-out/other/usr/bin/otool": "x", "melange-out/other/usr/share/man/man8/o.8": "m", "melange-out/other/usr/lib/libother.so.2": "so", "melange-out/other/usr/lib/libother.a": "a",
	"melange-out/hello-sub/": "",
}

// runs are steps that must do the same with cairn's pipelines as with melange's.
// A step that begins with "main " is one of the main package, any other of the
// subpackage hello-sub. The rest is the pipeline and its inputs, as "k=v" with
// "_" for a space.
var runs = []string{
	"split/dev", "split/dev package=other", "split/dev prefix=/opt/inner", "main split/dev", "split/manpages", "split/manpages package=other",
	"split/alldocs", "split/infodir", "split/locales", "split/static", "split/static package=other", "split/lib", "split/lib patterns=hello",
	"split/lib paths=opt/lib", "split/lib patterns=hello\nroot", "split/lib patterns=*", "split/bin", "split/bin package=other", "main split/bin", "split/debug", "main split/infodir",
	"split/alldocs package=none", "split/bin package=none",
	"main strip", "main strip opts=--strip-all", "main perl/cleanup", "main perl/make", "main ruby/clean", "main ruby/build gem=hello", "main ruby/build gem=hello output=x.gem opts=-f",
	"main ruby/install gem=hello version=1.0", "main ruby/install gem-file=prog.gem version=1.0 opts=--force", "main ruby/install version=1.0",
	"main autoconf/make", "main autoconf/make dir=sub opts=A=\"b_c\"_D=$HOME targets=all_docs", "main autoconf/make-install", "main autoconf/make-install dir=sub opts=X=1 targets=install-strip",
	"main cmake/configure", "main cmake/configure opts=-DA=\"b_c\" output-dir=out", "main cmake/build opts=--target_x", "main cmake/install output-dir=out",
	"main meson/configure opts=-Da=b", "main meson/compile", "main meson/install output-dir=out",
	"main go/build packages=./cmd output=tool", "main go/build packages=./cmd_./cmd output=tool tags=a,b modroot=sub ldflags=-X_main.v=$(echo_1) prefix=opt install-dir=sbin deps=a@v1_b@v2 vendor=true tidy=true experiments=x extra-args=-a_-v buildmode=pie amd64=v3 arm64=v9",
	"main go/build packages=. output=x modroot=cmd", "main go/build/v2", "main go/build/v2 output=tool packages=./cmd ignore-untracked-files=false strip=-s",
	"main go/install package=example.com/a version=v1", "main go/install package=example.com/a ldflags=-X_b tags=c",
	"main go/bump deps=a@v1_b@v2 modroot=sub replaces=c=d", "main go/covdata", "main cargo/build", "main cargo/build output=tool jobs=3 rustflags=-C_x opts=--locked modroot=. prefix=opt",
	"main patch patches=a.patch", "main patch patches=a.patch_b.patch", "main patch patches=a.patch\nb.patch\n", "main patch series=series", "main patch", "main patch patches=none", "main patch series=none",
	"main patch patches=a.patch strip-components=x", "main patch patches=a.patch fuzz=-1", "main patch patches=a.patch strip-components=0", "main patch series=series fuzz=0",
	"main maven/pombump", "main maven/pombump dependencies=a@b properties=c@d debug=true show-dependency-tree=true", "main maven/pombump patch-file=none",
	"main pecl/phpize", "main pecl/phpize prefix=/opt php-config=php-config8", "main pecl/install extension=redis",
	"main xcover/stop", "main xcover/status", "main xcover/wait wait-timeout=5", "main xcover/profile executable-path=/usr/bin/x exclude-functions=a verbose=true", "main xcover/ensure", "main xcover/ensure min-coverage=80", "main xcover/ensure min-coverage=90", "main xcover/ensure min-coverage=81.5",
	"main python/build", "main python/install", "main git-am patches=a.patch_b.patch", "main llvm/covreport", "main npm/install package=a version=1 npm-package=yarn", "main npm/install package=a version=1",
	"main python/import imports=import_os\nimport_sys_#_x\n#_y python=python3", "main python/import import=os python=python3", "main python/import import=path from=os python=python3",
	"main python/import import=nosuchmodule python=python3", "main python/import python=python3", "main python/import from=os python=python3", "main python/import import=a imports=import_b python=python3",
	"main python/import imports=import_os python=python3 venv=venv", "main python/import imports=import_os venv=none", "main python/test command=echo_a_>_b",
}

// spelled are runs that call a tool in other words than melange's.
var spelled = map[string]string{
	"main perl/make": "perl prints its flags with print rather than say",
}

// Every pipeline that can run here calls the same tools with the same arguments
// and leaves the same files as melange's.
func TestOraclePipelineRuns(t *testing.T) {
	_, pipelines := oracle(t)
	for _, run := range runs {
		t.Run(run, func(t *testing.T) {
			want, have := runStep(t, run, []string{pipelines}), runStep(t, run, nil)
			if diff := cmp.Diff(want, have); diff != "" && spelled[run] == "" {
				t.Errorf("(-melange +cairn)\n%s", diff)
			}
		})
	}
}

// The pipelines do what they did: each run is recorded in testdata/runs.txtar,
// written with -update once it was held against melange's.
func TestPipelineRuns(t *testing.T) {
	for _, tool := range []string{"bash", "patch"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s", tool)
		}
	}
	const name = "testdata/runs.txtar"
	results := make([]txtar.File, len(runs))
	t.Run("runs", func(t *testing.T) {
		for i, run := range runs {
			t.Run(run, func(t *testing.T) {
				t.Parallel()
				results[i] = txtar.File{Name: strconv.Quote(run), Data: []byte(runStep(t, run, nil))}
			})
		}
	})
	if *update {
		a := &txtar.Archive{Comment: []byte("What a step of each pipeline calls and what it changes.\n"), Files: results}
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) != len(runs) {
		t.Fatalf("%s has %d runs, expected %d", name, len(a.Files), len(runs))
	}
	for i, want := range a.Files {
		if diff := cmp.Diff(string(want.Data), string(results[i].Data)); diff != "" || want.Name != results[i].Name {
			t.Errorf("%s (-expected %s +found)\n%s", results[i].Name, want.Name, diff)
		}
	}
}

// The guard of these tests refuses what is outside.
func TestRunsAreGuarded(t *testing.T) {
	for script, want := range map[string]string{
		"find / -maxdepth 0":             "refused find /",
		"mv /nowhere/a b":                "refused mv /nowhere/a",
		"rm -rf ../x":                    "refused rm ../x",
		"rmdir -p $HOME/..":              "refused rmdir WORK/..",
		"mkdir -p $HOME/a b; ls $HOME/a": "",
	} {
		home, temporary := t.TempDir(), t.TempDir()
		out := guardedRun(t, &Pipeline{Runs: script}, home, temporary)
		calls := strings.TrimSpace(strings.ReplaceAll(out, home, "WORK"))
		if calls != want {
			t.Errorf("%s: found %q, expected %q", script, calls, want)
		}
	}
}

// Values that lead out of the package, or that fall apart into words that do,
// find nothing there.
func TestRunsStayInside(t *testing.T) {
	for _, run := range []string{
		"split/dev prefix=/", "split/dev prefix=x\n", "split/dev prefix=x_", "split/dev prefix=../..", "split/dev prefix=_/_", "split/dev prefix=/usr/../../..",
		"split/lib paths=/", "split/lib paths=..", "split/lib paths=x\n/\n../..", "split/static package=..", "split/manpages package=../..",
		"split/bin package=x\n/", "split/alldocs package=/", "split/locales package=x_/_y",
	} {
		if out := runStep(t, run, nil); strings.Contains(out, "refused") {
			t.Errorf("%q reaches outside:\n%s", run, out)
		}
	}
}

// guardedRun runs a step alone and returns what was recorded.
func guardedRun(t *testing.T, p *Pipeline, home, temporary string) string {
	t.Helper()
	tools, record := filepath.Join(t.TempDir(), "bin"), filepath.Join(temporary, "record")
	makeTools(t, tools)
	if err := errors.Join(os.Chmod(filepath.Dir(temporary), 0o755), os.Chmod(temporary, 0o777), os.WriteFile(record, nil, 0o666), os.Chmod(record, 0o666)); err != nil {
		t.Fatal(err)
	}
	ok := runScripts(t, p, home, append(os.Environ(), "HOME="+home, "RECORD="+record, "TMPDIR="+temporary, "PATH="+tools+":"+os.Getenv("PATH"), "SCANELF="+filepath.Join(home, "scanelf.out")))
	calls, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if p.Uses == "" {
		return string(calls)
	}
	return fmt.Sprintf("ok %v\n%s", ok, calls)
}

// runStep runs a step's scripts with recorded tools and returns what came of it.
func runStep(t *testing.T, run string, dirs []string) string {
	t.Helper()
	home := t.TempDir()
	step := compileRun(t, run, dirs)
	makeTree(t, home)
	before := listTree(t, home)
	text := guardedRun(t, step, home, t.TempDir()) + changes(before, listTree(t, home))
	return strings.ReplaceAll(text, home, WorkDir)
}

func compileRun(t *testing.T, run string, dirs []string) *Pipeline {
	t.Helper()
	run, main := strings.CutPrefix(run, "main ")
	words := strings.Split(run, " ")
	p := Pipeline{Uses: words[0], With: map[string]string{}}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		p.With[k] = strings.ReplaceAll(v, "_", " ")
	}
	d, err := Read("run.yaml", []byte("package: {name: hello, version: 1.0}\nsubpackages: [{name: hello-sub}, {name: other}]\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if main {
		d.Pipeline = []Pipeline{p}
	} else {
		d.Subpackages[0].Pipeline = []Pipeline{p}
	}
	b, err := Compile(d, CompileOptions{Arch: "x86_64", PipelineDirs: dirs})
	if err != nil {
		t.Fatal(err)
	}
	if main {
		return &b.Pipeline[0]
	}
	return &b.Subpackages[0].Pipeline[0]
}

func makeTree(t *testing.T, home string) {
	t.Helper()
	for path, content := range tree {
		full := filepath.Join(home, path)
		dir := filepath.Dir(full)
		if strings.HasSuffix(path, "/") {
			dir = full
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		target, link := strings.CutPrefix(content, "-> ")
		var err error
		switch {
		case dir == full:
		case link:
			err = os.Symlink(target, full)
		default:
			err = os.WriteFile(full, []byte(content), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	elf := filepath.Join(home, "melange-out/hello/usr/lib/libhello.so.1.2")
	lines := "EM_X86_64 NONE ./usr/bin/tool\nEM_AARCH64 NONE ./usr/lib/other\nEM_X86_64 STANDALONE ./usr/bin/tool\nEM_X86_64 NONE ./gone\nET_DYN " + elf + "\nET_EXEC x\n"
	if err := os.WriteFile(filepath.Join(home, "scanelf.out"), []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
}

func makeTools(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range recorded {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(recorder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range guarded {
		if real, err := exec.LookPath(name); err == nil {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(guard, "REAL", real, 1)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// asNobody takes the rights of root from a command that works below dir.
func asNobody(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	})
	if err = errors.Join(err, os.Chmod(filepath.Dir(dir), 0o755)); err != nil { // made for root alone
		t.Fatal(err)
	}
}

// runScripts runs a step and those below it; the sandbox's home is home.
func runScripts(t *testing.T, p *Pipeline, home string, env []string) bool {
	t.Helper()
	if p.Skip {
		return true
	}
	script := strings.ReplaceAll(p.Script(false), WorkDir, home)
	cmd := exec.Command("bash", "-c", strings.ReplaceAll(script, "/root/", home+"/root/"))
	cmd.Env, cmd.Dir = env, home
	asNobody(t, cmd, home)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Logf("%v\n%s", err, out.Bytes())
		return false
	}
	for i := range p.Pipeline {
		if !runScripts(t, &p.Pipeline[i], home, env) {
			return false
		}
	}
	return true
}

// listTree lists what is there: directories, links, files with their content.
func listTree(t *testing.T, home string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == home {
			return err
		}
		rel, _ := filepath.Rel(home, path)
		switch {
		case e.IsDir():
			out = append(out, rel+"/")
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			out = append(out, rel+" -> "+target)
			return err
		default:
			data, err := os.ReadFile(path)
			out = append(out, fmt.Sprintf("%s %q", rel, data))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// changes lists what went and what came.
func changes(before, after []string) string {
	var out []string
	for _, path := range before {
		if !slices.Contains(after, path) {
			out = append(out, "- "+path+"\n")
		}
	}
	for _, path := range after {
		if !slices.Contains(before, path) {
			out = append(out, "+ "+path+"\n")
		}
	}
	return strings.Join(out, "")
}
