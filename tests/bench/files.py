"""Measures bcm, age and gpg on one large file; run by files.sh."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
PIECE = 32 * MIB
LIMIT_MIB = 64
USER = "Bench <bench@example.org>"
PEER = "Peer <peer@example.org>"


def main(gib, bcm, parent):
    size = int(float(gib) * 1024) * MIB
    with tempfile.TemporaryDirectory(prefix="bcm-bench-", dir=parent) as folder:
        return Bench(os.path.abspath(bcm), folder, size).run()


class Bench:
    def __init__(self, bcm, folder, size):
        self.bcm, self.folder, self.size = bcm, folder, size
        self.rows, self.over = [], []
        self.env = {
            "HOME": folder,
            "BCM_HOME": self.path("state"),
            "GNUPGHOME": self.path("gnupg"),
            "XDG_RUNTIME_DIR": folder,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
        }

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self):
        os.mkdir(self.env["GNUPGHOME"], 0o700)
        self.keys()
        self.make_input()
        print(f"{self.size // MIB} MiB, half of it random and half holes; each until on the disk")
        print(f"{'':34}{'bcm MiB/s':>10}{'peer':>10}{'ratio':>8}{'bcm MiB':>9}{'peer':>7}")
        try:
            self.age()
            self.pgp()
        finally:
            kill = ["gpgconf", "--kill", "all"]
            subprocess.run(kill, env=self.env, check=False)
        if self.over:
            print(f"over the limit: {', '.join(self.over)}", file=sys.stderr)
        return 1 if self.over else 0

    def keys(self):
        quiet = {"env": self.env, "check": True, "capture_output": True, "text": True}
        subprocess.run(["age-keygen", "-o", self.path("age.key")], **quiet)
        command = ["age-keygen", "-y", self.path("age.key")]
        self.recipient = subprocess.run(command, **quiet).stdout.strip()
        gpg = ["gpg", "--batch", "--passphrase", "", "--quick-gen-key", PEER, "default", "default"]
        subprocess.run(gpg, **quiet)
        export = ["gpg", "--batch", "--export", "--output", self.path("peer.gpg"), PEER]
        subprocess.run(export, **quiet)
        made = self.device("pgp", "init", "--user-id", USER)
        subprocess.run(made, input="bench\n", **quiet)

    def make_input(self):
        with open(self.path("input"), "wb") as file:
            for at in range(0, self.size, 2 * PIECE):
                file.seek(at)
                file.write(os.urandom(min(PIECE, self.size - at)))
            file.truncate(self.size)

    def device(self, *words):
        return [self.bcm, "--device", "simulator", "--passphrase-fd", "0", *words]

    def age(self):
        ours, theirs = self.path("input.age"), self.path("peer.age")
        encrypt = self.device("file", "encrypt", "--format", "age", "-r", self.recipient, "input")
        peer = ["age", "-r", self.recipient, "-o", theirs, "input"]
        self.compare("age: encrypt", encrypt, ours, peer, theirs)
        os.remove(theirs)
        out, peer_out = self.path("out"), self.path("peer.out")
        decrypt = self.device("file", "decrypt", "input.age", "-o", "out")
        peer = ["age", "-d", "-i", "age.key", "-o", peer_out, "input.age"]
        self.compare("age: decrypt", decrypt, out, peer, peer_out)
        self.same(out)
        self.remove(out, peer_out, ours)

    def pgp(self):
        ours, theirs = self.path("input.gpg"), self.path("peer.out")
        gpg = ["gpg", "--batch", "--yes", "--trust-model", "always", "--output", theirs]
        to = ["--recipient", PEER, "--encrypt", "input"]
        encrypt = self.device("file", "encrypt", "--force", "-r", "peer.gpg", "input")
        self.compare("OpenPGP: encrypt, gpg -z 0", encrypt, ours, [*gpg, "-z", "0", *to], theirs, False)
        self.compare("OpenPGP: encrypt, gpg", encrypt, ours, [*gpg, *to], theirs)
        self.remove(theirs)
        out = self.path("out")
        decrypt = self.device("file", "decrypt", "input.gpg", "-o", "out")
        peer = [*gpg, "--decrypt", "input.gpg"]
        self.compare("OpenPGP: decrypt, not compressed", decrypt, out, peer, theirs, False)
        self.same(out)
        self.remove(out, theirs, ours)

    def compare(self, title, ours, our_output, theirs, their_output, must=True):
        our_time, our_mib = self.timed(ours, our_output)
        their_time, their_mib = self.timed(theirs, their_output)
        speed = [self.size / MIB / seconds for seconds in (our_time, their_time)]
        ratio = their_time / our_time
        print(
            f"{title:34}{speed[0]:10.0f}{speed[1]:10.0f}{ratio:8.2f}{our_mib:9.1f}{their_mib:7.1f}",
            flush=True,
        )
        if our_mib >= LIMIT_MIB:
            self.over.append(f"{title}: {our_mib:.1f} MiB")
        if must and ratio < 1:
            self.over.append(f"{title}: ratio {ratio:.2f}")

    def timed(self, command, output):
        """Returns seconds until the output is on the disk, and the peak of memory in MiB."""
        timed = [shutil.which("time", path="/usr/bin:/bin"), "-f", "%M", *command]
        start = time.perf_counter()
        done = subprocess.run(
            timed, env=self.env, cwd=self.folder, input="bench\n", capture_output=True, text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{command}: {done.stderr}")
        with open(output, "rb") as file:
            os.fsync(file.fileno())
        elapsed = time.perf_counter() - start
        return elapsed, int(done.stderr.split()[-1]) / 1024

    def same(self, path):
        subprocess.run(["cmp", self.path("input"), path], check=True)

    def remove(self, *paths):
        for path in paths:
            os.remove(path)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
