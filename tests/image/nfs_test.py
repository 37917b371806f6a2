"""Disks on an NFS server, nfs-ganesha here, versions 3 and 4; in a network of its own (unshare --net)."""
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "servers"))
import ganesha  # noqa: E402
from random_changes import change_at_random  # noqa: E402

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"
SIZE = 48 << 20


def setUpModule():
    ganesha.enter_private_network()
    portmapper = ganesha.Portmapper()
    unittest.addModuleCleanup(portmapper.stop)


class NfsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name)
        cls.server = ganesha.Ganesha(cls.folder)
        cls.addClassCleanup(cls.server.stop)
        generator = random.Random(1)
        with open(cls.folder / "source.raw", "wb") as file:
            file.truncate(SIZE)
            for _ in range(8):
                file.seek(generator.randrange(0, SIZE - (1 << 20)) & ~0xfff)
                file.write(generator.randbytes(1 << 19))

    def run_here(self, *words):
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=120)

    def ask(self, *words):
        result = self.run_here(*words)
        self.assertEqual(result.returncode, 0, (words, result.stdout, result.stderr))
        return result.stdout

    def refused(self, text, *words):
        result = self.run_here(*words)
        self.assertIn(result.returncode, (1, 2), words)
        self.assertIn(text, result.stderr)

    def serve(self, url, *options):
        """Our own NBD server over the disk: a process that keeps it open."""
        socket = self.folder / f"{time.monotonic_ns()}.sock"
        export = subprocess.Popen([VIREO, "export", url, "--unix", socket, "--persistent", *options],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(export.wait)
        self.addCleanup(export.terminate)
        while not socket.exists():
            self.assertIsNone(export.poll())
            time.sleep(0.01)
        return f"nbd+unix:///?socket={socket}"

    def test_every_format_is_made_there_and_read_back(self):
        for version in (3, 4):
            for name in ("raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"):
                with self.subTest(version=version, format=name):
                    url = self.server.url(f"each{version}.{name}", version)
                    self.ask(VIREO, "image", "convert", "source.raw", url)
                    self.ask(VIREO, "image", "compare", "source.raw", url)
                    local = ["-f", "vpc"] if name == "vhd" else []
                    self.ask("qemu-img", "convert", *local, "-O", "raw", self.server.export / f"each{version}.{name}", "copy.raw")
                    self.ask("cmp", "-n", str(SIZE), "copy.raw", "source.raw")

    def test_other_clients_see_the_same(self):
        url = f"nfs://127.0.0.1{self.server.export}"
        self.ask(VIREO, "image", "convert", "source.raw", f"{url}/ours.qcow2")
        self.ask("qemu-img", "compare", "source.raw", f"{url}/ours.qcow2")
        self.ask("nfs-cp", str(self.folder / "source.raw"), f"{url}/theirs.raw")
        self.ask(VIREO, "image", "compare", "source.raw", f"{url}/theirs.raw")
        self.ask(VIREO, "image", "compare", "source.raw", f"nfs://127.0.0.1/disks/theirs.raw?version=4")

    def test_images_there_grow_and_keep_snapshots(self):
        for version in (3, 4):
            with self.subTest(version=version):
                url = self.server.url(f"grows{version}.qcow2", version)
                self.ask(VIREO, "image", "convert", "source.raw", url)
                self.ask(VIREO, "image", "snapshot", "create", url, "before")
                self.ask(VIREO, "image", "resize", url, "1G")
                self.ask("qemu-img", "check", self.server.export / f"grows{version}.qcow2")
                self.ask(VIREO, "image", "convert", "-l", "before", url, f"before{version}.raw")
                self.ask("cmp", f"before{version}.raw", "source.raw")

    def test_content_is_kept_under_random_changes_resizes_and_snapshots(self):
        for version in (3, 4):
            for name in ("raw", "qcow2"):
                with self.subTest(version=version, format=name):
                    url = self.server.url(f"random{version}.{name}", version)
                    self.ask(VIREO, "image", "create", "-f", name, url, "4M")
                    self.assertIsNone(change_at_random(url, name))

    def test_an_overlay_there_over_a_base_there(self):
        base, top = self.server.url("base.qcow2"), self.server.url("top.qcow2")
        self.ask(VIREO, "image", "convert", "source.raw", base)
        self.ask(VIREO, "image", "create", "-b", base, "-F", "qcow2", top)
        self.ask(VIREO, "image", "compare", "--follow-backing", top, "source.raw")
        self.refused("follow", VIREO, "image", "compare", top, "source.raw")

    def test_two_writers_are_refused_by_version_4(self):
        url = self.server.url("disk.qcow2", 4)
        self.ask(VIREO, "image", "convert", "source.raw", url)
        self.serve(url)
        self.refused("has the file open", VIREO, "image", "resize", url, "1G")

    def test_a_server_that_dies_while_it_is_written_to_loses_nothing(self):
        for version in (3, 4):
            with self.subTest(version=version):
                url = self.server.url(f"survives{version}.raw", version)
                self.ask(VIREO, "image", "create", "-f", "raw", url, str(SIZE))
                disk = self.serve(url, "--format", "raw")

                def breaks():
                    for _ in range(3):
                        time.sleep(0.1)
                        self.server.kill()
                        self.server.start()
                breaker = threading.Thread(target=breaks)
                breaker.start()
                try:
                    while breaker.is_alive():
                        self.ask("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "source.raw", disk)
                finally:
                    breaker.join()
                self.ask("cmp", "source.raw", self.server.export / f"survives{version}.raw")

    def test_the_server_forgets_a_client_that_was_idle(self):
        url = self.server.url("idle.raw", 4)
        self.ask(VIREO, "image", "convert", "source.raw", url)
        disk = self.serve(url, "--format", "raw")
        time.sleep(7)  # the lease is of 4 seconds
        self.ask("qemu-io", "-f", "raw", "-c", "write -P 7 4096 4096", "-c", "flush", disk)
        with open(self.server.export / "idle.raw", "rb") as file:
            file.seek(4096)
            self.assertEqual(file.read(4096), b"\7" * 4096)

    def test_a_server_that_stands_still_is_an_error_in_time(self):
        url = self.server.url("slow.raw", 3, timeout=1, reconnect=1)
        self.ask(VIREO, "image", "convert", "source.raw", url)
        self.server.process.send_signal(19)
        began = time.monotonic()
        try:
            self.refused("does not answer", VIREO, "image", "info", url)
        finally:
            self.server.process.send_signal(18)
        self.assertLess(time.monotonic() - began, 20)
        self.ask(VIREO, "image", "compare", url, "source.raw")

    def test_what_does_not_work_is_told(self):
        self.refused("NOENT", VIREO, "image", "info", self.server.url("nothing"))
        self.refused("NOENT", VIREO, "image", "info", self.server.url("nothing", 4))
        self.refused("nfs://HOST/EXPORT/FILE", VIREO, "image", "info", "nfs://127.0.0.1/disk.raw")
        self.refused("'size' is not known", VIREO, "image", "info", "nfs://127.0.0.1/a/disk.raw?size=1")
        self.ask(VIREO, "image", "create", "-f", "raw", self.server.url("there.raw"), "1M")
        self.refused("there.raw", VIREO, "image", "create", "-f", "raw", self.server.url("there.raw"), "1M")


if __name__ == "__main__":
    unittest.main()
