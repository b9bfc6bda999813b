# `make help` lists the targets. All of them work on a machine with Python 3.11+, make and git:
# what else is needed comes from requirements.lock into .venv, once.

SERVICE := {{cookiecutter.service_name}}
BIN     := .venv/bin
PYTEST  := $(BIN)/python -m pytest
LIBRARY := twinport/.venv# of the library's own tools and tests
SAMPLE  := twinport/tests/sample_service
BAKED   := .build/order-book
BENCHED := .build/bench/order-book
STORES  := sql redis memory
BENCH   := $(BENCHED)/.venv/bin/python bench
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock"

# The clients of test-peers; h2spec is the newest that the proxy for Go modules has.
PEERS        := $(addprefix .build/bin/,grpcurl ghz h2spec protoc-gen-go protoc-gen-go-grpc)
GRPCURL      := github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3
GHZ          := github.com/bojand/ghz/cmd/ghz@v0.120.0
H2SPEC       := github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
GO           := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GO_GRPC      := google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
ACTIONLINT   := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# PYTHON is the interpreter to build on; unless given, the first of these that has what it takes.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
FITS   := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

# A virtual environment knows its own path, so one that was moved or copied is made anew.
MOVED := $(shell test -e .venv/.made && test "$$(cat .venv/.made)" != "$(CURDIR)" && echo moved)

# How many processes run the library's tests; most of them wait, so more than there are cores.
WORKERS ?= 4

# Where this is set, each process compiles what it imports.
export PYTHONDONTWRITEBYTECODE :=

# How often proof does what could fail now and then; how often test-stores kills a service with SQLite.
TURNS := 10
KILLS := 5

# The newest that runs on Java 17; the slim one keeps spans in memory and has the dashboard.
ZIPKIN  := 3.6.1
ZIPJAR  := .build/zipkin-server-$(ZIPKIN)-slim.jar
COPYJAR := org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy

.PHONY: help demo test library test-library test-bakes test-peers test-backends test-stores test-image zipkin screenshot test-newest test-next test-pythons bench proof cost cost-accept bench-baked bench-tools lint format call-path docs dist lock upgrade names clean moved

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s%s\n", $$1, $$2}' Makefile

demo: .venv/.installed ## two services, one request through both, its one trace and its log lines
	@PYTHONPATH=twinport/src exec $(BIN)/python -m demo

test: lint library test-bakes ## the library, then what comes out of the template

library: $(LIBRARY)/.generated ## the library, in place: lint, types and its tests
	cd twinport && .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
	@$(MAKE) test-library

test-library: $(LIBRARY)/.generated ## its tests alone
	cd twinport && .venv/bin/python -m pytest -n $(WORKERS) --dist worksteal

# What is made for several tests is mostly made for those of one file, so one worker runs them.
test-bakes: $(LIBRARY)/.generated .build/checks/.installed ## bake; lint, type-check and test what was baked
	$(PYTEST) -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		-m "not backends and not image and not newest and not next and not peers and not pythons and not stores"

test-peers: .venv/.installed $(PEERS) ## a baked service, and clients that are not ours
	@tools/need.sh curl=curl
	PATH="$(CURDIR)/.build/peers/bin:$$PATH" $(PYTEST) -m peers

test-backends: .venv/.installed $(ZIPJAR) ## a real Zipkin and Prometheus; backends in trouble
	@tools/need.sh prometheus=prometheus
	$(PYTEST) -m backends -v

test-stores: .venv/.installed ## replicas on a real PostgreSQL, a real Redis and SQLite, while what can go wrong does
	@tools/need.sh pg_ctlcluster=postgresql redis-server=redis-server
	KILLS=$(KILLS) $(PYTEST) -m stores -v -s

test-image: .venv/.installed .build/bin/actionlint ## a service's image, built and run; what needs Go or systemd to be checked
	@tools/need.sh buildah=buildah podman=podman runc=runc mmdebstrap=mmdebstrap systemd-analyze=systemd
	$(PYTEST) -m image -v

zipkin: $(ZIPJAR) ## a Zipkin to look at: services find it, people at http://localhost:9411/zipkin
	exec java -jar $(ZIPJAR)

