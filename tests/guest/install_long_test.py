"""A Debian is installed from inside a guest onto an empty disk of each format, and runs from it: systemd, a login, a reboot.
Every file's checksum holds, and QEMU reads the same disk."""
import subprocess
import tempfile
import unittest

import guest
import install

FORMATS = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi"}


class Install(unittest.TestCase):
    def test_each_format_is_installed_on_and_run_from(self):
        for form, name in FORMATS.items():
            with self.subTest(format=form), tempfile.TemporaryDirectory() as folder:
                disk = install.make_disk(folder, form)
                install.install(disk)
                install.boots_and_keeps_every_byte(disk)
                install.boots_to_its_login(disk)
                if form != "raw":
                    subprocess.run([guest.VIREO, "image", "check", disk], check=True, capture_output=True)
                plain = f"{folder}/plain"
                subprocess.run([guest.VIREO, "image", "convert", "-f", form, "-O", "raw", disk, plain], check=True)
                subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", name, plain, disk], check=True, capture_output=True)


if __name__ == "__main__":
    unittest.main()
