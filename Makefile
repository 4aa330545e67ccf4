# Latchkey. `make help` lists what there is to make.
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
SHELL := /bin/bash
.DEFAULT_GOAL := help

PORT ?= 3000
export PORT

GOTOOL := go tool -modfile=tools/go.mod
# The linter has a module of its own, so that what it needs decides no other tool's versions.
GOLINT := go tool -modfile=$(ROOT)/tools/lint/go.mod golangci-lint run --config $(ROOT)/.golangci.yml
TESTFLAGS := -race -count=1
FUNCTIONS := token refresh revoke introspect authorizer discovery rotate whoami

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(ROOT)/Makefile | expand -t 20

run: bin/latchkey ## Latchkey on this machine, at http://127.0.0.1:3000 (PORT=4000 make run: elsewhere)
	@exec bin/latchkey dev

EMULATOR_PORT ?= 4566

sam-local: testdeps ## AWS for sam local: tables, secrets, a client, and the commands (EMULATOR_PORT=4566, PORT=3000)
	@go build -o build/sam-local ./internal/samlocal
	@exec build/sam-local -moto .testenv/venv/bin/moto_server -port $(EMULATOR_PORT) -api-port $(PORT)

build: bin/latchkey $(FUNCTIONS:%=build/%/bootstrap) ## bin/latchkey and build/FUNCTION/bootstrap (ARCH=arm64|x86_64)

bin/latchkey: FORCE
	@go build -trimpath -o $@ ./cmd/latchkey

testdeps: ## what the tests need besides Go, into .testenv: moto, cfn-lint (Python), dynalite (Node.js), others' clients and verifiers
	@internal/testenv/install.sh .testenv

test: testdeps ## every test, and the slowest ten
	@$(call gotest,-timeout 10m)

golden: ## the state that this release leaves, for later ones to be held to (RELEASE=0.2.0)
	go test -count=1 -run '^TestWrite$$' ./internal/upgrade -write '$(RELEASE)'

VERSION ?= $(patsubst v%,%,$(shell git describe --tags --exact-match 2>/dev/null))

release: ## what a release consists of, into dist/ (docs/releases.md; VERSION=0.1.0, by default that of the tag)
	go run ./internal/release -version '$(VERSION)' $(RELEASEFLAGS)

samdeps: ## the SAM CLI, into .testenv/sam
	@internal/testenv/install.sh .testenv sam

test-sam: testdeps samdeps ## sam build, sam deploy to an emulator, and sam local in Docker, which it installs on Debian if it must
	@internal/testenv/docker.sh env LATCHKEY_SAM=1 go test $(TESTFLAGS) -timeout 20m -run '^(TestREADME|TestSAMLocal)$$' -v \
		./internal/readmetest ./internal/samlocal

test-long: testdeps ## soaks and full race rounds too
	@export LATCHKEY_LONG=1; $(call gotest,-timeout 60m)

screenshot: testdeps ## docs/images/dev-page.png, taken by the test of the page; it needs Chromium
	LATCHKEY_CI=1 LATCHKEY_SCREENSHOT=1 go test $(TESTFLAGS) -run '^TestPage$$' ./cmd/latchkey

FUZZTIME ?= 1m
# What is given to go test besides. By default it spends up to a minute on making each new input smaller, and tries nothing else
# meanwhile: with inputs as long as API Gateway's events, that is all the time there is.
FUZZFLAGS ?= -fuzzminimizetime 200x

