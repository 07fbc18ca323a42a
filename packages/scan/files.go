package scan

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// command provides cmd: for programs. Symbolic links are left to the package that
// makes them (busybox, alternatives), because a name may lead anywhere.
func (s *scanner) command(e *apk.Entry) error {
	if e.Type != apk.TypeFile && e.Type != apk.TypeHardlink || !inDir(e.Path, "bin", "sbin", "usr/bin", "usr/sbin") {
		return nil
	}
	if f := s.in.Tree.Content(e); f != nil && f.Mode&0o555 == 0o555 {
		s.note(Provide, "cmd", "cmd:"+path.Base(e.Path)+"="+s.in.Version, e.Path)
	}
	return nil
}

func (s *scanner) documentation(e *apk.Entry) error {
	if !strings.HasSuffix(s.in.Name, "-doc") {
		return nil
	}
	switch path.Dir(e.Path) {
	case "usr/share/man":
		s.note(Depend, "doc", "man-db", e.Path)
	case "usr/share/info":
		s.note(Depend, "doc", "texinfo", e.Path)
	}
	return nil
}

var pkgConfigDirs = []string{"usr/local/lib/pkgconfig", "usr/local/share/pkgconfig", "usr/lib/pkgconfig", "usr/lib64/pkgconfig", "usr/share/pkgconfig"}

// pkgConfig reads NAME.pc files. A link to one is another name for a module that
// is there anyway and is passed over.
func (s *scanner) pkgConfig(e *apk.Entry) error {
	if e.Type != apk.TypeFile || !strings.HasSuffix(e.Path, ".pc") {
		return nil
	}
	b, err := s.in.Tree.ReadFile(e.Path, maxConfig)
	if err != nil {
		s.warn("%v", err)
		return nil
	}
	requires, err := PkgConfigRequires(b)
	if err != nil {
		s.warn("%s: %v", e.Path, err)
		return nil
	}
	name := "pc:" + strings.TrimSuffix(path.Base(e.Path), ".pc") + "=" + s.in.Version
	if !inDir(e.Path, pkgConfigDirs...) {
		s.note(Vendor, "pc", name, e.Path)
		return nil
	}
	s.note(Provide, "pc", name, e.Path)
	for _, r := range requires {
		s.note(Depend, "pc", "pc:"+r, e.Path)
	}
	return nil
}

// PkgConfigRequires returns the module names of Requires, Requires.private and
// Requires.internal of a .pc file (pc(5)), without their versions, in the order
// of the file. Variables are expanded.
func PkgConfigRequires(b []byte) ([]string, error) {
	vars := map[string]string{}
	var out []string
	for line := range logicalLines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		i := strings.IndexAny(line, "=:")
		if i <= 0 {
			continue
		}
		key, value := strings.TrimSpace(line[:i]), strings.TrimSpace(line[i+1:])
		expanded, err := expand(value, vars)
		if err != nil {
			return nil, fmt.Errorf("%.60s: %w", key, err)
		}
		if line[i] == '=' {
			vars[key] = expanded
			continue
		}
		switch key {
		case "Requires", "Requires.private", "Requires.internal":
			out = append(out, moduleNames(expanded)...)
		}
	}
	return out, nil
}

// logicalLines joins lines that end with a backslash.
func logicalLines(s string) func(yield func(string) bool) {
	return strings.SplitSeq(strings.NewReplacer("\r\n", "\n", "\\\r\n", "", "\\\n", "").Replace(s), "\n")
}

// maxExpanded bounds what a variable can grow to, in bytes.
const maxExpanded = 64 << 10

func expand(value string, vars map[string]string) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(value, "${")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", fmt.Errorf("variable %.40q without closing brace", name)
		}
		out.WriteString(vars[name])
		if out.Len() > maxExpanded {
			return "", fmt.Errorf("more than %d bytes", maxExpanded)
		}
		value = after
	}
}

// moduleNames splits "a >= 1.0, b c = 2" into names.
func moduleNames(list string) (out []string) {
	fields := strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
	for i := 0; i < len(fields); i++ {
		f := fields[i]
		if strings.Trim(f, "<>=!") == "" { // an operator: the version follows
			i++
			continue
		}
		if j := strings.IndexAny(f, "<>=!"); j == 0 { // >=1, of the name before it
			continue
		} else if j > 0 { // a>=1 or a>= 1
			if strings.Trim(f[j:], "<>=!") == "" {
				i++
			}
			f = f[:j]
		}
		out = append(out, f)
	}
	return out
}

