"""Machines that begin in firmware."""
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

import boot_sector
import grub_disk
import guest


class Bios(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def vireo(self, *arguments):
        return subprocess.run([guest.VIREO, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout

    def wait_for_screen(self, name, pattern):
        deadline = time.monotonic() + 60
        while not re.search(pattern, shown := self.vireo("screen", name, "--text")):
            self.assertLess(time.monotonic(), deadline, f"no {pattern!r} on the screen:\n{shown}")
            time.sleep(0.1)
        return shown

    def colours_of(self, name):
        """Width, height and lines of one colour of a screen's picture, which a second program reads."""
        picture = self.folder / "shot.png"
        self.vireo("screenshot", name, str(picture))
        pnm = subprocess.run(["pngtopnm", str(picture)], capture_output=True, check=True).stdout
        _, size, _, pixels = pnm.split(b"\n", 3)
        width, height = (int(each) for each in size.split())
        lines = [pixels[3 * width * line:3 * width * (line + 1)] for line in range(height)]
        return width, height, sum(line == line[:3] * width for line in lines)

    def boot(self, *options, sector="services"):
        disk = self.folder / "disk.raw"
        boot_sector.write_disk(sector, disk)
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

    def test_the_screen_is_read_and_the_keyboard_typed_on(self):
        os.environ["VIREO_RUN"] = str(self.folder)
        self.addCleanup(os.environ.pop, "VIREO_RUN")
        with self.boot("--name", "screen", "--memory", "64M", sector="echo") as console:
            console.expect("Booting from Hard Disk")
            self.wait_for_screen("screen", r"(?s)SeaBIOS \(version.*Booting from Hard Disk.*TYPE:")
            self.vireo("type", "screen", 'Hello, "World" ~1!')
            self.wait_for_screen("screen", r'TYPE: Hello, "World" ~1!')
            self.vireo("key", "screen", "f1")
            deadline = time.monotonic() + 60
            while subprocess.run([guest.VIREO, "screen", "screen", "--text"], capture_output=True).returncode == 0:
                self.assertLess(time.monotonic(), deadline)
            while (shown := self.colours_of("screen")) != (320, 200, 200):  # the guest may still be drawing
                self.assertLess(time.monotonic(), deadline, shown)
            self.vireo("key", "screen", "f2")
            while subprocess.run([guest.VIREO, "screen", "screen", "--text"], capture_output=True).returncode != 0:
                self.assertLess(time.monotonic(), deadline)
            self.vireo("type", "screen", "bye", "--enter")
            self.assertEqual(console.wait(), 0)

    def test_a_firmware_image_that_is_none_is_refused(self):
        image = self.folder / "short.bin"
        image.write_bytes(b"x" * 1000)
        result = subprocess.run([guest.VIREO, "run", "--firmware", str(image)], capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, "firmware: .*short.bin: 1000 bytes; a firmware image has 128 KiB to 16 MiB")
        result = subprocess.run([guest.VIREO, "run", "--firmware", "bios", "--append", "x"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertIn("boots from disks", result.stderr)


class Grub(unittest.TestCase):
    def test_a_debian_with_grub_boots_from_its_disk_and_shows_its_login(self):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["VIREO_RUN"] = folder
            self.addCleanup(os.environ.pop, "VIREO_RUN")
            disk = f"{folder}/disk.qcow2"
            grub_disk.make(disk, append="console=tty0 console=ttyS0")
            with guest.boot_machine("--name", "grub", "--firmware", "bios", "--disk", disk, "--cpus", "2") as console:
                console.expect("VIREO-GRUB-RUNS")
                shell = guest.Shell(console)
                self.assertIn("/dev/vda1 on / type ext4", shell.check("mount"))
                self.assertEqual(shell.check("nproc"), "2")
                trouble = shell.run(f"dmesg | grep -E '{guest.DMESG_TROUBLE}|Firmware Bug|ACPI.*(Error|Warning)'")[1]
                self.assertEqual(trouble, "")
                shown = subprocess.run([guest.VIREO, "screen", "grub", "--text"], capture_output=True, text=True).stdout
                self.assertIn("Debian GNU/Linux 12 debian tty1", shown)
                console.line("poweroff")
                self.assertEqual(console.wait(), 0)


if __name__ == "__main__":
    unittest.main()
