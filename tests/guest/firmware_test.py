"""Machines that begin in firmware."""
import pathlib
import subprocess
import tempfile
import unittest

import boot_sector
import guest


class Bios(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def boot(self, *options):
        disk = self.folder / "disk.raw"
        boot_sector.write_disk("services", disk)
        return guest.Console([guest.VIREO, "run", "--firmware", "bios", "--disk", f"{disk},format=raw", "--net", "none",
                              *options])

    def test_a_boot_sector_runs_and_uses_the_services(self):
        for engine in ("software", "software,interpret"):
            with self.boot("--memory", "256M", "--engine", engine) as console:
                console.expect("Booting from Hard Disk")
                console.expect(r"BOOTED\s")
                console.expect(r"SECTOR ONE\s")
                # All but the first MiB and what SeaBIOS keeps at the end.
                console.expect(r"MEMORY 254 MIB\s")
                console.expect("SERVICES-OK")
                self.assertEqual(console.wait(), 0)

    def test_the_firmware_logs_what_it_finds(self):
        log = self.folder / "firmware.log"
        with self.boot("--memory", "5G", "--cpus", "2", "--firmware-log", str(log)) as console:
            console.expect("SERVICES-OK")
            console.wait()
        text = log.read_text()
        self.assertIn("Found 2 cpu(s)", text)
        self.assertRegex(text, r"0000000100000000 - 0000000190000000 = 1 RAM")
        self.assertIn("(via xsdt)", text)

    def test_a_firmware_image_that_is_none_is_refused(self):
        image = self.folder / "short.bin"
        image.write_bytes(b"x" * 1000)
        result = subprocess.run([guest.VIREO, "run", "--firmware", str(image)], capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, "firmware: .*short.bin: 1000 bytes; a firmware image has 128 KiB to 16 MiB")
        result = subprocess.run([guest.VIREO, "run", "--firmware", "bios", "--append", "x"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertIn("boots from disks", result.stderr)


if __name__ == "__main__":
    unittest.main()
