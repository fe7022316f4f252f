# The commands of the project. `make` alone lists them. Each installs what it needs first (scripts/deps.sh).

.DEFAULT_GOAL := help
.PHONY: help demo check lab lab-run lab-stop lab-check bench deps clean-run programs install uninstall deb rpm dist distcheck

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a virtual machine end to end through the agent's port; KEEP=1 keeps the files, ACCELERATOR=auto|kvm|tcg
	@scripts/demo.sh

check: ## format, lints, documentation, layers, and all tests that this machine can run
	@scripts/deps.sh --check
	@scripts/check.sh

lab: ## a throw-away host under QEMU, with a full kernel and systemd; HOSTS=2 for two, LAYER=installed, MEMORY=MiB
	@scripts/lab.sh up $(or $(HOSTS),1)

lab-run: export CMD := $(CMD)
lab-run: ## runs CMD='...' on it; HOST=2 for the other
	@scripts/lab.sh run $(or $(HOST),1) "$$CMD"

lab-stop: ## ends it
	@scripts/lab.sh stop

lab-check: ## every test that needs such hosts, with the package installed on them; TESTS=part of their names
	@scripts/lab-check.sh $(TESTS)

bench: ## figures of speed and memory: printed, never judged
	@scripts/deps.sh
	cargo build --release --locked --bins
	cargo bench --workspace --locked --bench '*'
	@scripts/bench-vlans.sh

deps: ## installs what is missing (as root, or by sudo)
	@scripts/deps.sh

clean-run: ## check and demo in a clean clone of HEAD
	@scripts/clean-run.sh

# Of installing and packaging, see docs/packaging.md.
DESTDIR ?=
PREFIX ?= /usr
PROFILE ?= release
CARGOFLAGS ?=
# Three hundred lines of progress are for somebody who watches.
QUIET := $(shell [ -t 2 ] || echo --quiet)
programs:
	cargo build $(QUIET) --profile $(PROFILE) --locked $(CARGOFLAGS) --bins -p vdsmd -p supervdsmd -p vdsm-client -p vdsm-tool -p vdsm-dhcp

install: programs ## installs what packaging/manifest lists; DESTDIR=, PREFIX=/usr, PROFILE=release|dev
	@packaging/install.sh install DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) PROFILE=$(PROFILE)

uninstall: ## takes it away again, with the same values
	@packaging/install.sh uninstall DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) PROFILE=$(PROFILE)

deb: programs ## the Debian package, in target/package
	@packaging/deb.sh PROFILE=$(PROFILE)

rpm: programs ## the package for the EL family and Fedora, in target/package
	@packaging/rpm.sh PROFILE=$(PROFILE)

dist: ## the release's source tarballs, in target/dist
	@packaging/dist.sh

distcheck: ## builds, tests, installs and uninstalls from these tarballs: read-only, offline, without git
	@packaging/distcheck.sh
