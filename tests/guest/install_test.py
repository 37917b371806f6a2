"""A Debian is installed from inside a guest onto an empty disk and boots from it. All formats: install_long_test.py."""
import subprocess
import tempfile
import unittest

import guest
import install


class Install(unittest.TestCase):
    def test_an_installed_system_boots_with_every_byte(self):
        with tempfile.TemporaryDirectory() as folder:
            disk = install.make_disk(folder, "vhdx")
            install.install(disk)
            install.boots_and_keeps_every_byte(disk)
            subprocess.run([guest.VIREO, "image", "check", disk], check=True, capture_output=True)


if __name__ == "__main__":
    unittest.main()
