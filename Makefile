# The one test command is `make test`. Everything it needs beyond Rust, Go, Python 3 and a C compiler
# (a kube-apiserver, etcd, Istio's CRDs) is built once into .cache/, from ordinary package registries.

CARGO ?= cargo

.PHONY: all build demo test test-fast lab lab-shell lint parts bench golden clean

all: build

build: ## The release binary, target/release/tradewind
	$(CARGO) build --release --locked

demo: ## The payments story on an embedded sample fleet
	$(CARGO) run --locked -- demo

test: ## Every test, in three stages: without a cluster, on real API servers, in the mesh lab
	CARGO="$(CARGO)" .ci/test

test-fast: ## The inner loop: the first stage alone
	CARGO="$(CARGO)" .ci/test fast

lab: parts ## Four clusters, real istiods, Envoys and requests: prints what was counted
	$(CARGO) test --locked --test lab

lab-shell: parts ## The same mesh, and a shell inside
	$(CARGO) test --locked --test lab -- --shell

lint: ## What CI checks before the tests
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

parts: ## Build what the tests need, once
	./tests/parts/get.sh

bench: parts ## Three real clusters, 300 services; then the planner alone
	$(CARGO) bench --locked --bench clusters
	$(CARGO) bench --locked --bench planner

golden: ## Rewrite the golden files and the generated pages; read the difference before you commit it
	UPDATE_GOLDEN=1 $(CARGO) test --locked --test golden --test reference_pages --test house_rules --test cli
	UPDATE_GOLDEN=1 $(CARGO) test --locked --test differential
	cp crds/*.yaml charts/tradewind/crds/
	cp $(addprefix crds/admiral.io_,$(addsuffix .yaml,globaltrafficpolicies outlierdetections clientconnectionconfigs routingpolicies)) charts/tradewind-member/crds/

clean:
	$(CARGO) clean
