package scan

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/tree"
)

// libDirs are where the loader looks for libraries.
var libDirs = []string{"lib", "usr/lib", "lib64", "usr/lib64"}

// maxConfig is how much of a configuration file is read, in bytes.
const maxConfig = 1 << 20

// configuredDirs are the directories that ld.so.conf.d files of the package and
// its siblings name.
func (s *scanner) configuredDirs() (out []string) {
	trees := []*tree.Tree{s.in.Tree}
	for _, r := range s.in.Related {
		trees = append(trees, r.Tree)
	}
	for _, t := range trees {
		for _, e := range t.Entries() {
			if !strings.HasPrefix(e.Path, "etc/ld.so.conf.d/") || !strings.HasSuffix(e.Path, ".conf") || t.Content(&e) == nil {
				continue
			}
			b, err := t.ReadFile(e.Path, maxConfig)
			if err != nil {
				s.warn("%v", err)
				continue
			}
			for line := range strings.Lines(string(b)) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, "/") {
					out = append(out, path.Clean(line)[1:])
				}
			}
		}
	}
	return out
}

// hostLibraries come from the driver of the machine that a container runs on; a
// package that provided or needed them could not be installed next to it.
var hostLibraries = map[string]bool{}

func init() {
	for _, n := range []string{"EGL_nvidia.so.1", "GLESv1_CM_nvidia.so.1", "GLESv2_nvidia.so.1", "GLX_nvidia.so.1", "cuda.so.1",
		"cudadebugger.so.1", "nvcuvid.so.1", "nvidia-allocator.so.1", "nvidia-cfg.so.1", "nvidia-eglcore.so.1", "nvidia-encode.so.1",
		"nvidia-fbc.so.1", "nvidia-glcore.so.1", "nvidia-glsi.so.1", "nvidia-glvkspirv.so.1", "nvidia-gpucomp.so.1", "nvidia-ml.so.1",
		"nvidia-ngx.so.1", "nvidia-nvvm.so.1", "nvidia-opencl.so.1", "nvidia-opticalflow.so.1", "nvidia-pkcs11-openssl3.so.1",
		"nvidia-pkcs11.so.1", "nvidia-ptxjitcompiler.so.1", "nvidia-rtcore.so.1", "nvidia-tls.so.1", "nvoptix.so.1"} {
		hostLibraries["lib"+n] = true
	}
}

func (s *scanner) sharedObject(e *apk.Entry) error {
	content := e
	switch e.Type {
	case apk.TypeSymlink:
		s.linkToLibrary(e)
		if content = s.in.Tree.Resolve(e.Path); content == nil {
			return nil
		}
	case apk.TypeFile, apk.TypeHardlink:
	default:
		return nil
	}
	if content = s.in.Tree.Content(content); content == nil || content.ELF == nil {
		return nil
	}
	elf := content.ELF
	if elf.Interp != "" {
		// musl's loader is the C library itself and provided under that name.
		name := strings.Replace("so:"+path.Base(elf.Interp), "so:ld-musl", "so:libc.musl", 1)
		s.note(Depend, "so", name, e.Path)
	}
	for _, lib := range elf.Needed {
		if strings.Contains(lib, ".so.") {
			s.needLibrary(lib, e.Path)
		}
	}
	s.offerLibrary(e, elf)
	if e.Type == apk.TypeFile {
		return s.goProgram(e)
	}
	return nil
}

func (s *scanner) needLibrary(soname, p string) {
	if hostLibraries[soname] {
		return
	}
	s.note(Depend, "so", "so:"+soname, p)
	if v := s.versions[soname]; v != "" {
		s.note(Depend, "so", "so-ver:"+soname+">="+v, p)
	}
}

// offerLibrary notes the SONAME. A program has none, but some linkers set one, so
// that an object with an interpreter counts only when it is named like a library
// (libc and libcap are both).
func (s *scanner) offerLibrary(e *apk.Entry, elf *apk.ELF) {
	base := path.Base(e.Path)
	library := strings.Contains(base, ".so.") || strings.HasSuffix(base, ".so")
	if elf.SONAME == "" || hostLibraries[elf.SONAME] || elf.Interp != "" && !library {
		return
	}
	kind := Vendor
	if inDir(e.Path, s.libDirs...) {
		kind = Provide
	}
	s.note(kind, "so", "so:"+elf.SONAME+"="+sonameVersion(elf.SONAME), e.Path)
	s.note(kind, "so", "so-ver:"+elf.SONAME+"="+s.in.Version, e.Path)
}

