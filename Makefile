# The commands of the project. `make` alone lists them. Each installs what it needs first (scripts/deps.sh).

.DEFAULT_GOAL := help
.PHONY: help demo check bench deps clean-run

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a virtual machine end to end through the agent's port; KEEP=1 keeps the files, ACCELERATOR=auto|kvm|tcg
	@scripts/demo.sh

check: ## format, lints, documentation, layers, and all tests that this machine can run
	@scripts/deps.sh
	@scripts/check.sh

bench: ## figures of speed and memory: printed, never judged
	@scripts/deps.sh
	cargo build --release --locked --bins
	cargo bench --workspace --locked --bench '*'

deps: ## installs what is missing (as root, or by sudo)
	@scripts/deps.sh

clean-run: ## check and demo in a clean clone of HEAD
	@scripts/clean-run.sh
