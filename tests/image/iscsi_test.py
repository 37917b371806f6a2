"""Disks of an iSCSI target, tgtd here."""
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
import tgt  # noqa: E402
from random_changes import change_at_random  # noqa: E402

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"
SIZE = 48 << 20


class IscsiTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        generator = random.Random(1)
        with open(self.folder / "source.raw", "wb") as file:
            file.truncate(SIZE)
            for _ in range(8):
                file.seek(generator.randrange(0, SIZE - (1 << 20)) & ~0xfff)
                file.write(generator.randbytes(1 << 19))

    def target(self, size=SIZE, **login):
        target = tgt.Tgt(self.folder, size, **login)
        self.addCleanup(target.stop)
        return target

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

    def test_a_unit_is_written_and_read_by_us_and_by_others(self):
        target = self.target()
        self.ask(VIREO, "image", "convert", "source.raw", target.url())
        self.ask("cmp", "source.raw", target.file)
        self.ask(VIREO, "image", "compare", "source.raw", target.url())
        self.ask("qemu-img", "compare", "-f", "raw", "-F", "raw", "source.raw", target.url())
        self.assertIn(tgt.TARGET, self.ask("iscsi-ls", f"iscsi://127.0.0.1:{target.port}"))
        self.ask("qemu-io", "-f", "raw", "-c", "write -P 9 12288 8192", target.url())
        self.ask("cp", target.file, "theirs.raw")
        self.ask(VIREO, "image", "compare", "theirs.raw", target.url())

    def test_holes_are_seen_and_discards_free_space(self):
        target = self.target()
        self.ask(VIREO, "image", "convert", "source.raw", target.url())
        ours = self.ask(VIREO, "image", "map", "--output=json", target.url())
        there = self.ask("qemu-img", "map", "--output=json", "-f", "raw", target.url())
        self.assertEqual(ours.count('"data": true'), there.count('"data": true'))
        disk = self.serve(target.url(), "--format", "raw")
        self.ask("qemu-io", "-f", "raw", "-d", "unmap", "-c", f"discard 0 {SIZE}", "-c", "flush", disk)
        self.assertLess(target.file.stat().st_blocks * 512, 1 << 20)
        self.ask("qemu-io", "-f", "raw", "-c", "write -P 3 0 1M", "-c", "write -z 4096 65536", "-c", "write -z -u 512K 64K",
                 "-c", "read -P 0 4096 65536", "-c", "read -P 0 512K 64K", "-c", "read -P 3 576K 64K", disk)

    def test_parts_of_blocks_are_written_side_by_side(self):
        target = self.target()
        disk = self.serve(target.url(), "--format", "raw")
        commands = []
        for number in range(64):
            commands += ["-c", f"aio_write -P {number + 1} {number * 1000} 1000"]
        self.ask("qemu-io", "-f", "raw", *commands, "-c", "aio_flush", disk)
        content = target.file.read_bytes()[:64000]
        self.assertEqual(content, b"".join(bytes([number + 1]) * 1000 for number in range(64)))

    def test_content_is_kept_under_random_changes(self):
        target = self.target(8 << 20)
        self.assertIsNone(change_at_random(target.url(), "raw"))
        self.ask("qemu-img", "create", "-f", "qcow2", target.url(), "4M")
        self.assertIsNone(change_at_random(target.url(), "qcow2"))

    def test_qcow2_lies_in_a_unit(self):
        target = self.target()
        self.ask("qemu-img", "create", "-f", "qcow2", target.url(), "40M")
        self.ask("qemu-img", "convert", "-O", "raw", "source.raw", "small.raw")
        self.ask("truncate", "-s", "40M", "small.raw")
        self.ask(VIREO, "image", "convert", "-n", "-O", "qcow2", "small.raw", target.url())
        self.ask("qemu-img", "check", target.url())
        self.ask("qemu-img", "compare", "-f", "raw", "small.raw", target.url())

    def test_a_login_is_asked_for(self):
        target = self.target(user="someone", password="secretsecret")
        (self.folder / "password").write_text("secretsecret\n")
        self.ask(VIREO, "image", "info", target.url(login="someone%secretsecret@"))
        self.ask(VIREO, "image", "info", target.url(user="someone", **{"password-file": self.folder / "password"}))
        self.refused("uth", VIREO, "image", "info", target.url(login="someone%wrongwrongwrong@", reconnect=0))
        self.refused("uth", VIREO, "image", "info", target.url(reconnect=0))

    def test_a_target_that_dies_while_it_is_written_to_loses_nothing(self):
        target = self.target()
        disk = self.serve(target.url(), "--format", "raw")

        def breaks():
            for _ in range(3):
                time.sleep(0.1)
                target.kill()
                target.start()
        breaker = threading.Thread(target=breaks)
        breaker.start()
        try:
            while breaker.is_alive():
                self.ask("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "source.raw", disk)
        finally:
            breaker.join()
        self.ask("cmp", "source.raw", target.file)

    def test_a_target_that_stands_still_is_an_error_in_time(self):
        target = self.target()
        disk = self.serve(target.url(timeout=1, reconnect=1), "--format", "raw")
        target.process.send_signal(19)
        began = time.monotonic()
        try:
            result = self.run_here("qemu-io", "-f", "raw", "-c", "read 0 4096", disk)
        finally:
            target.process.send_signal(18)
        self.assertNotIn("read 4096/4096", result.stdout)
        self.assertLess(time.monotonic() - began, 20)
        self.ask("qemu-io", "-f", "raw", "-c", "read 0 4096", disk)

    def test_what_does_not_work_is_told(self):
        target = self.target()
        self.refused("LOGICAL_UNIT_NOT_SUPPORTED", VIREO, "image", "info", target.url(5))
        self.refused("not found", VIREO, "image", "info", target.url().replace("vireo:test", "vireo:other"))
        self.refused("HOST[:PORT]", VIREO, "image", "info", "iscsi://127.0.0.1/iqn.2026-01.org.vireo:test")
        self.refused("nothing can be made there", VIREO, "image", "create", "-f", "raw", target.url(), "1M")
        self.refused("keeps its size", VIREO, "image", "resize", "-f", "raw", target.url(), "1G")


if __name__ == "__main__":
    unittest.main()
