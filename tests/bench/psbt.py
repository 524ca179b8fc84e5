"""Measures how bcm and hwi sign one large PSBT; run by psbt.sh."""

import base64
import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from hwilib.common import hash160
from hwilib.key import ExtendedKey
from hwilib.psbt import PSBT

INPUTS, OUTPUTS = 1000, 200
# hwi derives keys slowly in Python; how many there are makes no difference to what is measured
KEYS = 50
PASSPHRASE = "bcm test"
FINGERPRINT = bytes.fromhex("dd53b9b4")
HARDENED = 1 << 31
ACCOUNT = [84 | HARDENED, 1 | HARDENED, HARDENED]
TX_ACK, TX_REQUEST = 22, 21

# hwi looks for an emulator on one port only: this moves the port and changes nothing else
HWI = """
import sys
from hwilib.devices.trezor import SIMULATOR_PATH, TrezorClient
from hwilib.devices.trezorlib.transport.udp import UdpTransport
UdpTransport.DEFAULT_PORT = int(sys.argv.pop(1))
moved = f'127.0.0.1:{UdpTransport.DEFAULT_PORT}'
init = TrezorClient.__init__
init.__defaults__ = tuple(moved if d == SIMULATOR_PATH else d for d in init.__defaults__)
from hwilib._cli import main
main()
"""


def main(bcm, peers):
    with tempfile.TemporaryDirectory(prefix="bcm-bench-", dir="/tmp") as home:
        env = {
            "HOME": home,
            "BCM_HOME": os.path.join(home, "state"),
            "XDG_RUNTIME_DIR": home,
            "PATH": peers + ":/usr/bin:/bin",
            "LANG": "C.UTF-8",
        }
        simulator, port = serve(bcm, env)
        try:
            figures = measure(bcm, peers, port, home, env)
        finally:
            simulator.send_signal(signal.SIGTERM)
            simulator.wait()
    return report(figures)


def serve(bcm, env):
    words = ["simulator", "serve", "--udp", "127.0.0.1:0", "--confirm", "auto"]
    simulator = subprocess.Popen([bcm, *words], env=env, stdout=subprocess.PIPE, text=True)
    line = simulator.stdout.readline()
    port = re.match(r"listening on udp:127\.0\.0\.1:(\d+)", line)
    if not port:
        raise SystemExit(f"the simulator said {line!r}")
    return simulator, int(port.group(1))


class Relay:
    """Passes datagrams on and counts the messages in them by type."""

    def __init__(self, port, host_port=0):
        self.counts = {}
        self.host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.host.bind(("127.0.0.1", host_port))
        self.device = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.device.connect(("127.0.0.1", port))
        self.peer = None
        for work in (self.to_device, self.to_host):
            threading.Thread(target=work, daemon=True).start()

    @property
    def port(self):
        return self.host.getsockname()[1]

    def count(self, datagram):
        if datagram[:3] == b"?##":
            kind = struct.unpack(">H", datagram[3:5])[0]
            self.counts[kind] = self.counts.get(kind, 0) + 1

    def to_device(self):
        while True:
            datagram, self.peer = self.host.recvfrom(65536)
            self.count(datagram)
            self.device.send(datagram)

    def to_host(self):
        while True:
            datagram = self.device.recv(65536)
            self.count(datagram)
            self.host.sendto(datagram, self.peer)


def relay_with_debug_link(port):
    """hwi also talks to the debug link of an emulator, which is one port higher."""
    while True:
        relay = Relay(port)
        try:
            Relay(port + 1, relay.port + 1)
        except OSError:
            continue
        return relay


def measure(bcm, peers, port, home, env):
    python = os.path.join(peers, "python")
    psbt = make_psbt(account_key(peers, port, env))
    file = os.path.join(home, "large.psbt")
    with open(file, "w", encoding="ascii") as text:
        text.write(psbt)

    def ours(port):
        device = f"udp:127.0.0.1:{port}"
        words = ["--device", device, "--passphrase-fd", "0", "psbt", "sign", file, "--json"]
        return [bcm, *words], PASSPHRASE + "\n"

    def theirs(port):
        words = ["-c", HWI, str(port), "--emulators", "-p", PASSPHRASE, "-t", "trezor"]
        words += ["-d", f"udp:127.0.0.1:{port}", "--chain", "regtest", "--stdin"]
        return [python, *words], f"signtx {psbt}\n"

    figures = {}
    signed = {}
    for name, command in (("bcm", ours), ("hwi", theirs)):
        wall, cpu, output = run(*command(port), env)
        relay = relay_with_debug_link(port)
        _, _, again = run(*command(relay.port), env)
        if "psbt" not in json.loads(again):
            raise SystemExit(f"{name} failed through the relay: {again[:500]!r}")
        asked, told = relay.counts[TX_REQUEST], relay.counts[TX_ACK]
        # the last TxRequest says that the device has finished
        figures[name] = {"wall": wall, "cpu": cpu, "asked": asked - 1, "told": told}
        signed[name] = signatures(json.loads(output)["psbt"])
    if signed["bcm"] != signed["hwi"] or len(signed["bcm"]) != INPUTS:
        raise SystemExit("bcm and hwi do not give the same signatures")
    return figures


