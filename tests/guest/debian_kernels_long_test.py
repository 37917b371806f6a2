"""Both stock kernels boot the Debian disk, on 1, 2 and 4 vCPUs."""
import pathlib
import subprocess
import tempfile
import unittest

import guest

MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "ext4", "crc32c_generic"]


class DebianKernels(unittest.TestCase):
    def initramfs_for(self, flavour, folder):
        """A busybox initramfs with that kernel's modules, which goes on to the disk's own init."""
        out = pathlib.Path(folder) / "initramfs.gz"
        tool = pathlib.Path(__file__).resolve().parents[2] / "tools" / "make_initramfs"
        subprocess.run([tool, out, guest.GUESTS / flavour / "root", *MODULES], check=True)
        return str(out)

    def test_both_kernels_boot_the_disk_on_one_two_and_four_processors(self):
        for flavour in ("cloud", "amd64"):
            with tempfile.TemporaryDirectory() as folder:
                initramfs = self.initramfs_for(flavour, folder)
                for cpus in (1, 2, 4):
                    with self.subTest(flavour=flavour, cpus=cpus):
                        append = "console=ttyS0 mitigations=auto vireo.root=/dev/vda"
                        if flavour == "cloud":
                            console = guest.boot_debian("--cpus", str(cpus))
                        else:
                            console = guest.boot_debian("--cpus", str(cpus), "--kernel", guest.kernel(flavour),
                                                        "--initrd", initramfs, "--append", append)
                        with console:
                            shell = guest.Shell(console)
                            self.assertEqual(shell.check("nproc"), str(cpus))
                            self.assertIn("amd64", shell.check("uname -r"))
                            self.assertEqual("cloud" in shell.check("uname -r"), flavour == "cloud")
                            self.assertNotRegex(shell.check("dmesg --level=err,warn"), guest.DMESG_TROUBLE)
                            console.line("poweroff")
                            self.assertEqual(console.wait(300), 0)


if __name__ == "__main__":
    unittest.main()
