"""A guest's file system on a disk of another machine: over NBD, and on a web server below a local overlay."""
import functools
import hashlib
import http.server
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import unittest

import guest


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Python's own gives whole files only."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        content = (pathlib.Path(self.directory) / self.path[1:]).read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(content[start:end + 1])


class RemoteDisk(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        (self.folder / "files").mkdir()
        payload = os.urandom(8 << 20)
        (self.folder / "files" / "payload").write_bytes(payload)
        self.digest = hashlib.sha256(payload).hexdigest()
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", self.folder / "files", self.folder / "disk.raw", "64M"], check=True)

    def vireo(self, *words):
        subprocess.run([guest.VIREO, *words], cwd=self.folder, check=True, timeout=120)

    def in_guest(self, disk, commands, answer):
        """A shell in the initramfs, with the disk mounted."""
        with guest.boot_kernel("cloud", "--disk", disk, append="vireo.shell", initramfs=guest.INITRAMFS_WITH_DISKS) as console:
            console.expect(r"/ # ", 120)
            console.line(f"mount -t ext4 /dev/vda /mnt && {commands} && umount /mnt && echo DONE-$((40+2))")
            console.expect(answer, 120)
            console.expect(r"DONE-42", 120)
            console.line("exit")
            console.expect(r"VIREO-POWER-OFF", 60)

    def is_used_twice(self, disk):
        self.in_guest(disk, "sha256sum /mnt/payload && echo kept > /mnt/witness && sync", self.digest)
        self.in_guest(disk, "cat /mnt/witness", r"\nkept")

    def test_a_disk_of_a_vireo_export(self):
        self.vireo("image", "convert", "disk.raw", "disk.qcow2")
        server = subprocess.Popen([guest.VIREO, "export", "disk.qcow2", "--tcp", "127.0.0.1:0", "--persistent"], cwd=self.folder,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        address = server.stdout.readline().strip()
        self.assertTrue(address.startswith("nbd://"), address)
        self.is_used_twice(f"{address},format=raw")

    def test_a_disk_on_a_web_server_below_an_overlay(self):
        self.vireo("image", "convert", "disk.raw", "base.qcow2")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=str(self.folder)))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        base = f"http://127.0.0.1:{server.server_address[1]}/base.qcow2"
        before = (self.folder / "base.qcow2").read_bytes()
        self.vireo("image", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", "top.qcow2")
        self.is_used_twice(f"{self.folder}/top.qcow2,follow-backing")
        self.assertEqual((self.folder / "base.qcow2").read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
