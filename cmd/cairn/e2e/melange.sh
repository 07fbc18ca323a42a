#!/usr/bin/env bash
# Builds melange, which packages are compared with, from the module proxy, and gets
# bubblewrap.
#
# usage: melange.sh [DIR]   (default /tmp/cairn-e2e); what is there is kept
set -euo pipefail
dir=${1:-/tmp/cairn-e2e}
version=v0.59.1
mkdir -p "$dir/bin" "$dir/melange"
if [ ! -x "$dir/bin/melange" ]; then
	cd "$dir/melange"
	cat >go.mod <<-END
		module scratch

		go 1.26

		require (
			chainguard.dev/melange $version
			chainguard.dev/sdk v0.1.197
		)
	END
	cat >tools.go <<-'END'
		//go:build tools

		package scratch

		import _ "chainguard.dev/melange"
	END
	go mod tidy
	CGO_ENABLED=0 go build -trimpath -o "$dir/bin/melange" chainguard.dev/melange
fi
command -v bwrap >/dev/null || apt-get install -y --no-install-recommends bubblewrap
