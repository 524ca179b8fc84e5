"""Measures the start and the unlock of bcm and of trezor-agent; run by startup.sh."""

import os
import pty
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 15
IDENTITY = "satoshi@bitcoin.org"
PASSPHRASE = "bcm test"
LIMITS = {"prompt_ms": 50, "prompt_mib": 25, "unlock_ms": 150}


def main(bcm, peers):
    with tempfile.TemporaryDirectory(prefix="bcm-bench-", dir="/tmp") as home:
        env = {
            "HOME": home,
            "BCM_HOME": os.path.join(home, "state"),
            "XDG_RUNTIME_DIR": home,
            "PATH": peers + ":/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "TREZOR_PASSPHRASE": PASSPHRASE,
        }
        simulator, device = serve(bcm, env)
        env["TREZOR_PATH"] = device
        try:
            figures = measure(bcm, peers, device, env)
        finally:
            simulator.send_signal(signal.SIGTERM)
            simulator.wait()
    return report(figures)


def serve(bcm, env):
    words = ["simulator", "serve", "--udp", "127.0.0.1:0", "--confirm", "auto"]
    simulator = subprocess.Popen([bcm, *words], env=env, stdout=subprocess.PIPE, text=True)
    line = simulator.stdout.readline()
    device = line.removeprefix("listening on ").strip()
    if not device.startswith("udp:"):
        raise SystemExit(f"the simulator said {line!r}")
    return simulator, device


def measure(bcm, peers, device, env):
    prompts, memory = [], []
    for _ in range(RUNS):
        elapsed, kib = to_passphrase_prompt(bcm, device, env)
        prompts.append(elapsed)
        memory.append(kib / 1024)
    ours = [bcm, "--device", device, "--passphrase-fd", "0", "ssh", "newkey", IDENTITY]
    theirs = [os.path.join(peers, "trezor-agent"), "-e", "ed25519", IDENTITY]
    ours_ms, theirs_ms = [], []
    keys = set()
    for _ in range(RUNS):
        elapsed, key = run(ours, env)
        ours_ms.append(elapsed)
        keys.add(key)
        elapsed, key = run(theirs, env)
        theirs_ms.append(elapsed)
        keys.add(key)
    if len(keys) != 1:
        raise SystemExit(f"different keys: {keys}")
    return {
        "prompt_ms": statistics.median(prompts),
        "prompt_mib": max(memory),
        "unlock_ms": statistics.median(ours_ms),
        "agent_ms": statistics.median(theirs_ms),
        "agent_mib": peak_mib(theirs, env),
        "unlock_mib": peak_mib(ours, env),
    }


def to_passphrase_prompt(bcm, device, env):
    """Starts bcm on a terminal and stops the clock when it asks for the passphrase."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(bcm, [bcm, "--device", device, "--passphrase-on", "host"], env)
    shown = b""
    while b"assphrase" not in shown:
        ready, _, _ = select.select([terminal], [], [], 10)
        if not ready:
            raise SystemExit(f"no passphrase prompt, only {shown!r}")
        shown += os.read(terminal, 4096)
    elapsed = (time.perf_counter() - start) * 1000
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        resident = int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1))
    # Ctrl-C and no kill: the device has to hear that nobody waits for it any longer
    os.write(terminal, b"\x03")
    os.waitpid(pid, 0)
    os.close(terminal)
    return elapsed, resident


def run(command, env):
    """Unlocks and prints one public key, from the start of the process to its end."""
    start = time.perf_counter()
    done = subprocess.run(
        command, env=env, input=PASSPHRASE + "\n", capture_output=True, text=True, check=False
    )
    elapsed = (time.perf_counter() - start) * 1000
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stderr}")
    return elapsed, done.stdout.strip()


def peak_mib(command, env):
    timed = [shutil.which("time", path="/usr/bin:/bin"), "-f", "%M", *command]
    done = subprocess.run(
        timed, env=env, input=PASSPHRASE + "\n", capture_output=True, text=True, check=True
    )
    return int(done.stderr.split()[-1]) / 1024


def report(figures):
    print(f"median of {RUNS} runs, one run of all, same simulator over UDP")
    print(f"{'':34}{'bcm':>10}{'limit':>10}{'trezor-agent':>15}{'ratio':>8}")
    rows = [
        ("start to passphrase prompt, ms", "prompt_ms", None),
        ("  peak memory there, MiB", "prompt_mib", None),
        ("start, unlock, one SSH key, ms", "unlock_ms", "agent_ms"),
        ("  peak memory, MiB", "unlock_mib", "agent_mib"),
    ]
    over = []
    for title, name, peer in rows:
        limit = LIMITS.get(name)
        theirs = f"{figures[peer]:15.1f}{figures[peer] / figures[name]:8.1f}" if peer else ""
        print(f"{title:34}{figures[name]:10.1f}{limit or '':>10}{theirs}")
        if limit and figures[name] > limit:
            over.append(name)
    if over:
        print(f"over the limit: {', '.join(over)}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
