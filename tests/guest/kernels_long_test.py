"""Every kernel on 1, 2 and 4 processors, and the options that change how it runs."""
import unittest

import guest
from kernels_test import KERNEL_TROUBLE


class KernelMatrix(unittest.TestCase):
    def test_both_kernels_boot_on_one_two_and_four_processors(self):
        for flavour in ("cloud", "amd64"):
            for cpus in (1, 2, 4):
                for append in ("nokaslr mitigations=off", "mitigations=auto"):
                    with self.subTest(flavour=flavour, cpus=cpus, append=append):
                        with guest.boot_kernel(flavour, "--cpus", str(cpus), append=append) as console:
                            console.expect("VIREO-INIT-OK")
                            console.expect(f"processors: {cpus}\r*\n")
                            self.assertEqual(console.wait(), 0)
                            self.assertNotRegex(console.log, KERNEL_TROUBLE)

    def test_kernels_boot_without_acpi_or_without_kvm_helps(self):
        for append in ("noapic nolapic_timer", "no-kvmclock nopv", "nox2apic", "nosmp", "tsc=unstable"):
            with self.subTest(append=append):
                with guest.boot_kernel("cloud", append=append) as console:
                    console.expect("VIREO-INIT-OK")
                    self.assertEqual(console.wait(), 0)

    def test_the_translator_agrees_with_the_interpreter_from_start_to_power_off(self):
        with guest.boot_kernel("cloud", "--engine", "software,verify") as console:
            console.expect("VIREO-INIT-OK", 1200)
            self.assertEqual(console.wait(), 0)


if __name__ == "__main__":
    unittest.main()
