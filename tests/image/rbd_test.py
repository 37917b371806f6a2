"""Images in a Ceph cluster of one machine; in a network of its own (unshare --net)."""
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "servers"))
import ceph  # noqa: E402
import ganesha  # noqa: E402
from random_changes import change_at_random  # noqa: E402

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"
SIZE = 40 << 20


class RbdTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        ganesha.enter_private_network()
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name)
        cls.cluster = ceph.Ceph(cls.folder)
        cls.addClassCleanup(cls.cluster.stop)
        generator = random.Random(1)
        with open(cls.folder / "source.raw", "wb") as file:
            file.truncate(SIZE)
            for _ in range(6):
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

    def test_raw_and_qcow2_are_made_there_and_read_back(self):
        for name in ("raw", "qcow2"):
            url = self.cluster.url(name)
            self.ask(VIREO, "image", "convert", "-O", name, "source.raw", url)
            self.ask(VIREO, "image", "compare", "source.raw", url)
            self.ask("qemu-img", "compare", "-f", "raw", "-F", name, "source.raw", url)
        self.ask("rbd", "-c", str(self.cluster.file), "export", "disks/raw", "export.raw")
        self.ask("cmp", "export.raw", "source.raw")

    def test_content_is_kept_under_random_changes(self):
        for name in ("raw", "qcow2"):
            with self.subTest(format=name):
                self.ask(VIREO, "image", "create", "-f", name, self.cluster.url(f"random.{name}"), "4M")
                self.assertIsNone(change_at_random(self.cluster.url(f"random.{name}"), name))

    def test_what_others_make_is_read_with_its_holes_and_snapshots(self):
        config = str(self.cluster.file)
        self.ask("rbd", "-c", config, "import", "source.raw", "disks/theirs")
        self.ask(VIREO, "image", "compare", "source.raw", self.cluster.url("theirs"))
        ours = self.ask(VIREO, "image", "map", "--output=json", self.cluster.url("theirs"))
        self.assertIn('"data": false', ours)
        self.ask("rbd", "-c", config, "snap", "create", "disks/theirs@before")
        self.ask("qemu-io", "-f", "raw", "-c", "write -P 9 0 1M", self.cluster.url("theirs"))
        self.ask(VIREO, "image", "compare", "source.raw", self.cluster.url("theirs@before"))
        self.assertEqual(self.run_here(VIREO, "image", "compare", "source.raw", self.cluster.url("theirs")).returncode, 1)

    def test_an_image_is_resized_and_an_open_one_refused(self):
        url = self.cluster.url("sized")
        self.ask(VIREO, "image", "create", "-f", "raw", url, "8M")
        self.ask(VIREO, "image", "resize", "-f", "raw", url, "16M")
        self.assertIn("16 MiB", self.ask("rbd", "-c", str(self.cluster.file), "info", "disks/sized"))
        socket = self.folder / "export.sock"
        export = subprocess.Popen([VIREO, "export", url, "--format", "raw", "--unix", socket, "--persistent"],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(export.wait)
        self.addCleanup(export.terminate)
        while not socket.exists():
            self.assertIsNone(export.poll())
            time.sleep(0.01)
        self.refused("has the image open", VIREO, "image", "resize", "-f", "raw", url, "32M")
        self.ask("qemu-io", "-f", "raw", "-c", "write -P 5 1000 3000", "-c", "discard 4M 4M", "-c", "write -z 64K 64K",
                 "-c", "read -P 5 1000 3000", f"nbd+unix:///?socket={socket}")

    def test_what_does_not_work_is_told(self):
        self.refused("No such file", VIREO, "image", "info", self.cluster.url("nothing"))
        self.refused("rbd:POOL/IMAGE", VIREO, "image", "info", "rbd:disks")
        self.refused("pool others", VIREO, "image", "info", self.cluster.url("x").replace("disks", "others"))


if __name__ == "__main__":
    unittest.main()
