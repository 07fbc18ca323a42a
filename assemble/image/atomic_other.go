//go:build !linux

package image

import (
	"errors"
	"io"
	"os"
)

func openNameless(string) *os.File { return nil }

func nameFile(*os.File, string) (string, error) { return "", errors.ErrUnsupported }

func clone(_, _ *os.File) error { return errors.ErrUnsupported }

func lockDir(dir string) (io.Closer, error) { return os.Open(dir) }
