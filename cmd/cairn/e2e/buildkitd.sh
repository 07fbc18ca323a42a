#!/usr/bin/env bash
# Builds buildkitd from the module proxy, and gets what it and the test need from
# Debian: runc, and a static busybox for the environment.
#
# usage: buildkitd.sh [DIR]   (default /tmp/cairn-e2e); what is there is kept
set -euo pipefail
dir=${1:-/tmp/cairn-e2e}
version=v0.31.2
mkdir -p "$dir/bin" "$dir/buildkit"
if [ ! -x "$dir/bin/buildkitd" ]; then
	cd "$dir/buildkit"
	cat >go.mod <<-'END'
		module scratch

		go 1.26
	END
	cat >tools.go <<-'END'
		//go:build tools

		package scratch

		import _ "github.com/moby/buildkit/cmd/buildkitd"
	END
	go get "github.com/moby/buildkit/cmd/buildkitd@$version"
	go mod tidy
	CGO_ENABLED=0 go build -trimpath -o "$dir/bin/buildkitd" github.com/moby/buildkit/cmd/buildkitd
fi
packages=()
command -v runc >/dev/null || packages+=(runc)
[ -x /bin/busybox ] || packages+=(busybox-static)
if [ ${#packages[@]} -gt 0 ]; then
	apt-get install -y --no-install-recommends "${packages[@]}"
fi
