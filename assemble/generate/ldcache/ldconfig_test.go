package ldcache

import (
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// ldconfig returns the path of the real thing, or skips.
func ldconfig(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	t.Skip("no ldconfig on this machine")
	return ""
}

// readELF returns the facts that the store would record.
func readELF(name string) *apk.ELF {
	f, err := elf.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	out := &apk.ELF{Class: byte(f.Class), Data: byte(f.Data), Type: uint16(f.Type), Machine: uint16(f.Machine), OSABI: byte(f.OSABI)}
	if names, err := f.DynString(elf.DT_SONAME); err == nil && len(names) > 0 {
		out.SONAME = names[0]
	}
	return out
}

// realLibraries returns some libraries of this machine: files and the links to
// them, up to a size.
func realLibraries(t *testing.T) []string {
	t.Helper()
	var out []string
	total := int64(0)
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"} {
		names, _ := filepath.Glob(dir + "/lib*.so*")
		for _, name := range names {
			st, err := os.Stat(name)
			if err != nil || !st.Mode().IsRegular() || st.Size() > 2<<20 || total > 60<<20 {
				continue
			}
			total += st.Size()
			out = append(out, name)
		}
	}
	if len(out) < 20 {
		t.Skipf("only %d shared libraries on this machine", len(out))
	}
	return out
}

// place puts a library into root/dir: links as links, files as they are.
func place(t *testing.T, root, dir, name, as string) {
	t.Helper()
	to := filepath.Join(root, dir, as)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(name); err == nil && !strings.Contains(target, "/") {
		if err := os.Symlink(target, to); err != nil {
			t.Fatal(err)
		}
		return
	}
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// scan lists the candidates below root, as the tree planner would.
func scan(t *testing.T, root string) []Library {
	t.Helper()
	var out []Library
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !IsLibrary(d.Name()) {
			return err
		}
		real := p
		if d.Type()&os.ModeSymlink != 0 {
			if real, err = filepath.EvalSymlinks(p); err != nil {
				return nil
			}
		}
		rel, _ := filepath.Rel(root, p)
		out = append(out, Library{Path: rel, Link: real != p, ELF: readELF(real)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The entries are those that ldconfig writes, in its order: real libraries with
// their links, two directories with the same library, a link to a directory,
// glibc-hwcaps, a library without SONAME's link, names that are not libraries.
func TestBuildEqualsLdconfig(t *testing.T) {
	prog := ldconfig(t)
	libs := realLibraries(t)
	root := t.TempDir()
	for i, name := range libs {
		dir := []string{"usr/lib/multi", "usr/lib/multi", "usr/lib"}[i%3]
		place(t, root, dir, name, path.Base(name))
	}
	regular := libs[slices.IndexFunc(libs, func(p string) bool {
		st, _ := os.Lstat(p)
		return st.Mode().IsRegular() && readELF(p) != nil && readELF(p).SONAME != ""
	})]
	soname := readELF(regular).SONAME
	place(t, root, "opt/lib", regular, "libduplicate.so.9") // its SONAME is that of another file
	place(t, root, "opt/lib", regular, "libduplicate.so.10")
	place(t, root, "opt/lib", regular, "libtmp.so.1.dpkg-new")
	place(t, root, "opt/lib", regular, "plugin.so")
	place(t, root, "usr/lib/glibc-hwcaps/x86-64-v2", regular, soname)
	place(t, root, "usr/lib/glibc-hwcaps/x86-64-v3", regular, soname+".1")
	for name, text := range map[string]string{
		"etc/ld.so.conf":               "# comment\ninclude ld.so.conf.d/*.conf\n/opt/lib/ # after the include\n",
		"etc/ld.so.conf.d/b.conf":      "/usr/lib/multi\n/nowhere\n",
		"etc/ld.so.conf.d/a.conf":      "/lib/multi\n",
		"etc/ld.so.conf.d/.x.conf":     "/usr/lib/glibc-hwcaps/x86-64-v2\n",
		"usr/lib/libscript.so":         "/* GNU ld script */\n",
		"usr/lib/libgdb.so.1-gdb.py":   "x",
		"usr/lib/liblink-to-none.so.1": "",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"lib": "usr/lib", "usr/lib/libdangling.so.1": "nowhere.so"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the first run makes links that the second takes for given
		if out, err := exec.Command(prog, "-r", root).CombinedOutput(); err != nil {
			t.Skipf("ldconfig -r needs root: %v: %s", err, out)
		}
	}
	raw, err := os.ReadFile(filepath.Join(root, "etc/ld.so.cache"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	got, built := buildFrom(t, root)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-ldconfig +ours:\n%s", d)
	}
	t.Logf("%d entries of %d files", len(got), len(libs))

	// ldconfig lists our file as it lists its own.
	ours := filepath.Join(root, "ours")
	if err := os.WriteFile(ours, built, 0o644); err != nil {
		t.Fatal(err)
	}
	if a, b := list(t, prog, ours), list(t, prog, filepath.Join(root, "etc/ld.so.cache")); a != b {
		t.Errorf("ldconfig -p differs:\n%s", cmp.Diff(b, a))
	}
}

// list returns the libraries of ldconfig -p, without the lines that name the
// maker.
func list(t *testing.T, prog, cache string) string {
	t.Helper()
	out, err := exec.Command(prog, "-p", "-C", cache).CombinedOutput()
	if err != nil {
		t.Fatalf("ldconfig -p: %v: %s", err, out)
	}
	var keep []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "\t") {
			keep = append(keep, line)
		}
	}
	if len(keep) == 0 {
		t.Fatalf("nothing listed: %s", out)
	}
	return strings.Join(keep, "")
}

func buildFrom(t *testing.T, root string) ([]Entry, []byte) {
	t.Helper()
	files := map[string][]byte{}
	names, _ := filepath.Glob(filepath.Join(root, "etc/ld.so.conf.d", "*"))
	hidden, _ := filepath.Glob(filepath.Join(root, "etc/ld.so.conf.d", ".*"))
	for _, name := range slices.Concat(names, hidden, []string{filepath.Join(root, ConfPath)}) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(root, name)
		files[rel] = text
	}
	dirs, err := Dirs(files)
	if err != nil {
		t.Fatal(err)
	}
	resolve := func(dir string) string {
		real, err := filepath.EvalSymlinks(filepath.Join(root, dir))
		if err != nil {
			return ""
		}
		rel, _ := filepath.Rel(root, real)
		return rel
	}
	built, err := Build(Input{Dirs: dirs, Libraries: scan(t, root), Resolve: resolve})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(built)
	if err != nil {
		t.Fatal(err)
	}
	return got, built
}

// The cache of this very machine, read with ldconfig and with Parse.
func TestParseThisMachine(t *testing.T) {
	prog := ldconfig(t)
	raw, err := os.ReadFile("/etc/ld.so.cache")
	if err != nil {
		t.Skip(err)
	}
	got, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(list(t, prog, "/etc/ld.so.cache")), "\n")
	if len(lines) != len(got) {
		t.Fatalf("%d entries, ldconfig lists %d", len(got), len(lines))
	}
	for i, line := range lines {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, got[i].Name+" (") || !strings.HasSuffix(line, " => "+got[i].Path) {
			t.Errorf("entry %d: %+v, ldconfig says %s", i, got[i], line)
		}
	}
}
