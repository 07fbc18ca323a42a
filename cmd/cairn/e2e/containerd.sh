#!/usr/bin/env bash
# Builds containerd and ctr from the module proxy, for the test of the image
# verifier.
#
# usage: containerd.sh [DIR]   (default /tmp/cairn-e2e); what is there is kept
set -euo pipefail
dir=${1:-/tmp/cairn-e2e}
mkdir -p "$dir/bin"
for name in containerd ctr; do
	[ -x "$dir/bin/$name" ] ||
		GOBIN="$dir/bin" CGO_ENABLED=0 go install "github.com/containerd/containerd/v2/cmd/$name@v2.4.2"
done
