#!/bin/sh
# The demo that `make run` plays where there is no terminal: a simulated Trezor, its keys, and a login
# to an OpenSSH server that the demo itself starts on loopback. Leaves nothing behind.
#   tests/demo.sh BCM
set -eu

bcm=$1
dir=$(mktemp -d /tmp/bcm-demo.XXXXXX)
sshd=""
clean_up() {
    [ -z "$sshd" ] || kill "$sshd" 2>/dev/null || true
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

export BCM_HOME="$dir/state" HOME="$dir" XDG_RUNTIME_DIR="$dir"

# What a person would see and type; the passphrase goes through a descriptor, as from a script.
show() {
    echo
    echo "\$ bcm $*"
    echo "demo passphrase" | "$bcm" --device simulator --simulator-confirm auto --passphrase-fd 0 "$@"
}

# A port that nobody uses, and a server on it that lets one key in.
start_sshd() {
    ssh-keygen -q -t ed25519 -N "" -f "$dir/host_key"
    touch "$dir/authorized_keys"
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    for port in 42022 42122 42222 42322 42422; do
        /usr/sbin/sshd -D -f /dev/null -E "$dir/sshd.log" -h "$dir/host_key" \
            -o "ListenAddress=127.0.0.1:$port" -o "AuthorizedKeysFile=$dir/authorized_keys" \
            -o "PidFile=none" -o "UsePAM=no" -o "StrictModes=no" \
            -o "PasswordAuthentication=no" -o "KbdInteractiveAuthentication=no" &
        sshd=$!
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            ! grep -q "Server listening" "$dir/sshd.log" 2>/dev/null || return 0
            kill -0 "$sshd" 2>/dev/null || break
            sleep 0.1
        done
        kill "$sshd" 2>/dev/null || true
        rm -f "$dir/sshd.log"
    done
    echo "error: sshd does not start on loopback" >&2
    exit 1
}

echo "bcm on a simulated Trezor T. The seed is public: never send money to it."
show info

start_sshd
destination="$(id -un)@127.0.0.1:$port"
show ssh newkey "$destination" | tee "$dir/newkey"
grep '^ssh-ed25519 ' "$dir/newkey" >"$dir/authorized_keys"

fingerprint=$(ssh-keygen -l -E sha256 -f "$dir/host_key.pub" | cut -d ' ' -f 2)
show ssh connect "$destination" --fingerprint "$fingerprint" -- \
    echo "logged in with a key that never left the device" | tee "$dir/login"
grep -q '^logged in with' "$dir/login"

show ssh list
echo
echo "Demo over: run \`make run\` in a terminal for the prompt."
