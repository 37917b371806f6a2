"""A disk that GRUB boots by the BIOS: the Debian image behind a master boot record with GRUB in the gap before it."""
import pathlib
import struct
import subprocess
import tempfile

import guest

SECTOR = 512
FIRST_SECTOR = 2048
GRUB = "/usr/lib/grub/i386-pc"
MODULES = ["biosdisk", "part_msdos", "ext2", "normal", "linux", "serial", "terminal", "echo", "search"]
CONFIGURATION = """
serial --unit=0
terminal_input console serial
terminal_output console serial
echo VIREO-GRUB-RUNS
linux (hd0,msdos1)/vmlinuz root=LABEL=vireo-root rw console=ttyS0 {append}
initrd (hd0,msdos1)/initrd.img
boot
"""


def _gap(folder, sectors, append):
    """Boot record, GRUB's core image behind it, and one partition for the rest."""
    (folder / "grub.cfg").write_text(CONFIGURATION.format(append=append))
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-d", GRUB, "-p", "(hd0,msdos1)/boot/grub", "-c", folder / "grub.cfg",
                    "-o", folder / "core.img", *MODULES], check=True)
    core = (folder / "core.img").read_bytes()
    record = bytearray(pathlib.Path(GRUB, "boot.img").read_bytes()[:440].ljust(SECTOR, b"\0"))
    record[446:462] = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", FIRST_SECTOR, sectors)
    record[510:512] = b"\x55\xaa"
    gap = bytes(record) + core
    assert len(gap) <= FIRST_SECTOR * SECTOR
    return gap.ljust(FIRST_SECTOR * SECTOR, b"\0")


def make(path, format="qcow2", append=""):
    root = pathlib.Path(guest.HOME, "images", "debian", "disk.raw")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "gap.raw").write_bytes(_gap(folder, root.stat().st_size // SECTOR, append))
        subprocess.run([guest.VIREO, "image", "convert", "--format", format, folder / "gap.raw", root, path], check=True)
