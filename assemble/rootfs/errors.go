package rootfs

import (
	"errors"
	"fmt"
)

// ErrConfig is wrapped by every error that the image configuration is to blame
// for.
var ErrConfig = errors.New("image configuration")

// ConflictError says that two packages, or two members of one, cannot both
// have a path.
type ConflictError struct {
	Path string
	// Packages are the IDs of the package that has the path and of the one
	// that wants it; equal when one package has it twice.
	Packages [2]string
	Problem  string
	Hint     string // empty when there is none
}

// Error names the path, both packages and the problem.
func (e *ConflictError) Error() string {
	s := fmt.Sprintf("%s: conflict between %s and %s: %s", e.Path, e.Packages[0], e.Packages[1], e.Problem)
	if e.Packages[0] == e.Packages[1] {
		s = fmt.Sprintf("%s: package %s: %s", e.Path, e.Packages[0], e.Problem)
	}
	if e.Hint != "" {
		s += "\n  hint: " + e.Hint
	}
	return s
}

// ConfigError is an error about a key of the configuration. It wraps [ErrConfig].
type ConfigError struct {
	Key string // "paths[2]", "accounts"
	Err error
}

// Error begins with the key.
func (e *ConfigError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap returns Err and [ErrConfig].
func (e *ConfigError) Unwrap() []error { return []error{e.Err, ErrConfig} }

func configErrorf(key, format string, args ...any) error {
	return &ConfigError{key, fmt.Errorf(format, args...)}
}
