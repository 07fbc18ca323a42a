package store

import (
	"errors"
	"fmt"
	"syscall"
)

// What callers of this package test for, with [errors.Is].
var (
	// ErrNotFound: the store does not hold what was asked for. Fetch it, or
	// say that it is missing when working offline.
	ErrNotFound = errors.New("not in the store")
	// ErrHostile: a package is made in a way that could do harm when it is
	// unpacked, or that readers would understand differently. Every such error
	// is a [*HostileError].
	ErrHostile = errors.New("refused")
	// ErrMismatch: bytes or names are not those that were expected. Every such
	// error is a [*MismatchError].
	ErrMismatch = errors.New("does not match")
	// ErrMalformed: a package is cut short, or its compression or archive is
	// damaged.
	ErrMalformed = errors.New("malformed")
	// ErrCorrupt: something in the store is no longer what was put there. The
	// damaged file has been removed where that was possible; ingest again. Such
	// an error is an ErrNotFound as well.
	ErrCorrupt = errors.New("corrupt")
	// ErrNoSpace: the file system, a quota or a size limit is exhausted.
	ErrNoSpace = errors.New("no space left")
	// ErrBusy: other processes are using the store, which cannot be pruned now.
	ErrBusy = errors.New("in use by another process")
	// ErrFormat: the directory holds a store of a format that this version
	// does not know.
	ErrFormat = errors.New("unknown store format")
)

// HostileError says why a package is refused.
type HostileError struct {
	Package string // name-version, empty when not known yet
	Member  string // path as written in the archive, empty for the archive itself
	Reason  string
}

// Error names the package, the member and the reason.
func (e *HostileError) Error() string {
	s := "refused: "
	if e.Member != "" {
		s += fmt.Sprintf("member %.200q: ", e.Member)
	}
	if e.Package != "" {
		s = "package " + e.Package + ": " + s
	}
	return s + e.Reason
}

// Is reports that every HostileError is an [ErrHostile].
func (e *HostileError) Is(target error) bool { return target == ErrHostile }

// MismatchError says which of the things that were checked is not as expected.
type MismatchError struct {
	Package string // name-version
	What    string // "control checksum", "sha256 of the data section", …
	Found   string
	Wanted  string
	Cause   error // what else was wrong with the bytes, if anything
}

// Error names the package, what was found and what was expected.
func (e *MismatchError) Error() string {
	s := fmt.Sprintf("package %s: %s is %s, expected %s", e.Package, e.What, e.Found, e.Wanted)
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	return s
}

// Is reports that every MismatchError is an [ErrMismatch].
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

// Unwrap returns the cause.
func (e *MismatchError) Unwrap() error { return e.Cause }

// kindError is an error of one of the sentinel kinds with its own text.
type kindError struct {
	kind  error
	also  error // a second kind, or nil
	text  string
	cause error
}

func (e *kindError) Error() string {
	if e.cause != nil {
		return e.text + ": " + e.cause.Error()
	}
	return e.text
}

func (e *kindError) Is(target error) bool {
	return target == e.kind || e.also != nil && target == e.also
}

func (e *kindError) Unwrap() error { return e.cause }

func malformedf(format string, args ...any) error {
	return &kindError{kind: ErrMalformed, text: fmt.Sprintf(format, args...)}
}

func corruptf(cause error, format string, args ...any) error {
	return &kindError{kind: ErrCorrupt, also: ErrNotFound, text: fmt.Sprintf(format, args...), cause: cause}
}

func notFoundf(cause error, format string, args ...any) error {
	return &kindError{kind: ErrNotFound, text: fmt.Sprintf(format, args...), cause: cause}
}

// storageError adds what the store was doing to an error of the file system
// and marks those that mean a full disk.
func storageError(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return &kindError{kind: ErrNoSpace, text: "store: no space left: " + doing, cause: err}
	}
	return fmt.Errorf("store: %s: %w", doing, err)
}
