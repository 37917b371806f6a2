"""Debian's installer on the screen, driven by the keyboard."""
import os
import re
import subprocess
import tempfile
import time
import unittest

import guest

IMAGES = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"


class Installer(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.environ["VIREO_RUN"] = folder.name
        self.addCleanup(os.environ.pop, "VIREO_RUN")

    def screen(self):
        return subprocess.run([guest.VIREO, "screen", "installer", "--text"], capture_output=True, text=True).stdout

    def wait_for(self, pattern, limit=300):
        deadline = time.monotonic() + limit
        while not re.search(pattern, shown := self.screen()):
            self.assertLess(time.monotonic(), deadline, f"no {pattern!r} on the screen:\n{shown}")
            time.sleep(0.2)
        return shown

    def key(self, *keys):
        subprocess.run([guest.VIREO, "key", "installer", *keys], check=True)

    def test_the_language_menu_is_shown_and_three_dialogs_take_keys(self):
        with guest.boot_machine("--name", "installer", "--kernel", f"{IMAGES}/linux", "--initrd", f"{IMAGES}/initrd.gz",
                                "--append", "vga=normal fb=false nomodeset", "--vga", "std", "--memory", "1G",
                                "--console", "none"):
            shown = self.wait_for(r"Select a language")
            self.assertRegex(shown, r"English +- +English")
            self.key("enter")
            shown = self.wait_for(r"Select your location")
            self.assertRegex(shown, r"United States")
            self.key("up", "enter")
            self.wait_for(r"(?s)Configure the keyboard.*American English")
            self.key("enter")
            self.wait_for(r"(?s)^(?!.*Configure the keyboard).*\w")


if __name__ == "__main__":
    unittest.main()
