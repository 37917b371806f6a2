"""The programs and guests that the tests use, and the commands to start them."""
import os
import pathlib

from console import Console

BIN = pathlib.Path(os.environ["VIREO_BIN"])
GUESTS = pathlib.Path(os.environ["VIREO_GUESTS"])
VIREO = str(BIN / "vireo")
INITRAMFS = str(GUESTS / "initramfs.cpio.gz")
INITRAMFS_WITH_DISKS = str(GUESTS / "initramfs-disks.cpio.gz")  # of the cloud kernel
HOME = str(GUESTS / "home")
ROOT_PASSWORD = "vireo"
DMESG_TROUBLE = r"virtio.*(error|fail)|vireo: |BUG:|Oops|Call Trace|soft lockup|I/O error"


def environment():
    return {**os.environ, "VIREO_HOME": HOME}


def kernel(flavour):
    return str(GUESTS / flavour / "vmlinuz")


def boot_kernel(flavour, *options, append="", initramfs=INITRAMFS):
    """A kernel with the busybox initramfs, which prints VIREO-INIT-OK and powers off."""
    return Console([VIREO, "run", "--kernel", kernel(flavour), "--initrd", initramfs, "--append",
                    f"console=ttyS0 {append}", "--net", "none", "--no-reboot", *options])


def boot_machine(*options):
    return Console([VIREO, "run", *options], env=environment())


def boot_debian(*options, image="debian"):
    return Console([VIREO, "run", image, *options], env=environment())


class Shell:
    """A root shell on a Debian guest's serial console."""

    def __init__(self, console, limit=900):
        self.console = console
        console.expect(r"login: ", limit)
        console.line("root")
        console.expect(r"Password: ", 120)
        console.line(ROOT_PASSWORD)
        console.expect(r"[#$] $|[#$] ", 120)
        console.line("stty -echo; PS1=; PS2=; export TERM=dumb; echo READY-$((40+2))")
        console.expect(r"READY-42", 120)
        self.count = 0

    def run(self, command, limit=300):
        """Runs a command; returns its exit status and what it printed."""
        self.count += 1
        mark = f"END-{self.count}"
        begin = self.console.position
        self.console.line(f"{{ {command}\n}} 2>&1; echo \"{mark}=$?\"")
        found = self.console.expect(rf"{mark}=(\d+)", limit)
        text = self.console.log[begin:begin + found.start()]
        return int(found[1]), text.replace("\r", "").strip()

    def check(self, command, limit=300):
        """Runs a command that must succeed; returns what it printed."""
        status, text = self.run(command, limit)
        if status != 0:
            raise AssertionError(f"{command!r} ended with {status}:\n{text}")
        return text
