#!/usr/bin/env bash
# Builds etcd and kube-apiserver from the module proxy, for the test of the
# admission webhook. It takes a quarter of an hour on two processors, once.
#
# usage: kubernetes.sh [DIR]   (default /tmp/cairn-e2e); what is there is kept
set -euo pipefail
dir=${1:-/tmp/cairn-e2e}
mkdir -p "$dir/bin"
export GOFLAGS=-mod=mod CGO_ENABLED=0
kubernetes=1.36.3
etcd=3.7.3

if [ ! -x "$dir/bin/etcd" ]; then
	work=$(mktemp -d "$dir/etcd.XXXXXX")
	cd "$work"
	# go install refuses a module with replacements.
	go mod init scratch >/dev/null 2>&1
	printf 'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n' >main.go
	go get "go.etcd.io/etcd/server/v3@v$etcd"
	go build -trimpath -o "$dir/bin/etcd.new" .
	mv "$dir/bin/etcd.new" "$dir/bin/etcd"
	rm -rf "$work"
fi

if [ ! -x "$dir/bin/kube-apiserver" ]; then
	work=$(mktemp -d "$dir/kube.XXXXXX")
	cd "$work"
	go mod init scratch >/dev/null 2>&1
	# The staging modules have versions of their own outside the main module.
	go mod download "k8s.io/kubernetes@v$kubernetes"
	mod=$(go env GOMODCACHE)/k8s.io/kubernetes@v$kubernetes/go.mod
	go mod edit -require="k8s.io/kubernetes@v$kubernetes"
	sed -n 's|^\t\(k8s.io/[a-z-]*\) => ./staging.*|\1|p' "$mod" | sort -u | while read -r m; do
		go mod edit -replace="$m=$m@v0.${kubernetes#1.}"
	done
	printf 'package main\n\nimport (\n\t"os"\n\n\t"k8s.io/component-base/cli"\n\t"k8s.io/kubernetes/cmd/kube-apiserver/app"\n)\n\nfunc main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }\n' >main.go
	go mod tidy -e >/dev/null 2>&1 || true
	go build -trimpath -ldflags=-s -o "$dir/bin/kube-apiserver.new" .
	mv "$dir/bin/kube-apiserver.new" "$dir/bin/kube-apiserver"
	rm -rf "$work"
fi
