package store

import "strings"

// Limits of the contents that receipts carry, in bytes.
const (
	maxSmall    = 1 << 20  // of a configuration file
	maxSBOM     = 16 << 20 // of an embedded SBOM
	maxContents = 64 << 20 // of all contents of one package
)

// ContentWanted reports whether a receipt carries the bytes of a regular file of
// this path and size: the small files that planning an image needs. The bytes
// of others are read with [Store.ReadFile].
func ContentWanted(path string, size int64) bool {
	dir, rest, ok := strings.Cut(path, "/")
	if !ok {
		return false
	}
	switch dir {
	case "etc":
		return size <= maxSmall && wantedEtc(rest)
	case "usr":
		return size <= maxSmall && wantedUsr(rest)
	case "var":
		name, ok := strings.CutPrefix(rest, "lib/db/sbom/")
		return ok && size <= maxSBOM && strings.HasSuffix(name, ".json") && !strings.Contains(name, "/")
	case "lib":
		return size <= maxSmall && strings.HasPrefix(rest, "apk/")
	}
	return false
}

func wantedEtc(rest string) bool {
	switch rest {
	case "passwd", "group", "shadow", "gshadow", "os-release", "nsswitch.conf", "ld.so.conf", "shells", "busybox-paths":
		return true
	}
	dir, _, ok := strings.Cut(rest, "/")
	return ok && (dir == "apk" || dir == "ld.so.conf.d" || dir == "busybox-paths.d")
}

func wantedUsr(rest string) bool {
	return rest == "lib/os-release" || strings.HasPrefix(rest, "lib/apk/") ||
		strings.HasPrefix(rest, "local/share/ca-certificates/")
}
