package definition

import (
	"fmt"
	"strings"
)

// archs maps apk's architectures to Go's and to those of GNU and Rust triplets.
var archs = map[string]struct{ goarch, gnu, rust string }{
	"x86":         {"386", "i486-pc-linux-gnu", "i686-unknown-linux-gnu"},
	"x86_64":      {"amd64", "x86_64-pc-linux-gnu", "x86_64-unknown-linux-gnu"},
	"aarch64":     {"arm64", "aarch64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"},
	"armhf":       {"arm/v6", "arm-unknown-linux-gnueabihf", "armv6-unknown-linux-gnueabihf"},
	"armv7":       {"arm/v7", "armv7l-unknown-linux-gnueabihf", "armv7-unknown-linux-gnueabihf"},
	"ppc64le":     {"ppc64le", "powerpc64le-unknown-linux-gnu", "powerpc64le-unknown-linux-gnu"},
	"s390x":       {"s390x", "s390x-ibm-linux-gnu", "s390x-unknown-linux-gnu"},
	"riscv64":     {"riscv64", "riscv64-unknown-linux-gnu", "riscv64-unknown-linux-gnu"},
	"loongarch64": {"loong64", "loong64-unknown-linux-gnu", "loong64-unknown-linux-gnu"},
}

// ParseArch turns apk's, Go's or OCI's name of an architecture into apk's.
func ParseArch(name string) (string, error) {
	if _, ok := archs[name]; ok {
		return name, nil
	}
	for apk, a := range archs {
		if a.goarch == name {
			return apk, nil
		}
	}
	return "", fmt.Errorf("unknown architecture: found %q, expected one of x86_64, aarch64, x86, armhf, armv7, loongarch64, ppc64le, riscv64, s390x", name)
}

// triplets are the variables that depend on the architecture alone, for a libc:
// gnu or musl.
func archValues(arch, libc string) map[string]string {
	a := archs[arch]
	musl := func(s string) string { return strings.Replace(s, "-linux-gnu", "-linux-musl", 1) }
	out := map[string]string{
		"cross.triplet.gnu.glibc": a.gnu, "cross.triplet.gnu.musl": musl(a.gnu),
		"cross.triplet.rust.glibc": a.rust, "cross.triplet.rust.musl": musl(a.rust),
		"host.triplet.gnu": a.gnu, "host.triplet.rust": a.rust,
		"build.arch": arch, "build.goarch": a.goarch,
	}
	if libc == "musl" {
		out["host.triplet.gnu"], out["host.triplet.rust"] = musl(a.gnu), musl(a.rust)
	}
	return out
}
