"""The program as qemu-img and qemu-io, beside Debian's own: the same command lines, outputs and exit statuses."""
import json
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"
FORMATS = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}


class ImageTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        for name in ("qemu-img", "qemu-io"):
            (self.folder / name).symlink_to(VIREO)
        generator = random.Random(1)
        with open(self.folder / "source.raw", "wb") as file:
            file.truncate(24 << 20)
            for _ in range(12):
                file.seek(generator.randrange(0, 23 << 20) & ~0xffff)
                file.write(generator.randbytes(131072))

    def run_in_folder(self, *words):
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=120)

    def theirs(self, *words):
        return self.run_in_folder(*words)

    def ours(self, tool, *words):
        return self.run_in_folder(f"./{tool}", *words)

    def vireo(self, *words):
        result = self.run_in_folder(VIREO, "image", *words)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def same(self, tool, *words):
        ours, theirs = self.ours(tool, *words), self.theirs(tool, *words)
        self.assertEqual((ours.returncode, ours.stdout), (theirs.returncode, theirs.stdout), words)

    def same_json(self, *words):
        ours, theirs = self.ours("qemu-img", *words), self.theirs("qemu-img", *words)
        self.assertEqual(ours.returncode, theirs.returncode, words)
        self.assertEqual(json.loads(ours.stdout), json.loads(theirs.stdout), words)


