"""Builds the benchmark program and the initramfs whose /init it is."""
import hashlib
import pathlib
import subprocess

SOURCES = pathlib.Path(__file__).resolve().parent / "guest"
FLAGS = ["-std=c++20", "-O2", "-static", "-Wall", "-Wextra"]
DATABASE = pathlib.Path("/usr/include/sqlite3.h")
LIBRARIES = ["-lsqlite3", "-lm"] if DATABASE.exists() else []


class GuestProgram:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.binary = self.folder / "bench_guest"
        self.exit = self.folder / "bench_exit"
        self.initramfs = self.folder / "initramfs.cpio"
        self.folder.mkdir(parents=True, exist_ok=True)
        sources = sorted(SOURCES.glob("*.cpp"))
        digest = hashlib.sha256(repr(FLAGS + LIBRARIES).encode())
        for path in [*sources, *sorted(SOURCES.glob("*.h")), SOURCES / "exit.S"]:
            digest.update(path.read_bytes())
        self.digest = digest.hexdigest()
        stamp = self.folder / "bench_guest.digest"
        if stamp.exists() and stamp.read_text() == self.digest and self.initramfs.exists():
            return
        subprocess.run(["g++", *FLAGS, "-o", self.binary, *sources, *LIBRARIES], check=True)
        subprocess.run(["gcc", "-static", "-nostdlib", "-o", self.exit, SOURCES / "exit.S"], check=True)
        self.initramfs.write_bytes(archive({"init": self.binary, "bench_exit": self.exit}))
        stamp.write_text(self.digest)


def archive(files):
    """A cpio archive (newc) of executable files. The kernel's own one already holds /dev/console."""
    parts = []
    for number, (name, path) in enumerate([*files.items(), ("TRAILER!!!", None)], 1):
        data = path.read_bytes() if path else b""
        mode = 0o100755 if path else 0
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]
    return b"".join(parts)
