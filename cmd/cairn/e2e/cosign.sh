#!/usr/bin/env bash
# Builds the reference clients that the tests of signing are checked against,
# from the module proxy, in scratch modules outside the tree:
#
#   cosign2   cosign v2.6.5 with sigstore-go v1.3.0 (as released it cannot write
#             to a current Rekor v2, and accepts a bundle whose digest differs)
#   cosign3   cosign v3.1.3
#   registry  distribution v3.1.2, which has no referrers API
#
# usage: cosign.sh [DIR]   (default /tmp/cairn-e2e); what is there is kept
set -euo pipefail
dir=${1:-/tmp/cairn-e2e}
mkdir -p "$dir/bin"
export GOFLAGS=-mod=mod

# build NAME PACKAGE MODULE@VERSION...
build() {
	local name=$1 package=$2 work
	shift 2
	[ -x "$dir/bin/$name" ] && return
	work=$(mktemp -d "$dir/$name.XXXXXX")
	(
		cd "$work"
		go mod init scratch >/dev/null 2>&1
		go get "$@"
		CGO_ENABLED=0 go build -trimpath -o "$dir/bin/$name.new" "$package"
	)
	mv "$dir/bin/$name.new" "$dir/bin/$name"
	rm -rf "$work"
}

build cosign2 github.com/sigstore/cosign/v2/cmd/cosign \
	github.com/sigstore/cosign/v2@v2.6.5 github.com/sigstore/sigstore-go@v1.3.0
build cosign3 github.com/sigstore/cosign/v3/cmd/cosign github.com/sigstore/cosign/v3@v3.1.3
build registry github.com/distribution/distribution/v3/cmd/registry github.com/distribution/distribution/v3@v3.1.2
