#!/bin/sh
# How fast the release binary encrypts and decrypts a large file, beside age and gpg in the same run.
#   make bench            or: tests/bench/files.sh [GIB] [BCM]
# Prints throughput, ratios and peak memory. Fails when bcm takes 64 MiB or more, or is slower than age
# or gpg as they come. BCM_BENCH_DIR names a folder with room for three times the size.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
size=${1:-4}
bcm=${2:-${CARGO_TARGET_DIR:-$top/target}/release/bcm}
exec python3 "$here/files.py" "$size" "$bcm" "${BCM_BENCH_DIR:-${TMPDIR:-/tmp}}"