screenshot: .venv/.installed $(ZIPJAR) ## docs/zipkin.png: the demo's trace on the dashboard
	@tools/need.sh chromium=chromium
	PYTHONPATH=twinport/src $(BIN)/python -m tools.screenshot docs/zipkin.png

test-newest: .venv/.installed ## the library's and a service's tests with the newest version of everything
	$(PYTEST) -m newest

test-next: .venv/.installed ## what the newest versions would break that our upper bounds keep out
	$(PYTEST) -s -m next

test-pythons: .venv/.installed ## the library's tests on each other Python there is
	$(PYTEST) -m pythons -v

bench: bench-baked bench-tools ## what calls, a start and the settings cost (half an hour)
	$(BENCH)/settings.py $(BENCHED)
	$(BENCH)/start.py
	$(BENCH)/table.py

proof: ## the long forms: all that is measured, properties, and peers and backends ten times (an hour)
	$(MAKE) bench
	cd twinport && .venv/bin/python -m pytest -q --hypothesis-profile=long $$(grep -rl --include="test_*.py" "from hypothesis" tests)
	$(MAKE) test-stores KILLS=100
	for turn in $$(seq $(TURNS)); do $(MAKE) test-peers test-backends || exit 1; done

cost: bench-baked bench-tools ## fail if a call has become dearer, in instructions, than was accepted
	$(BENCH)/cost.py

cost-accept: bench-baked bench-tools ## accept what a call costs now
	$(BENCH)/cost.py --accept

lint: .venv/.installed ## ruff, on what is not baked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.installed ## lay out the code and sort its imports
	$(BIN)/ruff check --select I --fix . twinport
	$(BIN)/ruff format . twinport

call-path: $(LIBRARY)/.generated ## the library's files that one call over REST and one over gRPC enter, in order
	@cd twinport/tests && ../.venv/bin/python -m support.call_path

docs: $(LIBRARY)/.generated ## twinport/docs/settings.md, from the descriptions of the settings
	$(LIBRARY)/bin/python tools/settings_page.py > twinport/docs/settings.md

dist: $(LIBRARY)/.generated ## dist/: the library's wheel and sdist, for an index
	@rm -f dist/twinport-*
	cd twinport && .venv/bin/python -m hatchling build -d ../dist

lock: .venv/.installed ## all locks, so that they fit both pyproject.toml, and the list of taken names
	$(call compile,lock,)

upgrade: .venv/.installed ## the same, with the newest versions
	$(call compile,upgrade,--upgrade)

names: LOCKS = $(STORES:%='$(SERVICE)/stores/%/requirements-dev.lock') twinport/requirements.lock
names: .venv/.installed ## the list of taken names, from the locks of the service and of the library's extras
	$(call bake)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) -C $(BAKED) .venv/.locked
	for lock in $(LOCKS); do $(BIN)/uv pip install --quiet --python $(BAKED)/.venv/bin/python --no-deps --require-hashes -r "$$lock" || exit 1; done
	$(BAKED)/.venv/bin/python tools/taken_names.py $(LOCKS) > .build/taken-names.txt
	mv .build/taken-names.txt taken-names.txt

clean: ## remove all that was installed or made
	rm -rf .venv .build dist $(LIBRARY) .mypy_cache .pytest_cache .ruff_cache twinport/.*_cache twinport/.hypothesis

# The steps of an installation, each with its inputs.

.venv/.made: $(MOVED)
	@for python in $(PYTHON) none; do $$python -c '$(FITS)' 2>/dev/null && break; done; \
	if test $$python = none; then echo "No Python 3.11 or newer that has venv and ensurepip (Debian:\
	 python3-venv) among: $(PYTHON). Name one: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	echo "making .venv with $$($$python --version)"; rm -rf .venv; $$python -m venv .venv
	@printf %s "$(CURDIR)" > $@

.venv/.installed: requirements.lock .venv/.made
	@$(BIN)/python -m pip install --quiet --require-hashes -r $<
	@touch $@

$(LIBRARY)/.locked: twinport/requirements.lock .venv/.installed
	@echo "installing the $$(grep -c == $<) packages of $<"
	@rm -rf $(LIBRARY); $(BIN)/uv venv --quiet --python $(BIN)/python $(LIBRARY)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(LIBRARY)/bin/python --require-hashes -r $<
	@touch $@

