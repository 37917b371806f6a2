"""A guest with a disk on a server that stands still: its other disk, its console and its clock go on."""
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import guest

SIZE = 16 << 20


class SlowDisk(unittest.TestCase):
    def test_a_server_that_stands_still_blocks_nothing_but_its_own_disk(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        folder = pathlib.Path(holder.name)
        (folder / "local.raw").write_bytes(bytes(SIZE))
        server = subprocess.Popen(["nbdkit", "--foreground", "--unix", folder / "socket", "memory", str(SIZE)])
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        while not (folder / "socket").exists():
            time.sleep(0.01)
        with guest.boot_kernel("cloud", "--disk", f"{folder}/local.raw,format=raw", "--disk",
                               f"nbd+unix:///?socket={folder}/socket,format=raw", "--cpus", "1",
                               append="vireo.shell", initramfs=guest.INITRAMFS_WITH_DISKS) as console:
            console.expect(r"/ # ", 120)
            console.line("dd if=/dev/vdb of=/dev/null bs=4k count=1 iflag=direct && echo FIRST-$((40+2))")
            console.expect(r"FIRST-42", 60)
            server.send_signal(signal.SIGSTOP)
            console.line("(dd if=/dev/vdb of=/dev/null bs=4k skip=64 count=1 iflag=direct && echo LATE-$((40+2))) &")

            began = time.monotonic()
            console.line("dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync && sleep 1 && echo OTHER-$((40+2))")
            console.expect(r"OTHER-42", 30)
            waited = time.monotonic() - began
            self.assertNotIn("LATE-42", console.log)

            server.send_signal(signal.SIGCONT)
            console.expect(r"LATE-42", 60)
            self.assertLess(waited, 20)
            console.line("exit")
            console.expect(r"VIREO-POWER-OFF", 60)


if __name__ == "__main__":
    unittest.main()
