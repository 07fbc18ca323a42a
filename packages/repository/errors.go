package repository

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
)

// ErrUnsigned is what an index without any signature gives, unless the source
// says UnsafeUnsigned.
var ErrUnsigned = errors.New("index is not signed")

// ErrOffline is what every operation gives that would need the network while
// [Options.Offline] is set.
var ErrOffline = errors.New("offline")

// ErrLimit is what bytes give that exceed one of [Limits].
var ErrLimit = errors.New("size limit exceeded")

// ErrNotFound is what a missing index, package or key file gives.
var ErrNotFound = errors.New("not found")

// UnknownKeyError says that an index is signed, but by no key of the keyring.
type UnknownKeyError struct {
	Found   []string // key file names that the signatures name, in the file's order
	Trusted []string // key names of the keyring, sorted
	// Discovery is why no keys were discovered, when they were looked for.
	Discovery error
}

func (e *UnknownKeyError) Error() string {
	trusted := "no key is trusted for this repository"
	if len(e.Trusted) > 0 {
		trusted = "trusted here: " + strings.Join(e.Trusted, ", ")
	}
	if e.Discovery != nil {
		trusted += "; " + e.Discovery.Error()
	}
	return fmt.Sprintf("signed by unknown key %s; %s\nhint: add the key to contents.keyring if you trust it",
		strings.Join(e.Found, ", "), trusted)
}

// Unwrap gives why no keys were discovered, or nil.
func (e *UnknownKeyError) Unwrap() error { return e.Discovery }

// SignatureError says that a signature by a trusted key does not fit the bytes:
// the index was altered or is damaged.
type SignatureError struct {
	Key       string // name of the trusted key
	Algorithm string // RSA, RSA256 or RSA512
	Err       error  // what the verification said
}

func (e *SignatureError) Error() string {
	return fmt.Sprintf("signature %s by %s does not fit the content: %v", e.Algorithm, e.Key, e.Err)
}

func (e *SignatureError) Unwrap() error { return e.Err }

// FormatError says that bytes are no valid index. Size and SHA256 are of what
// was read, so that the report can be compared with the server's file.
type FormatError struct {
	Size   int64 // bytes
	SHA256 apk.SHA256
	Err    error
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%v (read %d bytes, %s)", e.Err, e.Size, e.SHA256)
}

func (e *FormatError) Unwrap() error { return e.Err }

// MissingIndexError says that a repository has no index for an architecture.
type MissingIndexError struct {
	Location string // path or redacted URL of the index
	Arch     string
	Hint     string // one line, may be empty
	Err      error
}

func (e *MissingIndexError) Error() string {
	s := fmt.Sprintf("%s: no index for %s: %v", e.Location, e.Arch, e.Err)
	if e.Hint != "" {
		s += "\nhint: " + e.Hint
	}
	return s
}

// Unwrap gives the cause; errors.Is(err, ErrNotFound) holds as well.
func (e *MissingIndexError) Unwrap() []error { return []error{ErrNotFound, e.Err} }

// MissingPackageError says that a package of an index is not where it should be.
type MissingPackageError struct {
	Location string // path or redacted URL of the package file
	Package  string // name-version
	Hint     string
	Err      error
}

func (e *MissingPackageError) Error() string {
	return fmt.Sprintf("package %s: %s: %v\nhint: %s", e.Package, e.Location, e.Err, e.Hint)
}

// Unwrap gives the cause; errors.Is(err, ErrNotFound) holds as well.
func (e *MissingPackageError) Unwrap() []error { return []error{ErrNotFound, e.Err} }

// HTTPError is an answer of a server that is not the wanted one.
type HTTPError struct {
	Location   string // redacted URL
	Status     int    // HTTP status code
	Attempts   int    // how often it was tried, 1 when there was no retry
	RetryAfter time.Duration
	Hint       string
}

func (e *HTTPError) Error() string {
	s := fmt.Sprintf("server answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Attempts > 1 {
		s += fmt.Sprintf(" after %d attempts", e.Attempts)
	}
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(", try again in %s", e.RetryAfter)
	}
	if e.Hint != "" {
		s += "\nhint: " + e.Hint
	}
	return s
}

// Is makes errors.Is(err, ErrNotFound) true for 404 and 410.
func (e *HTTPError) Is(target error) bool {
	return target == ErrNotFound && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// RollbackError says that an index is older than one seen before.
type RollbackError struct {
	URL      string // redacted
	Arch     string
	Newest   int64 // newest build time in the index, seconds since the epoch
	Recorded int64 // the same of the index recorded before
}

func (e *RollbackError) Error() string {
	return fmt.Sprintf("index %s (%s): older than the one locked: newest package built %s, locked index had %s",
		e.URL, e.Arch, day(e.Newest), day(e.Recorded))
}

func day(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05Z") }

// parseURL is url.Parse with errors that quote nothing of a URL which seems to
// hold a password.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil && strings.Contains(raw, "@") {
		return nil, errors.New("not a URL: user name and password must be percent-encoded")
	}
	return u, urlProblem(err)
}

// urlProblem strips the URL, which may hold a password, from an error of
// package net/url or net/http.
func urlProblem(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
