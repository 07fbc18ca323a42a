package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/advisory"
	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/diff"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/mirror"
	"github.com/cairn-dev/cairn/assemble/quickview"
	"github.com/cairn-dev/cairn/assemble/rebuild"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/graph"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
	"github.com/cairn-dev/cairn/packages/store"
	"github.com/cairn-dev/cairn/packages/strictyaml"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/attest"
	"github.com/cairn-dev/cairn/sign/cosign"
	"github.com/cairn-dev/cairn/sign/keys"
	"github.com/cairn-dev/cairn/sign/proof"
	"github.com/cairn-dev/cairn/sign/verify"
)

// Exit codes are API: docs/exit-codes.md lists them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitConfig      = 3
	exitUnsolvable  = 4
	exitUnverified  = 5
	exitUnreachable = 6
	exitStale       = 7
	exitStorage     = 8
	exitMissing     = 9
	exitNotPinned   = 10
	exitFindings    = 11
	exitIncomplete  = 12
	exitSignal      = 128 // plus the signal's number
)

// usageError is a mistake on the command line or in the settings.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// exitCode gives the code of the first class that fits; the order matters where
// one error wraps another.
func exitCode(err error) int {
	var signal interrupted
	if errors.As(err, &signal) {
		return exitSignal + int(signal.signal)
	}
	var end verdict
	if errors.As(err, &end) {
		return end.code
	}
	for _, c := range classes {
		if c.is(err) {
			return c.code
		}
	}
	return exitFailure
}

var classes = []struct {
	code int
	is   func(error) bool
}{
	{exitUsage, isType[usageError]},
	{exitUnverified, func(err error) bool { return anyOf(err, proof.ErrUnproved, rebuild.ErrDiffers) }},
	{exitNotPinned, func(err error) bool { return anyOf(err, proof.ErrNotPinned, proof.ErrNeedsFull) }},
	{exitMissing, func(err error) bool { return anyOf(err, proof.ErrNoKit, mirror.ErrNotMirror) }},
	{exitStale, isType[*assemble.StaleError]},
	{exitUnverified, func(err error) bool {
		return isType[*baseimage.LayerError](err) || errors.Is(err, image.ErrBlobChanged)
	}},
	{exitStorage, isType[*cosign.IncompleteError]},
	{exitMissing, isMissing},
	{exitUsage, func(err error) bool {
		return anyOf(err, sign.ErrOptions, diff.ErrPlatform, target.ErrReference, target.ErrAmbiguous)
	}},
	{exitConfig, func(err error) bool {
		return isType[*config.Errors](err) || isType[*strictyaml.Errors](err) || isType[*assemble.SliceError](err) || anyOf(err, lock.ErrInvalid, errBadKey,
			definition.ErrDefinition, definition.ErrArch, graph.ErrDuplicate,
			attest.ErrStatement, pack.ErrSpec, pack.ErrIndex, cosign.ErrConfig, cosign.ErrToken, keys.ErrKey, keys.ErrPassword, keys.ErrExposed, image.ErrNotALayout)
	}},
	{exitUnsolvable, func(err error) bool {
		return errors.Is(err, distro.ErrSeed) || isType[*solve.UnsatisfiableError](err) || isType[*solve.MissingError](err) ||
			isType[*solve.UnknownTagError](err) || isType[*solve.LimitError](err)
	}},
	{exitStorage, func(err error) bool {
		return anyOf(err, image.ErrNotWritable, store.ErrNoSpace, store.ErrBusy, store.ErrFormat,
			syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT)
	}},
	{exitUnverified, func(err error) bool {
		return isType[*repository.UnknownKeyError](err) || isType[*repository.SignatureError](err) ||
			isType[*repository.FormatError](err) || isType[*repository.RollbackError](err) ||
			anyOf(err, apk.ErrNotPackage, apk.ErrVersion3, apk.ErrTooLarge, apk.ErrIndex, apk.ErrPkgInfo, apk.ErrSignature,
				repository.ErrUnsigned, repository.ErrLimit, advisory.ErrFeed, quickview.ErrSBOM, cosign.ErrSelfCheck, sign.ErrNotVerified, target.ErrMismatch, target.ErrLimit, target.ErrMalformed, store.ErrHostile, store.ErrMismatch, store.ErrMalformed, store.ErrCorrupt, pack.ErrDataHash)
	}},
	{exitUnreachable, func(err error) bool {
		return anyOf(err, target.ErrUnreachable, cosign.ErrService, advisory.ErrFetch) || isType[*repository.HTTPError](err) || isType[*net.OpError](err) || isType[*net.DNSError](err) ||
			anyOf(err, repository.ErrOffline, repository.ErrNotFound, image.ErrNoEngine, store.ErrNotFound, context.DeadlineExceeded)
	}},
	{exitStorage, func(err error) bool { return errors.Is(err, fs.ErrPermission) }},
	{exitConfig, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
}

// isMissing tells an image that is not there, or that has nothing attached to
// it, from one that was looked at and refused.
func isMissing(err error) bool {
	var refused *sign.Refused
	if errors.As(err, &refused) {
		return refused.Verdict.Outcome == verify.Missing
	}
	return errors.Is(err, target.ErrNotFound)
}

func isType[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

func anyOf(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
