"""Programs compiled here give in a guest what they give here."""
import gzip
import pathlib
import subprocess
import tempfile
import unittest

import guest
from kernels_test import KERNEL_TROUBLE

SOURCES = pathlib.Path(__file__).resolve().parent / "programs"
TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "make_initramfs"
BLOCKS, ROUNDS = 101, 3000


class Programs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def compile(self, name, *options):
        command = ["gcc", "-O2", "-static", *options, SOURCES / f"{name}.c", "-o", self.folder / name, "-lm", "-pthread"]
        subprocess.run(command, check=True)
        return self.folder / name

    def runs(self, program, *arguments, modules=(), options=()):
        """What a guest with that program in its initramfs prints, and the program's exit status."""
        base = pathlib.Path(guest.INITRAMFS)
        if modules:
            base = self.folder / "base.gz"
            subprocess.run([TOOL, base, guest.GUESTS / "cloud" / "root", *modules], check=True)
        archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], input=program.name.encode(), cwd=self.folder,
                                 capture_output=True, check=True).stdout
        initramfs = self.folder / "initramfs"
        initramfs.write_bytes(base.read_bytes() + gzip.compress(archive))  # the kernel unpacks one after the other
        words = ",".join([f"/{program.name}", *arguments])
        with guest.boot_kernel("cloud", "--cpus", "2", *options, append=f"quiet vireo.run={words}",
                               initramfs=str(initramfs)) as console:
            status = console.expect(r"VIREO-RUN-EXIT (\d+)")[1]
            self.assertEqual(console.wait(), 0)
            self.assertNotRegex(console.log, KERNEL_TROUBLE)
            return console.log.replace("\r", ""), int(status)

    def test_a_32_bit_process_computes_what_it_computes_on_the_host(self):
        program = self.compile("process32", "-m32", "-msse2", "-mfpmath=387", "-fno-pie", "-no-pie")
        here = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        for tier in ("translate", "interpret"):
            with self.subTest(tier=tier):
                there, status = self.runs(program, options=["--engine", f"software,{tier}"])
                self.assertEqual(status, 0, there)
                self.assertIn("interrupted work is the same\n", there)
                for line in here.splitlines():
                    self.assertIn(line + "\n", there)

    def test_code_that_a_disk_brings_into_pages_that_have_run_is_what_runs(self):
        disk = self.folder / "functions.raw"
        with open(disk, "wb") as file:
            for block in range(BLOCKS):  # NOPs, MOV $block, %eax; RET at another place each time
                code = b"\x90" * (block * 31 % 4000) + b"\xb8" + block.to_bytes(4, "little") + b"\xc3"
                file.write(code.ljust(4096, b"\xcc"))
        there, status = self.runs(self.compile("direct_reads"), "/dev/vda", str(BLOCKS), str(ROUNDS),
                                  modules=["virtio_pci", "virtio_blk"], options=["--disk", f"{disk},format=raw,readonly"])

        self.assertEqual(status, 0, there)
        self.assertIn(f"{ROUNDS} reads\n", there)


if __name__ == "__main__":
    unittest.main()
