package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// What callers tell apart; every error of this package wraps one of them, that
// of a cancelled context, or one of the operating system.
var (
	// ErrReference: the reference cannot be read.
	ErrReference = errors.New("not a reference")
	// ErrNotFound: there is no such manifest, blob or tag.
	ErrNotFound = errors.New("not found")
	// ErrUnreachable: the registry does not answer, or not to us.
	ErrUnreachable = errors.New("unreachable")
	// ErrMismatch: the bytes are not those of the digest.
	ErrMismatch = errors.New("bytes are not those of the digest")
	// ErrLimit: more than is accepted.
	ErrLimit = errors.New("over the limit")
	// ErrMalformed: not the document it should be.
	ErrMalformed = errors.New("malformed")
	// ErrChanged: a tag was written by somebody else.
	ErrChanged = errors.New("changed meanwhile")
	// ErrAmbiguous: a layout with several images, and none named.
	ErrAmbiguous = errors.New("several images")
)

// requestError gives a failed request its class and, where one helps, a hint.
func requestError(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	var status *transport.Error
	if !errors.As(err, &status) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	switch status.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %w\nhint: docker login, or a config.json in DOCKER_CONFIG, gives credentials", ErrUnreachable, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
