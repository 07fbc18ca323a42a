#!/usr/bin/env bash
# Builds the services of Sigstore for the tests of keyless signing, from the
# module proxy: Fulcio, Rekor 2 and the timestamp authority. The versions are the
# newest that build with the Go of this module.
#
# usage: sigstore.sh [DIR]   (default /tmp/cairn-e2e); what is there is kept
set -euo pipefail
dir=${1:-/tmp/cairn-e2e}
mkdir -p "$dir/bin"

# build NAME PROGRAM PACKAGE@VERSION: go install calls it PROGRAM
build() {
	[ -x "$dir/bin/$1" ] && return
	local work
	work=$(mktemp -d "$dir/$1.XXXXXX")
	(cd "$work" && CGO_ENABLED=0 GOFLAGS= GOBIN="$work" go install -trimpath "$3")
	mv "$work/$2" "$dir/bin/$1"
	rm -rf "$work"
}

build fulcio fulcio github.com/sigstore/fulcio@v1.8.8
build rekor2 posix github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@v2.3.0
build tsa timestamp-server github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server@v2.1.3
