#!/usr/bin/env bash
# Installs what the tests of the report page need, once: Debian's Chromium, and
# playwright-core and axe-core from npm into DIR/report.
#
#   cmd/cairn/e2e/report.sh DIR
set -euo pipefail
dir="$1/report"
script="$(cd "$(dirname "$0")" && pwd)/report.mjs"
mkdir -p "$dir"

missing=()
for tool in chromium umoci nodejs npm; do
	command -v "${tool/nodejs/node}" >/dev/null || missing+=("$tool")
done
if [ "${#missing[@]}" -gt 0 ]; then
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi
cp "$script" "$dir/report.mjs"
cd "$dir"
[ -f package.json ] || echo '{"private": true, "type": "module"}' >package.json
if [ ! -d node_modules/playwright-core ] || [ ! -d node_modules/axe-core ]; then
	npm install --no-audit --no-fund --save-exact playwright-core@1.65.1 axe-core@4.14.1
fi