// sonameVersion is the number after ".so.", "0" where there is none.
func sonameVersion(soname string) string {
	_, v, ok := strings.Cut(soname, ".so.")
	v, _, _ = strings.Cut(v, ".so.")
	if !ok || strings.Trim(v, "0123456789.") != "" || v == "" {
		return "0"
	}
	return v
}

// linkToLibrary handles links such as usr/lib/libx.so → libx.so.1, whose target
// may be in a sibling package: whoever installs the link needs the library.
func (s *scanner) linkToLibrary(e *apk.Entry) {
	if !strings.Contains(e.Path, ".so") {
		return
	}
	base := path.Base(e.Link)
	trees := []*tree.Tree{s.in.Tree}
	for _, r := range s.in.Related {
		trees = append(trees, r.Tree)
	}
	for _, t := range trees {
		for _, dir := range s.libDirs {
			found := t.Resolve(path.Join(dir, base))
			if found == nil {
				continue
			}
			if found = t.Content(found); found != nil && found.ELF != nil && found.ELF.SONAME != "" {
				s.needLibrary(found.ELF.SONAME, e.Path)
			}
			return
		}
	}
}

// installedVersions says which version of each library the package was built
// with, as far as the package that has it says so itself.
func (s *scanner) installedVersions() map[string]string {
	o := s.in.Options
	if !o.VersionedShlibDeps || o.NoVersionedShlibDeps {
		return nil
	}
	out := map[string]string{}
	for _, p := range s.in.Installed {
		for _, d := range p.Provides {
			soname, ok := strings.CutPrefix(d.Name, "so-ver:")
			// The loader is every program's: a new version of it would mean to
			// build everything again.
			if ok && d.Version != "" && !strings.HasPrefix(soname, "ld-linux-") && apk.Compare(out[soname], p.Version) < 0 {
				out[soname] = p.Version
			}
		}
	}
	// What the definition itself makes is of this version.
	trees := append([]Related{{Tree: s.in.Tree}}, s.in.Related...)
	for _, r := range trees {
		for _, e := range r.Tree.Entries() {
			if e.ELF != nil && e.ELF.SONAME != "" && inDir(e.Path, s.libDirs...) {
				out[e.ELF.SONAME] = s.in.Version
			}
		}
	}
	return out
}

// fipsExperiments are the values of GOEXPERIMENT that make a Go program load
// OpenSSL when it runs.
var fipsExperiments = []string{"boringcrypto", "systemcrypto", "opensslcrypto"}

// goProgram notes what a Go program loads without saying so in its headers.
func (s *scanner) goProgram(e *apk.Entry) (err error) {
	if e.ELF.SONAME != "" && e.ELF.Interp == "" {
		return nil // a library
	}
	f, err := s.in.Tree.Open(e.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := GoBuildInfo(f)
	if err != nil || info == nil {
		return nil // not a Go program
	}
	cgo, fips := false, false
	for _, setting := range info.Settings {
		switch setting.Key {
		case "CGO_ENABLED":
			cgo = setting.Value == "1"
		case "GOEXPERIMENT":
			fips = fips || slices.ContainsFunc(strings.Split(setting.Value, ","), func(x string) bool { return slices.Contains(fipsExperiments, x) })
		case "microsoft_systemcrypto":
			fips = fips || setting.Value == "1"
		}
	}
	if cgo && fips {
		s.note(Depend, "fips", "openssl-config-fipshardened", e.Path)
		s.note(Depend, "fips", "so:libcrypto.so.3", e.Path)
	}
	return nil
}

// GoBuildInfo reads what the Go linker wrote into a program. The file may be
// anything; what cannot be read is an error.
func GoBuildInfo(r io.ReaderAt) (info *buildinfo.BuildInfo, err error) {
	// The standard library's object file readers are not made for hostile files.
	defer func() {
		if p := recover(); p != nil {
			info, err = nil, fmt.Errorf("build information: %v", p)
		}
	}()
	return buildinfo.Read(r)
}
