#!/bin/sh
# How long the release binary takes to open a wallet of 10 000 transactions: below 200 ms, or it fails.
set -eu
cd "$(dirname "$0")/../.."

bcm=${CARGO_TARGET_DIR:-$PWD/target}/release/bcm
[ -x "$bcm" ] || {
    echo "error: no \`$bcm\`" >&2
    echo "hint: run \`make bench\`" >&2
    exit 1
}
BCM_TEST_BINARY=$bcm cargo test --locked --quiet --package bcm-tests --test it -- \
    --exact wallet::ten_thousand_transactions_are_looked_at_in_a_moment --nocapture
