#!/usr/bin/env bash
# Builds melange, which packages are compared with, and apko, which installs them, from
# the module proxy, and gets bubblewrap.
#
# usage: melange.sh [DIR]   (default /tmp/cairn-e2e); what is there is kept
set -euo pipefail
dir=${1:-/tmp/cairn-e2e}
version=v0.59.1
mkdir -p "$dir/bin" "$dir/melange"
if [ ! -x "$dir/bin/melange" ] || [ ! -x "$dir/bin/apko" ]; then
	cd "$dir/melange"
	cat >go.mod <<-END
		module scratch

		go 1.26

		require (
			chainguard.dev/apko v1.2.36
			chainguard.dev/melange $version
			chainguard.dev/sdk v0.1.197
		)
	END
	cat >tools.go <<-'END'
		//go:build tools

		package scratch

		import (
			_ "chainguard.dev/apko"
			_ "chainguard.dev/melange"
		)
	END
	go mod tidy
	CGO_ENABLED=0 go build -trimpath -o "$dir/bin/melange" chainguard.dev/melange
	CGO_ENABLED=0 go build -trimpath -o "$dir/bin/apko" chainguard.dev/apko
fi
command -v bwrap >/dev/null || apt-get install -y --no-install-recommends bubblewrap