$(LIBRARY)/.generated: $(LIBRARY)/.locked twinport/pyproject.toml $(SAMPLE)/pyproject.toml $(shell find $(SAMPLE)/proto/*)
	@$(BIN)/uv pip install --quiet --python $(LIBRARY)/bin/python --no-deps --no-build-isolation -e twinport -e $(SAMPLE)
	@$(BIN)/uv pip check --quiet --python $(LIBRARY)/bin/python
	@find $(SAMPLE)/src -name '*_pb2*.py*' -exec rm -f {} +
	@cd $(SAMPLE) && PATH="$(CURDIR)/$(LIBRARY)/bin:$$PATH" python -m grpc_tools.protoc -Iproto --python_out=src \
		--grpc_python_out=src --mypy_out=quiet:src --mypy_grpc_out=quiet:src $$(find proto -name '*.proto')
	@touch $@

.build/bin/grpcurl: MODULE = $(GRPCURL)
.build/bin/ghz: MODULE = $(GHZ)
.build/bin/h2spec: MODULE = $(H2SPEC)
.build/bin/protoc-gen-go: MODULE = $(GO)
.build/bin/protoc-gen-go-grpc: MODULE = $(GO_GRPC)

.build/bin/actionlint: MODULE = $(ACTIONLINT)

$(PEERS) .build/bin/actionlint: | .build/peers/.installed
	@echo "building $(MODULE)"
	@GOBIN="$(CURDIR)/.build/bin" .build/peers/bin/go install $(MODULE)

.build/peers/.installed: tests/peers/requirements.lock .venv/.made
	@echo "installing Go and schemathesis"
	@rm -rf .build/peers; $(BIN)/python -m venv .build/peers
	@.build/peers/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

.build/checks/.installed: tests/deploy/requirements.lock .venv/.installed
	@echo "installing what checks a service's files"
	@rm -rf .build/checks; $(BIN)/uv venv --quiet --python $(BIN)/python .build/checks
	@$(BIN)/uv pip install --quiet --python .build/checks/bin/python --require-hashes -r $<
	@touch $@

$(ZIPJAR):
	@tools/need.sh java=default-jre-headless mvn=maven
	@rm -f .build/zipkin-server-*.jar
	mvn -q -B -C $(COPYJAR) -Dartifact=io.zipkin:zipkin-server:$(ZIPKIN):jar:slim \
	-DoutputDirectory=.build

# What is measured is baked anew each time; its installation is kept.

bench-baked: .venv/.installed
	@rm -rf $(BENCHED)/src $(BENCHED)/config $(BENCHED)/proto
	@$(BIN)/cookiecutter --no-input -f -o .build/bench . service_name=order-book store=memory >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) -C $(BENCHED) install
	$(BIN)/uv pip install --quiet --python $(BENCHED)/.venv/bin/python --no-deps --require-hashes -r bench/requirements.lock

bench-tools:
	@tools/need.sh valgrind=valgrind

define bake
@rm -rf $(BAKED)
@$(BIN)/cookiecutter --no-input -o .build . service_name=order-book >/dev/null
endef

# What a service of one store has locked, by its own `make lock`.
locked = rm -rf .build/$(1) && $(BIN)/cookiecutter --no-input -o .build/$(1) . service_name=order-book store=$(1) >/dev/null && \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) -C .build/$(1)/order-book $(2) && cp .build/$(1)/order-book/requirements*.lock '$(SERVICE)/stores/$(1)/'

define compile
$(COMPILE) $(2) --group dev pyproject.toml -o requirements.lock
$(COMPILE) $(2) --all-extras --group twinport/pyproject.toml:dev twinport/pyproject.toml -o twinport/requirements.lock
$(COMPILE) $(2) tests/peers/requirements.in -o tests/peers/requirements.lock
$(COMPILE) $(2) tests/deploy/requirements.in -o tests/deploy/requirements.lock
for store in $(STORES); do $(call locked,$$store,$(1)) || exit 1; done
$(COMPILE) $(2) -c '$(SERVICE)/stores/memory/requirements-dev.lock' -c twinport/requirements.lock bench/requirements.in -o bench/requirements.lock
$(MAKE) names
endef
