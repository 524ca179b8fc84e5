#!/bin/sh
# How fast the release binary starts and unlocks, beside trezor-agent on the same simulator.
#   make bench
# Prints the figures and fails when one is over its limit: the passphrase prompt within 50 ms and 25 MiB,
# unlock and a public key on the simulator within 150 ms.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
bcm=${1:-${CARGO_TARGET_DIR:-$top/target}/release/bcm}
peers=$("$here/../peers/prepare")
exec "$peers/bin/python" "$here/startup.py" "$bcm" "$peers/bin"
