#!/bin/sh
# Starts tor and gives it each onion service once the name of its target resolves. Made by bcm.
set -eu
umask 077
data=/var/lib/tor

if [ "${1:-}" = bootstrap ]; then
    # nothing on this image speaks to a unix socket for sure, so tor's own log line is kept in a file
    cat /run/tor/bootstrap
    exit
fi

# ID KEY-FILE VIRTUAL-PORT TARGET TARGET-PORT
onions() {
    cat <<'LIST'
{% for onion in onions -%}
{{ onion.id }} {{ onion.virtual_port }} {{ onion.host }} {{ onion.port }}
{% endfor -%}
LIST
}

# ID CLIENT PUBLIC-KEY
clients() {
    cat <<'LIST'
{% for onion in onions -%}
{% for client in onion.clients -%}
{{ onion.id }} {{ client.name }} {{ client.key }}
{% endfor -%}
{% endfor -%}
LIST
}

# IDs that nobody without a key may find, also while nobody has one.
closed() {
    cat <<'LIST'
{% for onion in onions if onion.client_auth -%}
{{ onion.id }}
{% endfor -%}
LIST
}

write() {
    : >/run/tor/onions.new
    onions | while read -r id virtual host port; do
        # overlays have addresses of version 4 alone
        address=$(getent hosts "$host" | head -n 1 | cut -d ' ' -f 1)
        [ -n "$address" ] || continue
        folder=$data/onion/$id
        mkdir -p "$folder/authorized_clients"
        cat "/run/secrets/onion/$id" >"$folder/hs_ed25519_secret_key"
        rm -f "$folder/authorized_clients/"*.auth
        clients | while read -r of name key; do
            [ "$of" = "$id" ] || continue
            echo "descriptor:x25519:$key" >"$folder/authorized_clients/$name.auth"
        done
        # without a single client tor would let everybody in
        if closed | grep -qx "$id" && [ -z "$(ls "$folder/authorized_clients")" ]; then
            continue
        fi
        echo "HiddenServiceDir $folder" >>/run/tor/onions.new
        echo "HiddenServicePort $virtual $address:$port" >>/run/tor/onions.new
    done
    cmp -s /run/tor/onions.new /run/tor/onions.conf 2>/dev/null && return 1
    mv /run/tor/onions.new /run/tor/onions.conf
}

mkdir -p "$data/onion"
# what a swarm mounts at /run/tor is root's, and tor wants a folder of its own for its socket
mkdir -p /run/tor/own
: >/run/tor/onions.conf
echo 'PROGRESS=0' >/run/tor/bootstrap
write || true
mkfifo /run/tor/log
while read -r line; do
    echo "$line"
    case $line in *"Bootstrapped "*)
        done=${line#*Bootstrapped }
        echo "PROGRESS=${done%%%*}" >/run/tor/bootstrap
        ;;
    esac
done </run/tor/log &
tor --defaults-torrc /dev/null -f /etc/tor/torrc >/run/tor/log 2>&1 &
tor=$!
trap 'kill -TERM $tor; wait $tor; exit 0' TERM INT
while kill -0 $tor 2>/dev/null; do
    sleep 5 &
    wait $! || true
    if write; then kill -HUP $tor; fi
done
wait $tor
