"""Times one command on many sshds: bcm, ansible, and a loop of ssh. See fanout.sh."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HOSTS = 50
ROUNDS = 3
LIMIT = 0.5

bcm = pathlib.Path(sys.argv[1]).resolve()
work = pathlib.Path(tempfile.mkdtemp(prefix="bcm-fan-", dir="/tmp"))
user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
environment = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": str(work),
    "BCM_HOME": str(work / "state"),
    "XDG_RUNTIME_DIR": str(work),
    "LANG": "C.UTF-8",
    "ANSIBLE_HOST_KEY_CHECKING": "True",
    "ANSIBLE_LOCAL_TEMP": str(work / "ansible"),
    "ANSIBLE_NOCOLOR": "1",
}


def run(words, **more):
    return subprocess.run(words, capture_output=True, text=True, env=environment, **more)


def script(commands):
    """Runs commands in one session on the simulator and returns what it printed on both streams."""
    file = work / "script"
    file.write_text("\n".join(commands) + "\n")
    words = [bcm, "--device", "simulator", "--simulator-confirm", "auto", "--passphrase-on", "host"]
    read, write = os.pipe()
    os.write(write, b"bench\n")
    os.close(write)
    words += ["--passphrase-fd", str(read), "--script", file]
    done = run([str(word) for word in words], pass_fds=[read])
    os.close(read)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def free_ports():
    held = [socket.socket() for _ in range(HOSTS)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def fingerprint(key):
    words = ["ssh-keygen", "-l", "-E", "sha256", "-f", str(key)]
    return run(words, check=True).stdout.split()[1]


servers = []
try:
    os.makedirs("/run/sshd", exist_ok=True)
    for name in ("host", "login"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / name)], check=True)
    script(["cluster create bench"])
    ca = script(["ssh newkey bcm-ca@bench"]).stdout.strip().splitlines()[-1]
    (work / "ca.pub").write_text(ca + "\n")
    ports = free_ports()
    for port in ports:
        config = work / f"sshd-{port}"
        config.write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {work}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {work}/login.pub\nTrustedUserCAKeys {work}/ca.pub\n"
            "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        )
        servers.append(
            subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=subprocess.DEVNULL)
        )
    for port in ports:
        while not answers(port):
            time.sleep(0.05)
    print_of = fingerprint(work / "host.pub")
    script(
        f"cluster host add h{at} ssh://{user}@127.0.0.1:{port} --fingerprint {print_of} --certified"
        for at, port in enumerate(ports)
    )
    key = (work / "host.pub").read_text()
    (work / "known").write_text("".join(f"[127.0.0.1]:{port} {key}" for port in ports))

    def with_bcm():
        done = script(["cluster exec --json -- echo in"])
        assert done.stdout.count('"stdout": "in\\n"') == HOSTS, done.stdout + done.stderr
        asked = [line for line in done.stderr.splitlines() if line.startswith("device: ")]
        certified = [line for line in asked if "certify" in line]
        logins = [line for line in asked if "log in" in line]
        assert len(certified) == 1 and not logins, asked

    inventory = work / "inventory"
    options = f"-o UserKnownHostsFile={work}/known -o IdentityAgent=none"
    inventory.write_text(
        "".join(
            f"h{at} ansible_host=127.0.0.1 ansible_port={port} ansible_user={user} "
            f"ansible_ssh_private_key_file={work}/login ansible_ssh_common_args='{options}'\n"
            for at, port in enumerate(ports)
        )
    )

    def with_ansible():
        words = ["ansible", "-i", str(inventory), "-f", str(HOSTS), "all", "-m", "raw", "-a", "echo in"]
        done = run(words)
        assert done.returncode == 0 and done.stdout.count("rc=0") == HOSTS, done.stdout + done.stderr
        for control in (work / ".ansible/cp").glob("*"):
            run(["ssh", "-O", "exit", "-S", str(control), "x"])

    loop = "\n".join(
        f"ssh -F none -i {work}/login {options} -o ControlMaster=auto -o ControlPersist=30 "
        f"-S {work}/cm-{port} -p {port} {user}@127.0.0.1 echo in || exit 1"
        for port in ports
    )
    (work / "loop.sh").write_text(loop + "\n")

    def with_loop():
        done = run(["sh", str(work / "loop.sh")], stdin=subprocess.DEVNULL)
        assert done.stdout.count("in\n") == HOSTS, done.stdout + done.stderr
        for port in ports:
            run(["ssh", "-O", "exit", "-S", f"{work}/cm-{port}", "x"])

    best = {}
    # in turn, so that whatever else this machine does meets all of them
    for _ in range(ROUNDS):
        for name, job in (("bcm", with_bcm), ("ansible", with_ansible), ("loop", with_loop)):
            begun = time.monotonic()
            job()
            took = time.monotonic() - begun
            best[name] = min(best.get(name, took), took)
    for name, took in best.items():
        print(f"{name:8} {took:6.2f} s   bcm/{name} {best['bcm'] / took:.2f}")
    slow = [name for name in ("ansible", "loop") if best["bcm"] > LIMIT * best[name]]
    if slow:
        sys.exit(f"bcm takes more than {LIMIT} of: {', '.join(slow)}")
finally:
    for server in servers:
        subprocess.run(["pkill", "-KILL", "-P", str(server.pid)], check=False)
        server.kill()
        server.wait()
    shutil.rmtree(work, ignore_errors=True)
