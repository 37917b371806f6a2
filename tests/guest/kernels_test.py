"""Stock Debian kernels boot directly to the init of a busybox initramfs."""
import tempfile
import unittest

import guest
import vmlinux

KERNEL_TROUBLE = r"Oops|BUG:|Call Trace|unchecked MSR|soft lockup|rcu_preempt detected stalls|MCE|WARNING:"


class Kernels(unittest.TestCase):
    def boots(self, flavour, cpus, append="", *options):
        with guest.boot_kernel(flavour, "--cpus", str(cpus), *options, append=append) as console:
            console.expect("VIREO-INIT-OK")
            console.expect(f"processors: {cpus}\r*\n")
            self.assertEqual(console.wait(), 0)
            self.assertNotRegex(console.log, KERNEL_TROUBLE)

    def test_cloud_kernel_boots_on_one_processor(self):
        self.boots("cloud", 1)

    def test_cloud_kernel_boots_on_two_processors(self):
        self.boots("cloud", 2)

    def test_general_kernel_boots_with_mitigations_and_kaslr(self):
        self.boots("amd64", 2, "mitigations=auto")

    def test_cloud_kernel_boots_by_pvh(self):
        with tempfile.NamedTemporaryFile() as elf:
            vmlinux.extract(guest.kernel("cloud"), elf.name)
            with guest.Console([guest.VIREO, "run", "--kernel", elf.name, "--initrd", guest.INITRAMFS, "--append",
                                "console=ttyS0", "--net", "none", "--no-reboot"]) as console:
                console.expect("VIREO-INIT-OK")
                self.assertEqual(console.wait(), 0)
                self.assertNotRegex(console.log, KERNEL_TROUBLE)

    def test_cloud_kernel_boots_on_the_oldest_model(self):
        self.boots("cloud", 1, "", "--cpu", "x86-64-v2")

    def test_a_guest_without_init_panics_and_the_status_says_so(self):
        with guest.boot_kernel("cloud", append="rdinit=/missing root=/dev/none panic=1") as console:
            console.expect("Kernel panic")
            self.assertEqual(console.wait(), 3)


if __name__ == "__main__":
    unittest.main()
