#!/bin/sh
# How long `cluster exec` takes on 50 hosts, beside ansible's raw module with 50 forks and a shell loop
# over ssh with ControlMaster: the same sshds, nothing connected before, in one run.
#   make bench
# Prints the figures and fails when bcm takes more than half of either, or when the device is asked more
# than once for all logins.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
bcm=${1:-${CARGO_TARGET_DIR:-$top/target}/release/bcm}
exec python3 "$here/fanout.py" "$bcm"
