package apk

import "strconv"

// AppendIndexEntry appends p as one entry of an APKINDEX file, the blank line
// that ends it included, and returns the extended buffer.
//
// Keys and their order are those that apk-tools 2.14 writes: C P V A S I T U L
// o m t c k D p i, of which T, U and L stand even when they are empty. Replaces
// and Triggers have no place in an index.
func AppendIndexEntry(b []byte, p *Package) []byte {
	b = appendText(b, "C:", p.Checksum.String())
	b = appendText(b, "P:", p.Name)
	b = appendText(b, "V:", p.Version)
	b = appendNonEmpty(b, "A:", p.Arch)
	b = appendInt(b, "S:", p.Size)
	b = appendInt(b, "I:", p.InstalledSize)
	b = appendText(b, "T:", p.Description)
	b = appendText(b, "U:", p.URL)
	b = appendText(b, "L:", p.License)
	b = appendNonEmpty(b, "o:", p.Origin)
	b = appendNonEmpty(b, "m:", p.Maintainer)
	b = appendNonZero(b, "t:", p.BuildTime)
	b = appendNonEmpty(b, "c:", p.Commit)
	b = appendNonZero(b, "k:", p.ProviderPriority)
	b = appendList(b, "D:", p.Depends)
	b = appendList(b, "p:", p.Provides)
	b = appendList(b, "i:", p.InstallIf)
	return append(b, '\n')
}

// AppendPkgInfo appends p as the text of a .PKGINFO file and returns the
// extended buffer. Checksum and Size have no place in it. The lines are
// "key = value", one for each element of a list.
func AppendPkgInfo(b []byte, p *Package) []byte {
	b = appendText(b, "pkgname = ", p.Name)
	b = appendText(b, "pkgver = ", p.Version)
	b = appendNonEmpty(b, "arch = ", p.Arch)
	b = appendInt(b, "size = ", p.InstalledSize)
	b = appendNonEmpty(b, "origin = ", p.Origin)
	b = appendNonEmpty(b, "pkgdesc = ", p.Description)
	b = appendNonEmpty(b, "url = ", p.URL)
	b = appendNonEmpty(b, "commit = ", p.Commit)
	b = appendNonEmpty(b, "maintainer = ", p.Maintainer)
	b = appendNonZero(b, "builddate = ", p.BuildTime)
	b = appendNonEmpty(b, "license = ", p.License)
	b = appendLines(b, "depend = ", p.Depends)
	b = appendLines(b, "provides = ", p.Provides)
	b = appendLines(b, "replaces = ", p.Replaces)
	b = appendLines(b, "install_if = ", p.InstallIf)
	b = appendNonZero(b, "provider_priority = ", p.ProviderPriority)
	b = appendNonZero(b, "replaces_priority = ", p.ReplacesPriority)
	if len(p.Triggers) > 0 {
		b = append(b, "triggers ="...)
		for _, glob := range p.Triggers {
			b = append(append(b, ' '), glob...)
		}
		b = append(b, '\n')
	}
	if !p.DataHash.IsZero() {
		b = appendText(b, "datahash = ", p.DataHash.Hex())
	}
	return b
}

func appendText(b []byte, key, value string) []byte {
	b = append(append(b, key...), value...)
	return append(b, '\n')
}

func appendNonEmpty(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(b, key, value)
}

func appendInt(b []byte, key string, n int64) []byte {
	b = strconv.AppendInt(append(b, key...), n, 10)
	return append(b, '\n')
}

func appendNonZero(b []byte, key string, n int64) []byte {
	if n == 0 {
		return b
	}
	return appendInt(b, key, n)
}

func appendList(b []byte, key string, list []Dependency) []byte {
	if len(list) == 0 {
		return b
	}
	b = appendDependencies(append(b, key...), list)
	return append(b, '\n')
}

func appendLines(b []byte, key string, list []Dependency) []byte {
	for _, d := range list {
		b = d.append(append(b, key...))
		b = append(b, '\n')
	}
	return b
}
