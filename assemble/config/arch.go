package config

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"chainguard.dev/apko/pkg/build/types"

	"github.com/cairn-dev/cairn/packages/spelling"
)

// Arch is one architecture under its two names.
type Arch struct {
	// APK is apk's spelling: x86, x86_64, aarch64, armhf, armv7, loongarch64,
	// ppc64le, riscv64, s390x.
	APK string
	// OS, Architecture and Variant are OCI's; OS is always linux.
	OS, Architecture, Variant string
}

// String returns OCI's spelling, "linux/arm/v7".
func (a Arch) String() string {
	s := a.OS + "/" + a.Architecture
	if a.Variant != "" {
		s += "/" + a.Variant
	}
	return s
}

func newArch(a types.Architecture) Arch {
	p := a.ToOCIPlatform()
	return Arch{APK: a.ToAPK(), OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}

// The names that stand for several architectures, or for this machine's.
const (
	archAll  = "all"
	archHost = "host"
)

// archNames returns every accepted name, OCI's and apk's.
func archNames() []string {
	var out []string
	for _, a := range types.AllArchs {
		out = append(out, string(a))
		if apk := a.ToAPK(); apk != string(a) {
			out = append(out, apk)
		}
	}
	return append(out, archAll, archHost)
}

func archProblem(v string) (detail, hint string) {
	names := archNames()
	if slices.Contains(names, v) {
		return "", ""
	}
	if near := spelling.Nearest(v, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return "found " + strconv.Quote(shorten(v)) + ", expected one of " + strings.Join(names, ", "), hint
}

func checkArch(c *checker, at place, v string) {
	if detail, hint := archProblem(v); detail != "" {
		c.problem(at, "unknown architecture", detail, hint)
	}
}

// expandArchs turns names into architectures, each once, in their order; all
// and host are replaced by what they stand for.
func expandArchs(names []types.Architecture) []types.Architecture {
	var out []types.Architecture
	add := func(list ...types.Architecture) {
		for _, a := range list {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	for _, n := range names {
		switch n {
		case archAll:
			add(types.AllArchs...)
		case archHost:
			add(hostArch(runtime.GOARCH, os.Getenv("GOARM")))
		default:
			add(types.ParseArchitecture(string(n)))
		}
	}
	return out
}

// hostArch names the architecture this program was compiled for. A 32-bit ARM
// program does not know its variant; v7 is what such machines are today.
func hostArch(goarch, goarm string) types.Architecture {
	switch {
	case goarch == "arm" && strings.HasPrefix(goarm, "6"):
		return "arm/v6"
	case goarch == "arm":
		return "arm/v7"
	}
	return types.ParseArchitecture(goarch)
}

// Architectures returns what to build for: the configuration's archs, or all
// known ones when it names none, as apko does.
func (c *Config) Architectures() []Arch {
	list := c.Archs
	if len(list) == 0 {
		list = types.AllArchs
	}
	out := make([]Arch, len(list))
	for i, a := range list {
		out[i] = newArch(a)
	}
	return out
}
