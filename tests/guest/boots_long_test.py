"""Boots a kernel to power-off again and again; VIREO_BOOTS says how often."""
import os
import time
import unittest

import guest
from kernels_test import KERNEL_TROUBLE

BOOTS = int(os.environ.get("VIREO_BOOTS", "100"))


class Boots(unittest.TestCase):
    def test_every_boot_of_many_reaches_power_off(self):
        seconds = []
        for boot in range(BOOTS):
            with self.subTest(boot=boot):
                before = time.monotonic()
                # KASLR is on: the kernel lies elsewhere each time.
                with guest.boot_kernel("cloud", "--cpus", str(1 + boot % 2)) as console:
                    console.expect("VIREO-INIT-OK")
                    self.assertEqual(console.wait(), 0)
                    self.assertNotRegex(console.log, KERNEL_TROUBLE)
                seconds.append(time.monotonic() - before)
        print(f"{len(seconds)} boots, {min(seconds):.1f} to {max(seconds):.1f} s")
        self.assertEqual(len(seconds), BOOTS)


if __name__ == "__main__":
    unittest.main()
