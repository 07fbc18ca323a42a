package repository

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// IndexFile is the name of an index inside an architecture directory.
const IndexFile = "APKINDEX.tar.gz"

// scheme is where a repository lives.
type scheme uint8

const (
	schemeHTTP scheme = iota + 1
	schemeLocal
	schemeBuiltin
)

// Source names one repository for one architecture, and how far it is trusted.
type Source struct {
	// URL is the repository as the configuration writes it, without the tag:
	// https://…, http://…, file://…, builtin://NAME or a directory. The index
	// is at URL/Arch/APKINDEX.tar.gz.
	URL string
	// Tag is the name after "@" in "@tag URL": the repository is used only for
	// requests with that tag. Empty for most.
	Tag string
	// Arch is the architecture in apk's spelling (x86_64, aarch64, armv7…).
	Arch string
	// Keyring holds the keys whose signatures count for this repository.
	Keyring *Keyring
	// Discover lets Load look for keys ([Client.Discover]) when no key of Keyring
	// made the signature.
	Discover bool
	// UnsafeUnsigned accepts an index without any verified signature: unsigned,
	// signed by an unknown key, or signed wrongly. [Index.UnsafeUnsigned] tells
	// when that was needed.
	UnsafeUnsigned bool
}

// ParseSource reads a line of a repositories list, "URL" or "@tag URL", for an
// architecture. It opens nothing.
func ParseSource(line, arch string) (Source, error) {
	s := Source{Arch: arch, URL: strings.TrimSpace(line)}
	if rest, ok := strings.CutPrefix(s.URL, "@"); ok {
		tag, u, found := strings.Cut(rest, " ")
		s.Tag, s.URL = tag, strings.TrimSpace(u)
		if !found || s.URL == "" || tag == "" {
			return Source{}, fmt.Errorf("repository %q: expected \"@tag URL\"", Redact(line))
		}
	}
	if strings.ContainsAny(s.URL, " \t\r\n") {
		return Source{}, fmt.Errorf("repository %q: contains white space", Redact(s.URL))
	}
	if err := s.check(); err != nil {
		return Source{}, err
	}
	s.URL = trimSlashes(s.URL)
	return s, nil
}

// trimSlashes drops trailing slashes, but keeps "/" and "scheme://".
func trimSlashes(u string) string {
	for len(u) > 1 && strings.HasSuffix(u, "/") && !strings.HasSuffix(u, "://") {
		u = u[:len(u)-1]
	}
	return u
}

func (s Source) check() error {
	subject := "repository " + s.Redacted()
	switch {
	case s.URL == "":
		return fmt.Errorf("repository: empty URL")
	case s.Arch == "" || strings.ContainsAny(s.Arch, "/\\ \x00") || s.Arch == "." || s.Arch == "..":
		return fmt.Errorf("%s: architecture %q: expected a name such as x86_64", subject, s.Arch)
	}
	k, rest := s.split()
	switch k {
	case schemeHTTP:
		u, err := parseURL(s.URL)
		if err != nil {
			return fmt.Errorf("%s: %w", subject, err)
		}
		if u.Host == "" {
			return fmt.Errorf("%s: no host name", subject)
		}
	case schemeBuiltin:
		if !fs.ValidPath(rest) || strings.Contains(rest, "/") || rest == "." {
			return fmt.Errorf("%s: expected builtin://NAME", subject)
		}
	case schemeLocal:
		if rest == "" {
			return fmt.Errorf("%s: expected file:///directory", subject)
		}
	default:
		return fmt.Errorf("%s: unknown scheme: expected https://, http://, file://, builtin:// or a directory", subject)
	}
	return nil
}

// split tells the kind of source, and what follows the scheme: for local ones
// the directory.
func (s Source) split() (scheme, string) {
	sch, rest, ok := strings.Cut(s.URL, "://")
	if !ok {
		return schemeLocal, s.URL
	}
	switch strings.ToLower(sch) {
	case "https", "http":
		return schemeHTTP, rest
	case "builtin":
		return schemeBuiltin, strings.TrimRight(rest, "/")
	case "file":
		rest = strings.TrimPrefix(rest, "localhost")
		if p, err := url.PathUnescape(rest); err == nil {
			rest = p
		}
		if !strings.HasPrefix(rest, "/") {
			return schemeLocal, ""
		}
		return schemeLocal, rest
	}
	return 0, ""
}

// Local reports whether the repository is a directory on this machine.
func (s Source) Local() bool { k, _ := s.split(); return k == schemeLocal }

// Builtin reports whether the repository is a registered builtin://NAME.
func (s Source) Builtin() bool { k, _ := s.split(); return k == schemeBuiltin }

// Remote reports whether the repository is reached over HTTP.
func (s Source) Remote() bool { k, _ := s.split(); return k == schemeHTTP }

// Redacted returns URL in a form fit for messages and files.
func (s Source) Redacted() string { return Redact(s.URL) }

// IndexURL returns where the index is: a URL, or for a local repository a path.
// It may hold credentials; print Redact of it.
func (s Source) IndexURL() string { return s.join(IndexFile) }

// PackageURL returns where the package file of that name is, in the same form as
// IndexURL does.
func (s Source) PackageURL(filename string) string { return s.join(filename) }

func (s Source) join(file string) string {
	k, rest := s.split()
	if k == schemeLocal {
		return filepath.Join(rest, s.Arch, file)
	}
	u, err := parseURL(s.URL)
	if err != nil {
		return s.URL + "/" + s.Arch + "/" + file
	}
	return u.JoinPath(url.PathEscape(s.Arch), url.PathEscape(file)).String()
}

// builtinPath returns the name of the registered file system and the path in it.
func (s Source) builtinPath(file string) (name, p string) {
	_, name = s.split()
	return name, path.Join(s.Arch, file)
}

// Redact returns u without what may be secret: user information and the values
// of the query. What is no URL is returned unchanged, unless it looks as if it
// held credentials.
func Redact(u string) string {
	sch, rest, ok := strings.Cut(u, "://")
	if !ok {
		return u
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	if i := strings.IndexAny(tail, "?#"); i >= 0 {
		tail = tail[:i] + "?…"
	}
	// A password with a "/" in it, not escaped, ends up in the path.
	if i := strings.LastIndexByte(tail, '@'); i >= 0 && strings.Contains(authority, ":") && !validPort(authority) {
		authority, tail = "…", tail[i:]
	}
	return sch + "://" + authority + tail
}

// validPort reports whether what follows the last colon is a port number.
func validPort(authority string) bool {
	i := strings.LastIndexByte(authority, ':')
	for _, c := range authority[i+1:] {
		if (c < '0' || c > '9') && c != ']' {
			return false
		}
	}
	return true
}
