# The two commands of the README:
#   make hello   builds cairn and, with it, an image from the built-in packages
#   make test    runs every test

GO ?= go
BIN ?= bin/cairn
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build hello test check generate bench fuzz clean

all: build

build: $(BIN)

# Always asks the compiler, which knows what changed.
.PHONY: $(BIN)
$(BIN):
	$(GO) build -trimpath -o $(BIN) ./cmd/cairn

hello: $(BIN)
	$(BIN) build --arch=host configs/hello.yaml hello:latest hello.tar

test:
	$(GO) test ./...

# What .ci/run does beside the tests.
check:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these files"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# Takes some minutes; BENCH_FLAGS=-cases=synthetic leaves the Debian closures out.
bench: $(BIN)
	$(GO) build -o bin/cairn-bench ./cmd/cairn-bench
	bin/cairn-bench -cairn $(BIN) $(BENCH_FLAGS)
	CAIRN_DEFINITIONS=$(DEFINITIONS) $(GO) test -run '^$$' -bench . ./packages/definition ./packages/graph ./packages/distro

# A directory of package definitions for bench, with reusable pipelines in its
# pipelines directory; empty is the sample of ../shared/data.
DEFINITIONS ?=

# What definitions mean, compared with melange, which is built from the module
# proxy the first time. Without it the tests are skipped, saying so.
.PHONY: test-oracle
test-oracle:
	cd testdata/oracle && $(GO) build -o $(CURDIR)/bin/oracle . || echo "melange cannot be built here" >&2
	CAIRN_ORACLE=$$(ls $(CURDIR)/bin/oracle 2>/dev/null) $(GO) test -count 1 -v -run TestOracle ./packages/definition

# Images in a real container engine and other tools, as root; RUN=Flask runs
# some. See cmd/cairn/e2e_docker_test.go.
.PHONY: e2e e2e-docker
e2e: e2e-docker

e2e-docker:
	cmd/cairn/e2e/dockerd.sh $(GO) test -tags e2e -count 1 -v -timeout 20m -run 'TestE2E$(RUN)' -skip 'TestE2E(Verify|Containerd|Kubernetes)' ./cmd/cairn

# What is signed, against the reference clients, which are built from the module
# proxy the first time (some minutes) and kept in E2E_CACHE.
E2E_CACHE ?= /tmp/cairn-e2e
.PHONY: e2e-cosign e2e-sigstore
e2e-cosign:
	cmd/cairn/e2e/cosign.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) $(GO) test -tags e2e -count 1 -v -timeout 20m -run 'TestCosign$(RUN)' ./cmd/cairn

# Signing without a key, with the real services on loopback.
e2e-sigstore:
	cmd/cairn/e2e/cosign.sh $(E2E_CACHE)
	cmd/cairn/e2e/sigstore.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) $(GO) test -tags e2e -count 1 -v -timeout 20m -run 'TestSigstore$(RUN)' ./cmd/cairn

# Verifying beside the reference clients and in a real containerd, as root; both
# are built from the module proxy once.
.PHONY: e2e-verify e2e-containerd e2e-kubernetes
e2e-verify:
	cmd/cairn/e2e/cosign.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) $(GO) test -tags e2e -count 1 -v -run TestE2EVerify ./cmd/cairn

e2e-containerd:
	cmd/cairn/e2e/cosign.sh $(E2E_CACHE)
	cmd/cairn/e2e/containerd.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) $(GO) test -tags e2e -count 1 -v -run TestE2EContainerd ./cmd/cairn

# Definitions of ours and unmodified ones of Wolfi built in bubblewrap, tested, proved,
# put into an image that runs, and compared with melange's own packages. The sources
# and the environment come from Debian; those that are in git from clones OWNER/NAME in
# the directory CAIRN_GIT_MIRRORS. CAIRN_APK_TOOLS names programs of apk-tools, separated
# by colons, that install what is built; without either its tests are left out, saying so.
.PHONY: e2e-packages
e2e-packages:
	cmd/cairn/e2e/melange.sh $(E2E_CACHE)
	cmd/cairn/e2e/buildkitd.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) cmd/cairn/e2e/dockerd.sh $(GO) test -tags e2e -count 1 -v -timeout 20m -run 'Test(Packages|Installed)$(RUN)' ./cmd/cairn

# The page of cairn report in a real browser, with an accessibility check, and
# cairn diff against what umoci unpacks. Screenshots go to /tmp/cairn-report.
.PHONY: e2e-registry
e2e-registry:
	cmd/cairn/e2e/cosign.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) $(GO) test -tags e2e -count 1 -v -timeout 10m -run 'TestE2ERegistry$(RUN)' ./cmd/cairn
.PHONY: e2e-report
e2e-report:
	cmd/cairn/e2e/report.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) $(GO) test -tags e2e -count 1 -v -timeout 15m -run 'TestReport|TestDiff' ./cmd/cairn

# The webhook in front of a real API server, which takes a quarter of an hour to
# build the first time.
e2e-kubernetes:
	cmd/cairn/e2e/cosign.sh $(E2E_CACHE)
	cmd/cairn/e2e/kubernetes.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) $(GO) test -tags e2e -count 1 -v -run TestE2EKubernetes ./cmd/cairn

# Every entry of the catalogue that can be made from packages available here, in a
# real container engine, as root. UPDATE=1 writes the table of configs/README.md.
.PHONY: e2e-catalogue
e2e-catalogue:
	cmd/cairn/e2e/dockerd.sh $(GO) test -tags e2e -count 1 -v -timeout 30m -run '(TestCatalogue|TestExample)$(RUN)' ./cmd/cairn $(if $(UPDATE),-args -update-catalogue)

# A graph of packages built on two BuildKit daemons on loopback, one of which is
# killed meanwhile, as root. buildkitd is built from the module proxy once.
.PHONY: e2e-buildkit
e2e-buildkit:
	cmd/cairn/e2e/buildkitd.sh $(E2E_CACHE)
	CAIRN_E2E=$(E2E_CACHE) $(GO) test -tags e2e -count 1 -v -timeout 10m -run 'TestE2EBuildkit$(RUN)' ./packages/build/buildkit

# The documents that are made from the program.
generate:
	$(GO) generate ./assemble/...
	$(GO) test ./packages/definition -run TestDocumentedPipelines -update
	$(GO) test ./cmd/cairn -run TestCommandReferenceIsCurrent -update

# The embedded repository, with a new key; needs x86_64-linux-gnu-gcc and
# aarch64-linux-gnu-gcc.
.PHONY: demo
demo:
	$(GO) generate ./packages/repository/demo

clean:
	rm -rf bin hello.tar