fuzz: ## every fuzz target for FUZZTIME (1m), one after another; what fails is kept in its package's testdata/fuzz
	@failed=; for t in $$(go list -f '{{.Dir}}' ./... | while read -r dir; do \
		cat "$$dir"/*_test.go 2>/dev/null | sed -nE "s|^func (Fuzz[A-Za-z0-9_]*)\(.*|.$${dir#$(ROOT)}:\1|p"; done); do \
		echo "$$t"; go test -run '^$$' -fuzz "^$${t#*:}$$" -fuzztime $(FUZZTIME) $(FUZZFLAGS) "$${t%:*}" || failed+=" $$t"; \
	done; [[ -z $$failed ]] || { echo "failed:$$failed"; exit 1; }

# $(call gotest,FLAGS): runs the tests, then names the slowest; the exit status is the tests'. GOTESTSUMFLAGS are more for gotestsum.
gotest = mkdir -p build; status=0; \
	$(GOTOOL) gotestsum --format pkgname --jsonfile build/test.json $(GOTESTSUMFLAGS) --packages ./... -- $(TESTFLAGS) $(1) || status=$$?; \
	echo; echo 'The slowest ten:'; $(GOTOOL) gotestsum tool slowest --num 10 --jsonfile build/test.json; \
	if ((status)); then echo; echo 'Where it failed:'; \
	sed -nE '/FAIL: /s/.*"Test":"([^"]*)".*"Output":" *(.*)"}/\1: \2/p' build/test.json | cut -c1-400; fi; exit $$status

check: ## gofmt, vet, golangci-lint (.golangci.yml), tidy modules, no path of one machine
	@bad=$$(gofmt -l $$(go list -f '{{.Dir}}' ./... && go list -C bench -f '{{.Dir}}' ./...)); [[ -z $$bad ]] || { echo "gofmt -w these:"; echo "$$bad"; exit 1; }
	go vet ./...
	go vet -tags testclock,$(TAGS) ./...
	$(GOLINT) ./...
	$(GOLINT) --build-tags testclock ./internal/clock
	cd bench && go vet ./... && $(GOLINT) ./...
	for m in . tools tools/lint bench; do go -C $$m mod tidy -diff || exit 1; done
	@! git grep -nIE '(^|[^[:alnum:]_./~-])/(home|root|Users)/[[:alnum:]]' || { echo "absolute home paths"; exit 1; }

fmt: ## gofmt everything
	gofmt -w $$(go list -f '{{.Dir}}' ./... && go list -C bench -f '{{.Dir}}' ./...)

# The benchmarks of peers are a module of their own, so that no peer is a dependency of the product.
BENCH ?= jose,lambda,endpoint
ROUNDS ?= 6
, := ,
bench = go run -C bench . -sections $(1) -rounds $(ROUNDS) -document ../docs/performance.md $(BENCHFLAGS)

bench: bench/node_modules/.package-lock.json ## Latchkey beside its peers, into docs/performance.md (BENCH=jose,lambda,endpoint, ROUNDS=6)
	$(call bench,$(BENCH))

bench-long: bench/node_modules/.package-lock.json ## what it costs as work grows, to 10,000,000 tokens and 100,000 clients (BENCHFLAGS=-tokens=100000)
	$(call bench,growth$(,)clients)

bench-load: bench/node_modules/.package-lock.json ## latency over load as a picture, docs/images/load.svg; vegeta makes the load
	$(call bench,load)

bench/node_modules/.package-lock.json: bench/package.json bench/package-lock.json
	npm ci --prefix bench --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

gobench: ## the packages' own benchmarks
	@packages=$$(grep -rl --include='*_test.go' --exclude-dir='.?*' --exclude-dir=bench '^func Benchmark' . | xargs -r dirname | sort -u); \
	[[ -n $$packages ]] || { echo "no benchmarks"; exit 1; }; \
	go test -run '^$$' -bench . -benchmem $$packages

clean: ## remove what was built and installed here; .latchkey, the laptop's store, stays
	rm -rf bin build dist .aws-sam .testenv bench/node_modules

# Lambda. `sam build` makes build-<LogicalId> with ARTIFACTS_DIR set, and says nothing of the architecture. Where the
# template's CodeUri is internal/arch/<its architecture>, the Makefile there sets ARCH and includes this one. Else ARCH
# comes from the environment or the command line, or is what samconfig.toml builds by default, or the template's arm64.
ARCH ?= $(or $(shell sed -n '/^\[default\.build\./,/^\[default\.[^b]/s/.*[" ]Architecture=\([a-z0-9_]*\).*/\1/p' \
	$(ROOT)/samconfig.toml 2>/dev/null | head -n 1),arm64)
# Without the RPC of the go1.x runtime, and without HTTP/2: what functions call speaks HTTP/1.1, and the 390 KB are as much
# less to attack.
TAGS := lambda.norpc,nethttpomithttp2
GOARCH_arm64 := arm64
GOARCH_x86_64 := amd64
SAM_TARGETS := $(addprefix build-,TokenFunction RefreshFunction RevokeFunction IntrospectFunction AuthorizerFunction DiscoveryFunction RotateFunction WhoamiFunction)

# What routes ask of a token's scope: a file of rules, as seen from the root (docs/protect-your-api.md). Compiled, it goes
# beside the authorizer, which without one takes any valid token.
ROUTES ?= $(notdir $(wildcard $(ROOT)/routes.yaml))

# $(call rules,DIRECTORY)
rules = rm -f $(abspath $(1))/routes.json $(if $(ROUTES),&& \
	go run -C $(ROOT) ./cmd/latchkey routes compile -o $(abspath $(1))/routes.json $(ROUTES))

# $(call bootstrap,FUNCTION,DIRECTORY)
bootstrap = $(if $(GOARCH_$(ARCH)),,$(error ARCH is "$(ARCH)": it may be arm64 or x86_64)) \
	CGO_ENABLED=0 GOOS=linux GOARCH=$(GOARCH_$(ARCH)) go build -C $(ROOT) -tags $(TAGS) -trimpath -ldflags="-s -w" \
	-o $(abspath $(2))/bootstrap ./functions/$(1) $(if $(filter authorizer,$(1)),&& $(call rules,$(2)))

build/%/bootstrap: FORCE
	@$(call bootstrap,$*,build/$*)

$(SAM_TARGETS): build-%Function:
	$(if $(ARTIFACTS_DIR),,$(error ARTIFACTS_DIR says where to: sam build sets it))
	@$(call bootstrap,$(shell echo $* | tr A-Z a-z),$(ARTIFACTS_DIR))

FORCE:
.PHONY: help run sam-local build testdeps samdeps test golden release test-sam test-long screenshot fuzz check fmt bench bench-long bench-load gobench clean FORCE $(SAM_TARGETS)
