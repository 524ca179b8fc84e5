# `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.
# Every recipe installs what it misses first (.ci/need), and only that.

CARGO ?= cargo
PREFIX ?= $(HOME)/.local
BCM = $${CARGO_TARGET_DIR:-target}/debug/bcm

.PHONY: run test check fmt clippy deny doc bench install help

run: ## build, then open the shell on the embedded simulator (without a terminal: play the demo)
	@if [ -t 0 ] && [ -t 1 ]; then .ci/need build; else .ci/need demo; fi
	$(CARGO) build --locked --package bcm-shell
	@if [ -t 0 ] && [ -t 1 ]; then \
	    exec $(BCM) --device simulator; \
	else \
	    exec tests/demo.sh $(BCM); \
	fi

test: ## install what the tests need, start the real peers, run everything
	@.ci/need test
	@tests/peers/prepare
	@tests/peers/rage
	@tests/peers/bitcoind
	@tests/peers/electrum
	@tests/peers/dockerimage
	@tests/peers/stackimage
	@tests/peers/lxd
	$(CARGO) test --locked --workspace

check: fmt clippy doc deny ## everything that needs no test run, fastest first

fmt: ## formatting, without changing a file
	$(CARGO) fmt --all --check

clippy: ## lints; a warning is an error
	@.ci/need build
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc: ## documentation; a broken link is an error
	@.ci/need build
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --exclude bcm-shell --no-deps --quiet

deny: ## licences, bans, sources and (where the database can be reached) advisories
	@.ci/deny

bench: ## measure the release binary beside trezor-agent, age, gpg and hwi (GIB=1 for a smaller file)
	@.ci/need test bench
	@tests/peers/prepare
	$(CARGO) build --locked --release --package bcm-shell
	tests/bench/startup.sh
	tests/bench/files.sh $(GIB)
	tests/bench/wallet.sh
	tests/bench/psbt.sh
	tests/bench/fanout.sh
	$(CARGO) bench --locked --package bcm-stacks

install: ## build the release binary and put it, also as age's plugin, into PREFIX/bin (default ~/.local/bin)
	@.ci/need build
	$(CARGO) build --locked --release --package bcm-shell
	install -D -m 755 $${CARGO_TARGET_DIR:-target}/release/bcm $(PREFIX)/bin/bcm
	ln -sf bcm $(PREFIX)/bin/age-plugin-trezor

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r name about; do \
	    printf '  make %-8s %s\n' "$$name" "$$about"; \
	done
