"""A Ceph cluster of one monitor and one OSD, in this process's own network; as root."""
import pathlib
import subprocess
import time
import uuid

CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:3300/0]
mon initial members = a
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 0
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
log file = {folder}/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 2147483648
bluestore block create = true
osd memory target = 1073741824
"""


class Ceph:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.file = self.folder / "ceph.conf"
        fsid = str(uuid.uuid4())
        for name in ("mon", "osd", "run"):
            (self.folder / name).mkdir()
        self.file.write_text(CONFIGURATION.format(fsid=fsid, folder=self.folder))
        monitors = self.folder / "monmap"
        self.run("monmaptool", "--create", "--add", "a", "127.0.0.1:3300", "--fsid", fsid, monitors)
        self.run("ceph-mon", "-c", self.file, "--mkfs", "-i", "a", "--monmap", monitors)
        self.processes = []
        self.start("ceph-mon", "a")
        osd = str(uuid.uuid4())
        self.admin("osd", "new", osd, "0")
        self.run("ceph-osd", "-c", self.file, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.start("ceph-osd", "0")
        until = time.monotonic() + 60
        while "1 up" not in self.admin("osd", "stat"):
            if time.monotonic() > until:
                raise RuntimeError("the OSD does not come up")
            time.sleep(0.2)
        self.admin("osd", "pool", "create", "disks", "8")

    def run(self, *words):
        result = subprocess.run(words, capture_output=True, text=True, timeout=60)
        if result.returncode != 0:
            raise RuntimeError(f"{words}: {result.stderr}")
        return result.stdout

    def admin(self, *words):
        # Debian's own Python: the client's modules are built for it.
        return self.run("/usr/bin/python3", "/usr/bin/ceph", "-c", self.file, *words)

    def start(self, program, name):
        self.processes.append(subprocess.Popen([program, "-c", self.file, "-i", name, "-f"], stdout=subprocess.DEVNULL,
                                               stderr=subprocess.DEVNULL))
        return self.processes[-1]

    def stop(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def url(self, name):
        return f"rbd:disks/{name}:conf={self.file}"