class AsQemuImg(ImageTest):
    def test_info_of_qcow2_is_word_for_word_the_same(self):
        self.theirs("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.same("qemu-img", "info", "disk.qcow2")
        self.same("qemu-img", "info", "--output=json", "disk.qcow2")
        self.theirs("qemu-img", "create", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", "top.qcow2")
        self.same("qemu-img", "info", "top.qcow2")
        self.same_json("info", "--output=json", "--backing-chain", "top.qcow2")

    def test_other_formats_are_described_alike(self):
        for ours, theirs in FORMATS.items():
            if theirs in ("vmdk", "qcow2"):
                continue
            self.theirs("qemu-img", "create", "-f", theirs, f"disk.{ours}", "64M")
            self.same_json("info", "-f", theirs, "--output=json", f"disk.{ours}")

    def test_check_agrees_about_clean_and_damaged_images(self):
        self.theirs("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.same("qemu-img", "check", "disk.qcow2")
        self.same_json("check", "--output=json", "disk.qcow2")
        self.same("qemu-img", "check", "-f", "raw", "source.raw")
        with open(self.folder / "disk.qcow2", "r+b") as file:
            header = file.read(72)
            file.seek(int.from_bytes(header[40:48], "big"))
            table = int.from_bytes(file.read(8), "big") & 0xfffffffffffe00
            file.seek(table)
            entries = [file.read(8) for _ in range(384)]
            used = next(index for index, entry in enumerate(entries) if any(entry))
            file.seek(table + used * 8)
            file.write(bytes(8))
        ours, theirs = (run("qemu-img", "check", "--output=json", "disk.qcow2") for run in (self.ours, self.theirs))
        self.assertEqual(ours.returncode, 3)
        self.assertEqual(theirs.returncode, 3)
        self.assertEqual(json.loads(ours.stdout)["leaks"], json.loads(theirs.stdout)["leaks"])
        self.assertEqual(self.ours("qemu-img", "check", "-r", "leaks", "disk.qcow2").returncode, 0)
        self.same("qemu-img", "check", "disk.qcow2")

    def test_map_of_a_chain_agrees(self):
        self.theirs("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.theirs("qemu-img", "create", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", "top.qcow2")
        self.theirs("qemu-io", "-c", "write 1M 256k", "-c", "write -z 3M 128k", "top.qcow2")
        self.same_json("map", "--output=json", "top.qcow2")
        self.same("qemu-img", "map", "top.qcow2")

    def test_compare_exit_statuses_agree(self):
        self.theirs("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.same("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "source.raw", "disk.qcow2")
        self.theirs("qemu-io", "-c", "write -P 9 5M 4k", "disk.qcow2")
        self.same("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "source.raw", "disk.qcow2")
        self.assertEqual(self.ours("qemu-img", "compare", "missing", "disk.qcow2").returncode, 2)

    def test_conversion_snapshots_and_sizes_are_read_by_the_other_side(self):
        for ours, theirs in FORMATS.items():
            self.assertEqual(self.ours("qemu-img", "convert", "-f", "raw", "-O", theirs, "source.raw",
                                       f"disk.{ours}").returncode, 0)
            result = self.theirs("qemu-img", "compare", "-f", "raw", "-F", theirs, "source.raw", f"disk.{ours}")
            self.assertEqual(result.returncode, 0, f"{ours}: {result.stdout}{result.stderr}")
        self.assertEqual(self.ours("qemu-img", "snapshot", "-c", "one", "disk.qcow2").returncode, 0)
        self.theirs("qemu-io", "-c", "write -P 9 0 8M", "disk.qcow2")
        self.assertEqual(self.theirs("qemu-img", "snapshot", "-a", "one", "disk.qcow2").returncode, 0)
        self.assertEqual(self.ours("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "source.raw",
                                   "disk.qcow2").returncode, 0)
        self.assertEqual(self.ours("qemu-img", "resize", "disk.qcow2", "1M").returncode, 1)
        self.assertEqual(self.ours("qemu-img", "resize", "-q", "disk.qcow2", "+8M").returncode, 0)
        self.assertEqual(self.theirs("qemu-img", "check", "-q", "disk.qcow2").returncode, 0)

    def test_bitmaps_made_by_either_side_are_the_same(self):
        for side in (self.ours, self.theirs):
            self.theirs("qemu-img", "create", "-f", "qcow2", "disk.qcow2", "16M")
            for words in (["--add", "-g", "65536", "one"], ["--add", "--disable", "two"], ["--merge", "one", "two"],
                          ["--add", "three"], ["--remove", "three"]):
                result = side("qemu-img", "bitmap", *words[:-1], "disk.qcow2", words[-1])
                self.assertEqual(result.returncode, 0, result.stderr)
            self.same("qemu-img", "info", "disk.qcow2")
            self.same_json("info", "--output=json", "disk.qcow2")
            self.assertEqual(self.theirs("qemu-img", "check", "disk.qcow2").returncode, 0)
        for words in (["--add", "disk.qcow2", "one"], ["--clear", "disk.qcow2", "none"], ["disk.qcow2", "one"]):
            self.same("qemu-img", "bitmap", *words)

    def test_map_of_a_part_agrees(self):
        self.theirs("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.same_json("map", "--output=json", "-s", "3M", "-l", "9M", "disk.qcow2")

    def test_vmdk_extents_are_described_alike(self):
        for kind in ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"):
            self.theirs("qemu-img", "create", "-f", "vmdk", "-o", f"subformat={kind}", f"{kind}.vmdk", "3G")
            ours, theirs = (json.loads(run("qemu-img", "info", "--output=json", f"{kind}.vmdk").stdout)
                            for run in (self.ours, self.theirs))
            self.assertEqual(ours["format-specific"], theirs["format-specific"])

    def test_dd_copies_the_same_part(self):
        for operands in ([], ["bs=1M", "count=5"], ["bs=64k", "skip=30"], ["bs=1M", "skip=2", "count=7"], ["bs=1M", "skip=99"]):
            for side, name in ((self.ours, "ours.raw"), (self.theirs, "theirs.raw")):
                result = side("qemu-img", "dd", "-f", "raw", "-O", "raw", *operands, "if=source.raw", f"of={name}")
                self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual((self.folder / "ours.raw").read_bytes(), (self.folder / "theirs.raw").read_bytes(), operands)

    def test_several_sources_are_joined(self):
        self.theirs("qemu-img", "create", "-f", "raw", "small.raw", "3M")
        for side, name in ((self.ours, "ours.qcow2"), (self.theirs, "theirs.qcow2")):
            self.assertEqual(side("qemu-img", "convert", "-O", "qcow2", "source.raw", "small.raw", "source.raw", name).returncode, 0)
        self.assertEqual(self.theirs("qemu-img", "compare", "ours.qcow2", "theirs.qcow2").returncode, 0)

    def test_conversion_takes_bitmaps_along(self):
        self.theirs("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.theirs("qemu-img", "bitmap", "--add", "disk.qcow2", "one")
        self.theirs("qemu-io", "-c", "write 5M 64k", "disk.qcow2")
        self.assertEqual(self.ours("qemu-img", "convert", "--bitmaps", "-O", "qcow2", "disk.qcow2", "copy.qcow2").returncode, 0)
        self.assertIn("one", self.theirs("qemu-img", "info", "copy.qcow2").stdout)
        ranges = json.loads(self.vireo("map", "--bitmap", "one", "--output", "json", "copy.qcow2"))
        self.assertEqual(ranges, [{"start": 5 << 20, "length": 65536}])

    def test_amended_images_are_described_alike(self):
        for options in ("compat=1.1", "compat=1.1,lazy_refcounts=on", "lazy_refcounts=off", "size=30M"):
            for side, name in ((self.ours, "disk.qcow2"), (self.theirs, "disk.qcow2")):
                self.theirs("qemu-img", "create", "-f", "qcow2", "-o", "compat=0.10", "disk.qcow2", "16M")
                if "compat" not in options and "size" not in options:
                    self.theirs("qemu-img", "amend", "-o", "compat=1.1,lazy_refcounts=on", "disk.qcow2")
                result = side("qemu-img", "amend", "-o", options, "disk.qcow2")
                self.assertEqual(result.returncode, 0, result.stderr)
                told = self.theirs("qemu-img", "info", "disk.qcow2").stdout
                told = "\n".join(line for line in told.splitlines() if "disk size" not in line)
                if side == self.ours:
                    expected = told
            self.assertEqual(told, expected, options)
            self.assertEqual(self.theirs("qemu-img", "check", "disk.qcow2").returncode, 0)

    def test_encrypted_images_are_shared_by_both_sides(self):
        secret = ["--object", "secret,id=key,data=correct horse"]
        options = "driver=qcow2,encrypt.key-secret=key,file.filename=disk.qcow2"
        created = self.ours("qemu-img", "create", *secret, "-f", "qcow2", "-o",
                            "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", "disk.qcow2", "24M")
        self.assertEqual(created.returncode, 0, created.stderr)
        self.same("qemu-img", "info", "disk.qcow2")
        self.same_json("info", "--output=json", "disk.qcow2")
        wrote = self.theirs("qemu-io", *secret, "-c", "write -P 9 1M 1M", "--image-opts", options)
        self.assertEqual(wrote.returncode, 0, wrote.stderr)
        read = self.ours("qemu-io", *secret, "-c", "read -P 9 1M 1M", "--image-opts", options)
        self.assertEqual(read.returncode, 0, read.stdout + read.stderr)
        refused = self.ours("qemu-img", "convert", "-O", "raw", "disk.qcow2", "out.raw")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("--key-file", refused.stderr)
        (self.folder / "key").write_text("correct horse")
        self.vireo("convert", "--key-file", "key", "disk.qcow2", "out.raw")
        self.assertEqual((self.folder / "out.raw").read_bytes()[1 << 20:2 << 20], b"\x09" * (1 << 20))

    def test_unknown_commands_and_files_fail_with_1(self):
        self.assertEqual(self.ours("qemu-img", "nonsense").returncode, 1)
        self.assertEqual(self.ours("qemu-img", "info", "missing").returncode, 1)
        self.assertEqual(self.ours("qemu-img", "create", "-f", "qcow2", "new.qcow2").returncode, 1)


class AsQemuIo(ImageTest):
    def test_patterns_written_by_one_are_read_by_the_other(self):
        self.ours("qemu-img", "create", "-f", "qcow2", "disk.qcow2", "16M")
        wrote = self.ours("qemu-io", "-c", "write -P 0xab 1M 64k", "-c", "write -z 2M 64k", "-c", "flush", "disk.qcow2")
        self.assertRegex(wrote.stdout, r"wrote 65536/65536 bytes at offset 1048576\n64 KiB, 1 ops; ")
        self.assertEqual(self.theirs("qemu-io", "-c", "read -P 0xab 1M 64k", "disk.qcow2").returncode, 0)
        read = self.ours("qemu-io", "-c", "read -P 1 1M 64k", "disk.qcow2")
        self.assertIn("Pattern verification failed at offset 1048576, 65536 bytes", read.stdout)
        self.assertEqual(read.returncode, 1)
        self.same("qemu-io", "-c", "length", "-c", "map", "disk.qcow2")


class AsVireo(ImageTest):
    def test_verbs_serve_every_format(self):
        for name in FORMATS:
            disk = f"disk.{name}"
            self.vireo("convert", "source.raw", disk)
            self.assertIn("virtual size: 24 MiB", self.vireo("info", disk))
            self.assertIn("identical", self.vireo("compare", "source.raw", disk))
            self.vireo("map", disk)
            self.vireo("measure", "-O", name, disk)
            self.assertIn("Run completed", self.vireo("bench", "-c", "100", disk))

    def test_bitmaps_tell_what_changed_on_every_format(self):
        for name in FORMATS:
            disk = f"disk.{name}"
            self.vireo("convert", "source.raw", disk)
            self.vireo("bitmap", "add", disk, "backup", "--granularity", "64K")
            self.ours("qemu-io", "-f", FORMATS[name], "-c", "write 1M 4k", disk)
            ranges = json.loads(self.vireo("map", "--bitmap", "backup", "--output", "json", disk))
            self.assertEqual(ranges, [{"start": 1 << 20, "length": 65536}], name)
            self.assertIn("recording", self.vireo("bitmap", "list", disk))

    def test_a_backing_file_is_followed_only_when_allowed(self):
        self.vireo("create", "-b", "source.raw", "-F", "raw", "top.qcow2")
        refused = self.run_in_folder(VIREO, "image", "convert", "top.qcow2", "out.raw")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("--follow-backing", refused.stderr)
        self.vireo("convert", "--follow-backing", "top.qcow2", "out.raw")
        self.vireo("compare", "source.raw", "out.raw")


if __name__ == "__main__":
    unittest.main()
