"""A Debian is written as an OVA, brought back from it and boots."""
import pathlib
import subprocess
import tempfile
import unittest

import guest
from console import Console


class Appliance(unittest.TestCase):
    def test_a_debian_that_was_exported_and_imported_boots(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        folder = pathlib.Path(holder.name)
        run = lambda *words: subprocess.run([guest.VIREO, *words], env=guest.environment(), cwd=folder, check=True,
                                            capture_output=True, text=True, timeout=600).stdout.strip()
        run("vm-export", "debian", "debian.ova", "--name", "moved")
        spec = run("import", "debian.ova", "--to", "here")
        (folder / "debian.ova").unlink()
        with Console([guest.VIREO, "run", "--spec", spec], env=guest.environment()) as console:
            shell = guest.Shell(console)
            self.assertIn("Debian GNU/Linux 12", shell.check("cat /etc/os-release"))
            shell.check("dpkg --verify coreutils bash libc6")
            shell.check("echo written > /root/witness && sync")
            console.line("poweroff")
            self.assertEqual(console.wait(300), 0)


if __name__ == "__main__":
    unittest.main()
