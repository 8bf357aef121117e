# Every target is one line that calls a tool or a script. Tools are pinned in hack/tools/go.mod, programs of the local
# management plane and of the node image in hack/components; Go and git are all that a machine needs to begin with.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= v1.0.0
tool = $$(go -C hack/tools tool -n $(1))

.PHONY: help
help: ## Show this help
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf '  %-20s %s\n' "$$name" "$$text"; done

##@ The two commands of the README

.PHONY: quickstart
quickstart: build ## Make a cluster on VMs of this machine and upgrade its workers' OS by replacing them (ARGS="--workers 2")
	bin/ingotctl quickstart --yes $(ARGS)

.PHONY: test
test: packages ## Run unit tests, tests against a real API server, and tests against a real libvirtd (TESTS=./internal/...)
	hack/test.sh $(TESTS)

.PHONY: fuzz
fuzz: ## Run every fuzzer of what people write for FUZZTIME, a minute unless said otherwise (TESTS=./internal/osfamily/kairos)
	hack/fuzz.sh $(TESTS)

.PHONY: test-survive-full
test-survive-full: packages ## Kill the manager at every API write and every single platform call, reads included; takes more than an hour
	go test ./test/survive -run TestCrashes -count=1 -timeout 4h -v -every-read

.PHONY: test-controlplane-long
test-controlplane-long: packages ## Replace control plane Machines by the hundred while managers and members fail, and print how long it took to heal (ARGS="-seed 2 -shape 3-surge")
	go test ./test/controlplane -count=1 -timeout 4h -v -long $(ARGS)

.PHONY: test-vsphere-fleet
test-vsphere-fleet: packages ## Make N=200 machines of one MachineDeployment in a simulated vCenter, and print how long they took and the round trips of each
	go test ./test/integration -run TestMixed -count=1 -timeout 4h -v -fleet $(or $(N),200) $(ARGS)

##@ More of the demo

.PHONY: quickstart-down
quickstart-down: build ## Remove every trace of the quickstart
	bin/ingotctl quickstart down

.PHONY: node-image
node-image: build packages ## Build a version of our node image (VERSION=v1.0.0 ARGS="--kubernetes-version v1.36.4")
	bin/ingotctl image build --version $(VERSION) $(ARGS)

.PHONY: node-image-check
node-image-check: build packages ## Say what an image lacks to run under Ingot (IMAGE=path)
	bin/ingotctl image check $(IMAGE)

.PHONY: e2e
e2e: build packages ## Run the end-to-end suite on VMs of this machine (LABELS=one to replace and lose a control plane, LABELS=three for three machines on KVM, LABELS=recovery to lose one midway; ARGS="-ginkgo.focus upgrade")
	go test -vet=off -tags e2e ./test/e2e -count=1 -timeout 4h -v -ginkgo.v -ginkgo.label-filter="$(or $(LABELS),!one && !three && !recovery)" $(ARGS)

##@ Figures

.PHONY: bench-libvirt
bench-libvirt: packages ## Make N=50 machines on a real libvirtd, by Ingot and by a loop of virsh commands, and print ratio, requests, calls, CPU and memory
	go run ./test/bench/libvirt -n $(or $(N),50) $(ARGS)

.PHONY: bench-quiet
bench-quiet: packages ## Let N=50 machines rest FOR=30m on a real libvirtd, and print every API request and platform call
	go run ./test/bench/libvirt -n $(or $(N),50) -virsh=false -rest $(or $(FOR),30m) $(ARGS)

.PHONY: bench-scale
bench-scale: packages ## Make N=100,1000 machines on a fake platform with Cluster API's own manager, and print the curve
	go run ./test/bench/scale -n $(or $(N),100) $(ARGS)

.PHONY: bench-vsphere
bench-vsphere: packages ## Make N=100 machines on a simulated vCenter RTT=20ms away, and on a platform that does nothing, and print what each costs
	go run ./test/bench/scale -n $(or $(N),100) -vsphere -rtt $(or $(RTT),20ms) $(ARGS)

.PHONY: bench-render
bench-render: ## Render for every family and role, and print renders per second of CPU and memory; and 1,000 control planes of Talos (BENCH=RenderThousand)
	go test -p 1 ./internal/osfamily/... -run '^$$' -bench '$(or $(BENCH),Render)' $(ARGS) | grep -v '^?\|^ok\|no test files'

##@ Development

.PHONY: build
build: ## Build bin/ingot-manager and bin/ingotctl
	go build -o bin/ingot-manager . && go build -tags kustomize_disable_go_plugin_support -o bin/ingotctl ./cmd/ingotctl

.PHONY: run
run: ## Run the manager with all roles from source against the cluster of KUBECONFIG
	go run . --diagnostics-address=0 $(ARGS)

.PHONY: generate
generate: ## Generate deepcopy methods, CRDs and ClusterRoles
	hack/generate.sh

.PHONY: lint
lint: ## Run the linters
	linter=$(call tool,golangci-lint); "$$linter" run ./... && for module in test/monitoring test/kairos test/talos; do (cd "$$module" && "$$linter" run ./...); done

.PHONY: verify
verify: ## Check that what is generated and tidied is committed, and that the linter's configuration is valid
	hack/verify.sh

.PHONY: release-manifests
release-manifests: ## Write the assets of a release to out/
	go run ./hack/release-manifests out

.PHONY: packages
packages: # Install the Debian packages that are missing
	go run ./hack/host-packages