// ignoredInterpreters have no cmd: provider: they are symbolic links in the
// packages that have them, or come in variants that must not be mixed (luajit).
var ignoredInterpreters = []string{"python3", "python", "sh", "awk", "luajit"}

// maxShebang is what Linux reads of a script's first line, in bytes.
const maxShebang = 256

func (s *scanner) shebang(e *apk.Entry) (err error) {
	content := s.in.Tree.Content(e)
	below := func(dir string) bool { return strings.HasPrefix(e.Path, dir) }
	if content == nil || content.Size < 3 || content.ELF != nil || !below("usr/bin/") && !below("usr/local/bin/") && !below("usr/local/sbin/") {
		return nil
	}
	f, err := s.in.Tree.Open(e.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	line, err := bufio.NewReaderSize(io.LimitReader(f, maxShebang), maxShebang).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	interpreter, err := Interpreter(line)
	if err != nil {
		s.warn("%s: %v", e.Path, err)
		return nil
	}
	if name := path.Base(interpreter); interpreter != "" && !slices.Contains(ignoredInterpreters, name) {
		s.note(Depend, "shebang", "cmd:"+name, e.Path)
	}
	return nil
}

// Interpreter returns the program that a script's first line names, through
// /usr/bin/env too; "" when the line is not one. env with options other than -S
// cannot be understood.
func Interpreter(line string) (string, error) {
	rest, ok := strings.CutPrefix(line, "#!")
	words := strings.Fields(rest)
	if !ok || len(words) == 0 || strings.ContainsFunc(words[0], func(c rune) bool { return c < 0x20 || c == 0x7f || c == 0xfffd }) {
		return "", nil
	}
	if words[0] != "/usr/bin/env" {
		return words[0], nil
	}
	switch {
	case len(words) == 1:
		return "", errors.New("#!/usr/bin/env without a program")
	case len(words) == 2 && !strings.HasPrefix(words[1], "-"):
		return words[1], nil
	case len(words) > 2 && words[1] == "-S" && !strings.HasPrefix(words[2], "-"):
		return words[2], nil
	}
	return "", fmt.Errorf("%.100q: expected #!/usr/bin/env PROGRAM or #!/usr/bin/env -S PROGRAM …", strings.TrimSpace(line))
}

var (
	perlDir   = regexp.MustCompile(`^(?:usr/)?lib/perl(\d[^/]*)/[^/]*_perl$`)
	pythonDir = regexp.MustCompile(`(?:^|/)python(\d+\.\d+)/site-packages$`)
	rubyDir   = regexp.MustCompile(`^(?:usr/)?lib/ruby/gems/(\d[^/.]*\.\d[^/.]*)\.\d[^/]*/gems$`)
)

// runtimes notes the languages whose modules the package has. A runtime that the
// definition declares is taken to be the right one.
func (s *scanner) runtimes() {
	declares := func(is func(string) bool) bool {
		return slices.ContainsFunc(s.in.Declared, func(d string) bool { return is(bareName(d)) })
	}
	for _, l := range []struct {
		name     string
		dir      *regexp.Regexp
		format   string
		several  bool
		declared func(string) bool
	}{
		{"perl", perlDir, "perl~%s", false, func(d string) bool { return d == "perl" }},
		{"python", pythonDir, "python-%s-base", true, func(d string) bool { return strings.HasPrefix(d, "python") }},
		{"ruby", rubyDir, "ruby-%s", false, func(d string) bool { return d == "ruby" || strings.HasPrefix(d, "ruby-") }},
	} {
		if declares(l.declared) {
			continue
		}
		for _, e := range s.in.Tree.Entries() {
			m := l.dir.FindStringSubmatch(e.Path)
			if m == nil || e.Type != apk.TypeDir {
				continue
			}
			s.note(Depend, l.name, fmt.Sprintf(l.format, m[1]), e.Path)
			if !l.several {
				break
			}
		}
	}
}