def run(command, text, env):
    """Runs a program to its end and returns its wall and CPU time and what it printed."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
        source.write(text.encode())
        source.seek(0)
        start = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdin=source, stdout=sink)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        sink.seek(0)
        output = sink.read()
    if status != 0:
        raise SystemExit(f"{command[0]} failed: {output[:500]!r}")
    return wall, usage.ru_utime + usage.ru_stime, output


def account_key(peers, port, env):
    env = {**env, "TREZOR_PATH": f"udp:127.0.0.1:{port}", "PASSPHRASE": PASSPHRASE}
    words = ["-P", "--json", "btc", "get-public-node", "-c", "Testnet", "-n", "m/84h/1h/0h"]
    command = [os.path.join(peers, "trezorctl"), *words]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    node = json.loads(told.stdout)["node"]
    chain_code, key = (bytes.fromhex(node[part]) for part in ("chain_code", "public_key"))
    return ExtendedKey(ExtendedKey.TESTNET_PUBLIC, 3, bytes(4), HARDENED, chain_code, None, key)


def varint(number):
    if number < 0xFD:
        return bytes([number])
    return b"\xfd" + struct.pack("<H", number)


def field(key, value):
    return varint(len(key)) + key + varint(len(value)) + value


def output(amount, script):
    return struct.pack("<Q", amount) + varint(len(script)) + script


def make_psbt(account):
    """Spends INPUTS outputs of the account to OUTPUTS addresses of others."""
    chain = account.derive_pub(0)
    keys = [chain.derive_pub(index).pubkey for index in range(KEYS)]
    inputs, maps = b"", b""
    for index in range(INPUTS):
        key = keys[index % KEYS]
        script = b"\x00\x14" + hash160(key)
        told = output(100_000, script)
        previous = struct.pack("<I", 2) + b"\x01" + hashlib.sha256(b"%d" % index).digest()
        previous += struct.pack("<I", 0) + b"\x00" + b"\xff" * 4 + b"\x01" + told + b"\x00" * 4
        txid = hashlib.sha256(hashlib.sha256(previous).digest()).digest()
        inputs += txid + struct.pack("<I", 0) + b"\x00" + struct.pack("<I", 0xFFFFFFFD)
        path = struct.pack("<5I", *ACCOUNT, 0, index % KEYS)
        maps += field(b"\x00", previous) + field(b"\x01", told)
        maps += field(b"\x06" + key, FINGERPRINT + path) + b"\x00"
    outputs = b""
    for index in range(OUTPUTS):
        stranger = hashlib.sha256(b"stranger %d" % index).digest()[:20]
        outputs += output(499_000, b"\x00\x14" + stranger)
    transaction = struct.pack("<I", 2) + varint(INPUTS) + inputs + varint(OUTPUTS) + outputs
    transaction += struct.pack("<I", 0)
    whole = b"psbt\xff" + field(b"\x00", transaction) + b"\x00" + maps + b"\x00" * OUTPUTS
    return base64.b64encode(whole).decode()


def signatures(psbt):
    read = PSBT()
    read.deserialize(psbt)
    return [next(iter(put.partial_sigs.values())) for put in read.inputs if put.partial_sigs]


def report(figures):
    bcm, hwi = figures["bcm"], figures["hwi"]
    print(f"{INPUTS} inputs, {OUTPUTS} outputs, one run of each, same simulator over UDP")
    print(f"{'':32}{'bcm':>10}{'hwi':>10}{'ratio':>8}")
    for title, name in (("CPU time, s", "cpu"), ("wall time, s", "wall")):
        print(f"{title:32}{bcm[name]:10.2f}{hwi[name]:10.2f}{hwi[name] / bcm[name]:8.1f}")
    for title, name in (("the device asks, messages", "asked"), ("the host tells, messages", "told")):
        print(f"{title:32}{bcm[name]:10}{hwi[name]:10}")
    over = []
    if bcm["cpu"] > hwi["cpu"] / 5:
        over.append("more than a fifth of hwi's CPU time")
    if bcm["wall"] > hwi["wall"]:
        over.append("more wall time than hwi")
    # hwi has the device serialize nothing, which saves one message for each input and output
    if bcm["told"] > bcm["asked"]:
        over.append("more messages than the device asks for")
    if over:
        print("bcm takes " + ", ".join(over), file=sys.stderr)
    return bool(over)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
