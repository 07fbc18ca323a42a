package lint

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/cairn-dev/cairn/packages/apk"
)

const sbomDir = "var/lib/db/sbom"

// pattern compiles a regular expression when it is first needed: cairn starts for
// many things that are no linting.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

var (
	documentationName = pattern(`(?:^|/)(?:READ\.?ME|TODO|CREDITS)[^/]*$|\.(?:md|docx?|rst|[0-9][a-z])$`)
	manualPath        = pattern(`^usr/(?:local/)?(?:share/)?man/(?:[^/]+/)*[^/]+\.[0-9][^/]*$`)
	infoPath          = pattern(`^usr/(?:local/)?share/info/[^/]+\.info(?:-[0-9]+)?(?:\.(?:gz|bz2|xz|lzma|Z|zst))?$`)
	cudaPath          = pattern(`^usr/lib/lib(?:cuda|nvidia-ml)\.so(?:\.[0-9]+)*$`)
	libraryName       = pattern(`\.so(?:\.[0-9]+)*$`)
	objectName        = pattern(`\.(?:a|so|dylib)(?:\.[^/]*)?$`)
	licenceName       = pattern(`(?i)^(?:[^/]*[-_.])?(?:licen[cs]es?|copying|copyright|notice)(?:[-_.][^/]*)?$`)
)

func documentation(r *run) ([]string, error) { return r.files(documentationName().MatchString) }

func manuals(r *run) ([]string, error) {
	return r.files(func(p string) bool {
		return manualPath().MatchString(p) || infoPath().MatchString(p) || p == "usr/share/info/dir" || p == "usr/local/share/info/dir"
	})
}

func foreignSBOM(r *run) ([]string, error) {
	return r.files(func(p string) bool {
		return strings.HasPrefix(p, sbomDir+"/") && !strings.HasSuffix(p, ".spdx.json")
	})
}

// modes returns the regular files whose mode fits.
func (r *run) modes(bits uint32) (out []string, _ error) {
	for _, e := range r.Tree.Entries() {
		if e.Type == apk.TypeFile && e.Mode&bits != 0 {
			out = append(out, fmt.Sprintf("%s (%04o)", e.Path, e.Mode))
		}
	}
	return out, nil
}

func specialBits(r *run) ([]string, error)   { return r.modes(0o7000) }
func worldWritable(r *run) ([]string, error) { return r.modes(0o002) }

func temporary(r *run) ([]string, error) {
	snippet := slices.ContainsFunc(r.Tree.Entries(), func(e apk.Entry) bool { return strings.HasPrefix(e.Path, "usr/lib/tmpfiles.d/") })
	var out []string
	for _, e := range r.Tree.Entries() {
		in := func(dir string) bool { return strings.HasPrefix(e.Path, dir+"/") }
		dir := e.Type == apk.TypeDir
		if (in("tmp") || in("var/tmp")) && !dir || in("var/run") || in("run") && (!dir || !snippet) {
			out = append(out, e.Path)
		}
	}
	return out, nil
}

func infoIndex(r *run) ([]string, error) {
	return r.files(func(p string) bool { return p == "usr/share/info/dir" || strings.HasPrefix(p, "usr/share/info/dir/") })
}

func empty(r *run) ([]string, error) {
	if r.NoProvides {
		return nil, nil
	}
	files, _ := r.files(func(p string) bool { return !strings.HasPrefix(p, sbomDir+"/") })
	if len(files) > 0 {
		return nil, nil
	}
	return []string{""}, nil
}

func cudaDriver(r *run) ([]string, error) { return r.files(cudaPath().MatchString) }

func untestedPkgConfig(r *run) ([]string, error) {
	if r.Tests == nil || slices.Contains(r.Tests, "test/pkgconf") {
		return nil, nil
	}
	return r.files(func(p string) bool {
		return strings.HasPrefix(p, "usr/lib/pkgconfig/") || strings.HasPrefix(p, "usr/share/pkgconfig/")
	})
}

func untestedLibraries(r *run) ([]string, error) {
	if r.Tests == nil || slices.Contains(r.Tests, "test/ldd-check") || slices.Contains(r.Tests, "test/tw/ldd-check") {
		return nil, nil
	}
	return r.files(libraryName().MatchString)
}

// unmerged finds what is in a directory that should be a link; the link itself,
// as the base layout has it, is none.
func unmerged(r *run) (out []string, _ error) {
	for _, e := range r.Tree.Entries() {
		for _, dir := range []string{"bin", "sbin", "lib", "lib64", "usr/sbin"} {
			if e.Path == dir && e.Type != apk.TypeSymlink || strings.HasPrefix(e.Path, dir+"/") {
				out = append(out, e.Path)
			}
		}
	}
	return out, nil
}

func otherSystems(r *run) ([]string, error) {
	return r.files(func(p string) bool {
		p = strings.ToLower(p)
		return slices.ContainsFunc([]string{"darwin", "macos", "mac_os", "mac-os", "osx", "os_x", "os-x", "windows", "win32", "win64"},
			func(s string) bool { return strings.Contains(p, s) })
	})
}

var (
	foreignNames = []string{"i386", "i686", "x86_32", "x86-32", "ppc64", "ppc64le", "powerpc", "s390x", "s390", "mips", "mipsel", "mips64",
		"riscv", "riscv64", "sparc", "sparc64", "ia64", "m68k"}
	nativeNames = []string{"aarch64", "arm64", "amd64", "x86_64", "x86-64"}
)

