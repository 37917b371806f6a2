"""Installs a Debian from inside a guest: partitions an empty disk, makes a file system, copies a system onto it. Then boots it."""
import os
import pathlib
import subprocess

import guest
from console import Console

LIMIT = int(os.environ.get("VIREO_INSTALL_LIMIT", "1800"))
LEFT_OUT = ["./usr/lib/gcc", "./usr/lib/python3.11/test", "./usr/share/doc", "./usr/share/perl", "./boot", "./tmp/*"]
CHECKED = "usr/bin usr/sbin usr/lib/systemd usr/lib/x86_64-linux-gnu usr/lib/modules"


class BusyBox:
    """The shell of the initramfs, which stands on no disk."""

    def __init__(self, console):
        self.console = console
        console.expect(r"# ", 240)
        console.line("stty -echo; PS1=; dmesg -n 1; echo READY-$((40+2))")
        console.expect(r"READY-42", 60)
        self.count = 0

    def check(self, command, limit=120):
        self.count += 1
        begin = self.console.position
        self.console.line(f'{command}; echo "END-{self.count}=$?"')
        found = self.console.expect(rf"END-{self.count}=(\d+)", limit)
        text = self.console.log[begin:begin + found.start()].replace("\r", "").strip()
        if found[1] != "0":
            raise AssertionError(f"{command!r} ended with {found[1]}:\n{text}")
        return text


def image_path(what):
    return subprocess.run([guest.VIREO, "image", "path", "debian", what], env=guest.environment(), check=True,
                          capture_output=True, text=True).stdout.strip()


def machine(*words):
    return Console([guest.VIREO, "run", "--net", "none", "--no-reboot", "--cpus", "2", "--memory", "1G", *words])


def install(disk, packed_bytes=64 << 20):
    """From the Debian image onto `disk`, which is empty. Leaves checksums of the system's files and of random bytes there."""
    with machine("--kernel", guest.kernel("cloud"), "--initrd", guest.INITRAMFS_WITH_DISKS, "--append",
                 "console=ttyS0 vireo.shell", "--disk", f"{image_path('disk')},format=raw,readonly", "--disk", disk) as console:
        shell = BusyBox(console)
        shell.check("mount -t ext4 -o ro,noload /dev/vda /mnt && mount -t devtmpfs dev /mnt/dev && mount -t tmpfs tmp /mnt/tmp")
        shell.check("printf 'n\\np\\n1\\n\\n\\nw\\n' | fdisk /dev/vdb >/dev/null && test -b /dev/vdb1")
        shell.check("chroot /mnt mkfs.ext4 -q -L vireo-root /dev/vdb1 && mount -t ext4 /dev/vdb1 /mnt/mnt")
        script = ["set -e", "cd /", *[f"echo {each} >> /tmp/left-out" for each in LEFT_OUT],
                  "tar -c --one-file-system --anchored -X /tmp/left-out . | tar -C /mnt -x", "cd /mnt",
                  "mkdir -p dev proc sys run tmp boot", "chmod 1777 tmp",
                  f"head -c {packed_bytes} /dev/urandom > root/payload",
                  f"find root/payload etc {CHECKED} -type f ! -path etc/machine-id -print0 | xargs -0 sha256sum > /tmp/sums",
                  "cp /tmp/sums root/sums", "wc -l < root/sums"]
        for line in script:  # one at a time: the shell's line editor is a small one
            shell.check(f"echo '{line}' >> /mnt/tmp/script", 30)
        shell.check("chroot /mnt /bin/bash -o pipefail /tmp/script", LIMIT)
        shell.check("umount /mnt/mnt")
        console.line("poweroff -f")
        assert console.wait(120) == 0, console.tail()


def boots_and_keeps_every_byte(disk):
    """With the shortest of inits: the installed system's own shell and programs check it."""
    check = "mount -t proc proc /proc; cd /; sha256sum -c --quiet root/sums && echo EVERY-BYTE-$((40+2)); sync; poweroff -f -f"
    with machine("--kernel", image_path("kernel"), "--initrd", image_path("initrd"), "--append",
                 f"console=ttyS0 root=/dev/vda1 rw quiet init=/bin/bash -- -c \"{check}\"", "--disk", disk) as console:
        console.expect(r"EVERY-BYTE-42", 900)
        assert console.wait(120) == 0, console.tail()


def boots_to_its_login(disk):
    """systemd, a login, the checksums again, and something written that a reboot keeps."""
    with Console([guest.VIREO, "run", "--net", "none", "--cpus", "2", "--memory", "1G", "--kernel", image_path("kernel"),
                  "--initrd", image_path("initrd"), "--append", "console=ttyS0 root=/dev/vda1 rw quiet", "--disk", disk]) as console:
        shell = guest.Shell(console)
        shell.check("cd / && sha256sum -c --quiet root/sums", 900)
        shell.check("echo kept > /root/witness && sync")
        console.line("reboot")
        shell = guest.Shell(console)
        assert shell.check("cat /root/witness") == "kept"
        assert not shell.check("dmesg --level=err | grep -E 'vda|EXT4' || true")
        console.line("poweroff")
        assert console.wait(300) == 0, console.tail()


def make_disk(folder, form, size="3G"):
    disk = pathlib.Path(folder) / f"disk.{form}"
    subprocess.run([guest.VIREO, "image", "create", "-f", form, disk, size], check=True)
    return str(disk)
