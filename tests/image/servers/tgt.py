"""An iSCSI target: tgtd on a free port of the loopback, with one unit that is a file."""
import pathlib
import random
import socket
import subprocess
import time

TARGET = "iqn.2026-01.org.vireo:test"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Tgt:
    def __init__(self, folder, size, user=None, password=None):
        self.file = pathlib.Path(folder) / "unit.raw"
        with open(self.file, "wb") as file:
            file.truncate(size)
        self.port = free_port()
        self.control = str(random.randrange(1000, 30000))
        self.login = (user, password)
        self.process = None
        self.start()

    def admin(self, *words):
        result = subprocess.run(["tgtadm", "-C", self.control, "--lld", "iscsi", *words], capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"tgtadm {words}: {result.stderr}")

    def start(self):
        self.process = subprocess.Popen(["tgtd", "-f", "-C", self.control, "--iscsi", f"portal=127.0.0.1:{self.port}"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.admin("--op", "show", "--mode", "system")
                break
            except RuntimeError:
                if self.process.poll() is not None:
                    raise
                time.sleep(0.02)
        self.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", TARGET)
        self.admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", str(self.file))
        self.admin("--op", "update", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "--params", "thin_provisioning=1")
        user, password = self.login
        if user:
            self.admin("--op", "new", "--mode", "account", "--user", user, "--password", password)
            self.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", user)
        self.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")

    def kill(self):
        self.process.kill()
        self.process.wait()

    stop = kill

    def url(self, unit=1, login="", **options):
        words = "&".join(f"{key}={value}" for key, value in options.items())
        return f"iscsi://{login}127.0.0.1:{self.port}/{TARGET}/{unit}" + (f"?{words}" if words else "")
