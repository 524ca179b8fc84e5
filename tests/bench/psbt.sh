#!/bin/sh
# How bcm signs a PSBT of 1000 inputs and 200 outputs, beside hwi on the same simulator in the same run.
#   make bench
# Prints the figures and fails when bcm takes more than a fifth of hwi's CPU time, more wall time, or more
# messages than the device asks for.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
bcm=${1:-${CARGO_TARGET_DIR:-$top/target}/release/bcm}
peers=$("$here/../peers/prepare")
exec "$peers/bin/python" "$here/psbt.py" "$bcm" "$peers/bin"
