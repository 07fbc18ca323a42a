package image

import (
	"fmt"
	"strings"
)

// Ref is an image reference with a tag: [registry/]repository[:tag], as the
// distribution project's reference grammar has it.
type Ref struct {
	Registry   string // "docker.io" when the text named none
	Repository string // "library/hello" for "hello" on docker.io
	Tag        string // "latest" when the text named none
}

const (
	defaultRegistry = "docker.io"
	defaultTag      = "latest"
	maxRepository   = 255
	maxTag          = 128
)

// ValidateTag says what is wrong with a TAG argument, before any work is done.
func ValidateTag(s string) error {
	_, err := ParseTag(s)
	return err
}

// ParseTag reads an image reference that names a tag or nothing after the
// repository. A digest is refused: what the digest will be is not the user's
// to choose.
func ParseTag(s string) (Ref, error) {
	r, err := parseTag(s)
	if err != nil {
		return Ref{}, fmt.Errorf("tag %.200q: %w", s, err)
	}
	return r, nil
}

func parseTag(s string) (Ref, error) {
	if s == "" {
		return Ref{}, fmt.Errorf("empty: expected [registry/]repository[:tag]")
	}
	if strings.Contains(s, "@") {
		return Ref{}, fmt.Errorf("names a digest: expected [registry/]repository[:tag]")
	}
	if i := strings.Index(s, "://"); i >= 0 {
		return Ref{}, fmt.Errorf("begins with %q: expected [registry/]repository[:tag] without a scheme", s[:i+3])
	}
	r := Ref{Registry: defaultRegistry, Tag: defaultTag}
	rest := s
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		r.Tag, rest = rest[i+1:], rest[:i]
		if err := checkTag(r.Tag); err != nil {
			return Ref{}, err
		}
	}
	if first, after, ok := strings.Cut(rest, "/"); ok && isRegistry(first) {
		r.Registry, rest = first, after
		if err := checkRegistry(first); err != nil {
			return Ref{}, err
		}
	}
	if err := checkRepository(rest); err != nil {
		return Ref{}, err
	}
	if r.Registry == "index.docker.io" {
		r.Registry = defaultRegistry
	}
	if r.Registry == defaultRegistry && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	r.Repository = rest
	return r, nil
}

// isRegistry tells a registry from the first part of a repository, by Docker's
// rule.
func isRegistry(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost" || strings.ToLower(s) != s
}

func checkTag(s string) error {
	if s == "" {
		return fmt.Errorf("nothing after the colon: expected a tag")
	}
	if len(s) > maxTag {
		return fmt.Errorf("%d characters after the colon: expected at most %d", len(s), maxTag)
	}
	for i := range len(s) {
		c := s[i]
		if !isAlnum(c) && c != '_' && (i == 0 || c != '.' && c != '-') {
			return fmt.Errorf("character %q in %q: expected a tag of letters, digits, %q, not beginning with \".\" or \"-\"", c, s, "_.-")
		}
	}
	return nil
}

func checkRegistry(s string) error {
	host, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port, hasPort = s[:i], s[i+1:], true
	}
	if hasPort && (port == "" || strings.Trim(port, "0123456789") != "" || len(port) > 5) {
		return fmt.Errorf("port %q of registry %q: expected a number", port, s)
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") && strings.Trim(host[1:len(host)-1], "0123456789abcdefABCDEF:") == "" {
		return nil // IPv6
	}
	for _, label := range strings.Split(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || strings.IndexFunc(label, notHostRune) >= 0 {
			return fmt.Errorf("registry %q: expected a host name with an optional port", s)
		}
	}
	return nil
}

func notHostRune(r rune) bool { return r > 0x7f || !isAlnum(byte(r)) && r != '-' }

func checkRepository(s string) error {
	if len(s) > maxRepository {
		return fmt.Errorf("repository of %d characters: expected at most %d", len(s), maxRepository)
	}
	for _, part := range strings.Split(s, "/") {
		if part == "" {
			return fmt.Errorf("empty part in repository %q", s)
		}
		if strings.ToLower(part) != part {
			return fmt.Errorf("upper-case letters in repository %q: expected lower case, as in %q", s, strings.ToLower(s))
		}
		if err := checkPart(part); err != nil {
			return fmt.Errorf("repository %q: %w", s, err)
		}
	}
	return nil
}

// checkPart holds a repository component to [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func checkPart(s string) error {
	for rest := s; ; {
		n := strings.IndexFunc(rest, func(r rune) bool { return r > 0x7f || !isAlnum(byte(r)) })
		if n < 0 && rest != "" {
			return nil
		}
		sep := ""
		if n > 0 {
			rest = rest[n:]
			sep = rest[:len(rest)-len(strings.TrimLeft(rest, "._-"))]
			rest = rest[len(sep):]
		}
		if sep != "." && sep != "_" && sep != "__" && (sep == "" || strings.Trim(sep, "-") != "") {
			return fmt.Errorf("part %q: expected lower-case letters and digits, separated by \".\", \"_\", \"__\" or dashes", s)
		}
	}
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// String returns the whole reference: "docker.io/library/hello:latest".
func (r Ref) String() string { return r.Registry + "/" + r.Repository + ":" + r.Tag }

// Familiar returns the reference the way Docker prints it: "hello:latest".
func (r Ref) Familiar() string {
	if r.Registry != defaultRegistry {
		return r.String()
	}
	return strings.TrimPrefix(r.Repository, "library/") + ":" + r.Tag
}

// WithSuffix returns the reference with "-suffix" after its tag.
func (r Ref) WithSuffix(suffix string) Ref {
	r.Tag += "-" + suffix
	return r
}