// otherArchNames finds names with an architecture as a word of its own. A path
// that names one of ours too says that the file is for both.
func otherArchNames(r *run) ([]string, error) {
	return r.files(func(p string) bool {
		p = strings.ToLower(p)
		named := func(list []string) bool {
			return slices.ContainsFunc(list, func(a string) bool { return hasWord(p, a) })
		}
		return named(foreignNames) && !named(nativeNames)
	})
}

// hasWord reports whether word stands in p between separators or ends.
func hasWord(p, word string) bool {
	separator := func(c byte) bool { return strings.IndexByte("/-_.", c) >= 0 }
	for at := 0; ; {
		i := strings.Index(p[at:], word)
		if i < 0 {
			return false
		}
		i += at
		end := i + len(word)
		if (i == 0 || separator(p[i-1])) && (end == len(p) || separator(p[end])) {
			return true
		}
		at = i + 1
	}
}

// machines are the ELF machine numbers of apk's architectures.
var machines = map[string]elf.Machine{"x86_64": elf.EM_X86_64, "aarch64": elf.EM_AARCH64, "x86": elf.EM_386, "armhf": elf.EM_ARM,
	"armv7": elf.EM_ARM, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "riscv64": elf.EM_RISCV, "loongarch64": elf.EM_LOONGARCH}

func (r *run) object(e *apk.Entry) bool {
	return e.Type == apk.TypeFile && e.ELF != nil && (e.Mode&0o111 != 0 || objectName().MatchString(e.Path)) && !strings.HasPrefix(e.Path, sbomDir+"/")
}

func otherArchBinaries(r *run) (out []string, _ error) {
	allowed := []elf.Machine{elf.EM_X86_64, elf.EM_AARCH64}
	if m, ok := machines[r.Arch]; ok {
		allowed = []elf.Machine{m}
	}
	entries := r.Tree.Entries()
	for i := range entries {
		e := &entries[i]
		if !r.object(e) {
			continue
		}
		if m := elf.Machine(e.ELF.Machine); !slices.Contains(allowed, m) {
			out = append(out, fmt.Sprintf("%s (%s)", e.Path, strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))))
		}
	}
	return out, nil
}

// unstripped finds sections of debugging information that are not loaded: some
// compilers keep a loaded one, .debug_gdb_scripts, that no strip removes.
func unstripped(r *run) (out []string, _ error) {
	entries := r.Tree.Entries()
	for i := range entries {
		e := &entries[i]
		if !r.object(e) || strings.HasPrefix(e.Path, "usr/lib/debug/") {
			continue
		}
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		found, err := r.debugSection(e)
		if err != nil {
			return nil, err
		}
		if found != "" {
			out = append(out, fmt.Sprintf("%s (%s)", e.Path, found))
		}
	}
	return out, nil
}

func (r *run) debugSection(e *apk.Entry) (_ string, err error) {
	f, err := r.Tree.Open(e.Path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return DebugSection(f), nil
}

// DebugSection returns the name of the first section of debugging information of
// an ELF file, "" without one or when the file cannot be read as ELF.
func DebugSection(r io.ReaderAt) (name string) {
	// The standard library's object file readers are not made for hostile files.
	defer func() {
		if recover() != nil {
			name = ""
		}
	}()
	file, err := elf.NewFile(r)
	if err != nil {
		return ""
	}
	for _, s := range file.Sections {
		debug := s.Name == ".debug" || strings.HasPrefix(s.Name, ".debug_") || strings.HasPrefix(s.Name, ".zdebug_")
		if debug && s.Flags&elf.SHF_ALLOC == 0 {
			return s.Name
		}
	}
	return ""
}

var sitePackages = pattern(`^usr/lib/python\d+\.\d+/site-packages/([^/]+)$`)

// modules returns the names directly below site-packages.
func (r *run) modules() (out []string) {
	for _, e := range r.Tree.Entries() {
		if m := sitePackages().FindStringSubmatch(e.Path); m != nil {
			out = append(out, m[1])
		}
	}
	return out
}

func pythonNamed(names ...string) func(*run) ([]string, error) {
	return func(r *run) (out []string, _ error) {
		for _, e := range r.Tree.Entries() {
			if m := sitePackages().FindStringSubmatch(e.Path); m != nil && slices.Contains(names, m[1]) {
				out = append(out, e.Path)
			}
		}
		return out, nil
	}
}

// pythonSeveral counts modules by their importable name: x/, x.py and
// x.cpython-313-x86_64-linux-gnu.so are one.
func pythonSeveral(r *run) ([]string, error) {
	var names []string
	for _, m := range r.modules() {
		switch ext := path.Ext(m); {
		case strings.HasPrefix(m, "_"), slices.Contains([]string{"test", "tests", "doc", "docs"}, m),
			slices.Contains([]string{".egg-info", ".dist-info", ".pth"}, ext):
			continue
		}
		if name, _, _ := strings.Cut(m, "."); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 2 {
		return nil, nil
	}
	return names, nil
}

// minDuplicate is the smallest file that is worth a link, in bytes.
const minDuplicate = 1 << 10

func duplicates(r *run) (out []string, _ error) {
	type key struct {
		name string
		sum  apk.SHA256
	}
	groups := map[key][]string{}
	var order []key
	for _, e := range r.Tree.Entries() {
		base := path.Base(e.Path)
		if e.Type != apk.TypeFile || e.Size < minDuplicate || licenceName().MatchString(base) {
			continue
		}
		k := key{base, e.SHA256}
		if groups[k] = append(groups[k], e.Path); len(groups[k]) == 2 {
			order = append(order, k)
		}
	}
	for _, k := range order {
		out = append(out, strings.Join(groups[k], " = "))
	}
	return out, nil
}
