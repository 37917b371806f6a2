"""NBD with other people's programs at the other end: libnbd's tools and QEMU's."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "servers"))
from random_changes import change_at_random  # noqa: E402

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"
FORMATS = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}
SIZE = 24 << 20


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def make_keys(folder):
    """A CA, and keys of a server at localhost and of a client."""
    folder.mkdir()
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca-key.pem", "-out", "ca-cert.pem",
            "-days", "2", "-subj", "/CN=test", "-addext", "keyUsage=keyCertSign")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for side in ("server", "client"):
        openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{side}-key.pem", "-out", "request.pem",
                "-subj", "/CN=localhost")
        openssl(folder, "x509", "-req", "-in", "request.pem", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem",
                "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{side}-cert.pem")


class NbdTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        (self.folder / "qemu-nbd").symlink_to(VIREO)
        generator = random.Random(1)
        with open(self.folder / "source.raw", "wb") as file:
            file.truncate(SIZE)
            for _ in range(12):
                file.seek(generator.randrange(0, SIZE - (1 << 20)) & ~0xffff)
                file.write(generator.randbytes(131072))

    def ask(self, *words, status=0):
        result = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, status, (words, result.stdout, result.stderr))
        return result.stdout

    def serve(self, *words):
        """Yields the address; the server ends with the test."""
        server = subprocess.Popen([VIREO, "export", *words], cwd=self.folder, stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait, 30)
        self.addCleanup(server.terminate)
        address = server.stdout.readline().strip()
        self.assertTrue(address, "the server did not start")
        return address, server

    def stop(self, server):
        server.terminate()
        self.assertEqual(server.wait(30), 0)

    def socket(self):
        return str(self.folder / "socket")


class Server(NbdTest):
    def test_content_is_kept_under_random_changes(self):
        self.ask(VIREO, "image", "create", "-f", "qcow2", "disk.qcow2", "4M")
        address, _ = self.serve("disk.qcow2", "--unix", self.socket(), "--persistent")
        self.assertIsNone(change_at_random(address, "raw"))

    def test_every_format_is_read_and_written_through_qemu_and_libnbd(self):
        for ours, theirs in FORMATS.items():
            options = ["-o", "force_size=on"] if ours == "vhd" else []
            self.ask("qemu-img", "convert", "-O", theirs, *options, "source.raw", f"disk.{ours}")
            address, server = self.serve(f"disk.{ours}", "--format", ours, "--unix", self.socket(), "--persistent")
            self.ask("qemu-img", "compare", "-f", "raw", "-F", "raw", address, "source.raw")
            self.ask("nbdcopy", address, "copy.raw")
            self.ask("cmp", "copy.raw", "source.raw")
            self.ask("qemu-io", "-f", "raw", "-c", "write -P 7 1M 3M", "-c", "write -z 2M 1M", "-c", "write -f -P 9 5k 1k",
                     "-c", "discard 8M 1M", "-c", "flush", "-c", "read -P 7 1M 1M", "-c", "read -P 0 2M 1M",
                     "-c", "read -P 9 5k 1k", address)
            self.ask("qemu-img", "convert", "-f", "raw", "-O", "raw", address, "written.raw")
            self.stop(server)
            self.ask("qemu-img", "compare", "-f", theirs, "-F", "raw", f"disk.{ours}", "written.raw")

    def test_nbdcopy_fills_a_thin_image_over_several_connections_and_leaves_the_holes(self):
        self.ask(VIREO, "image", "create", "disk.qcow2", str(SIZE))
        address, server = self.serve("disk.qcow2", "--unix", self.socket(), "--persistent")
        self.ask("nbdcopy", "--connections=4", "--requests=64", "source.raw", address)
        self.stop(server)
        self.ask("qemu-img", "check", "disk.qcow2")
        self.ask("qemu-img", "compare", "disk.qcow2", "source.raw")
        self.assertLess((self.folder / "disk.qcow2").stat().st_size, 4 << 20)

    def test_what_nbdinfo_tells(self):
        self.ask("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        theirs = json.loads(self.ask("qemu-img", "map", "--output=json", "disk.qcow2"))
        address, _ = self.serve("disk.qcow2", "--unix", self.socket(), "--name", "one", "--description", "a disk",
                                "--persistent", "--read-only")
        export = json.loads(self.ask("nbdinfo", "--json", address))["exports"][0]
        self.assertEqual(export["export-size"], SIZE)
        self.assertEqual(export["description"], "a disk")
        self.assertEqual(export["contexts"], ["base:allocation"])
        self.assertTrue(export["is_read_only"] and export["can_multi_conn"] and export["can_flush"])
        listed = json.loads(self.ask("nbdinfo", "--list", "--json", address.replace("/one?", "/?")))["exports"]
        self.assertEqual([each["export-name"] for each in listed], ["one"])
        ours = json.loads(self.ask("nbdinfo", "--map", "--json", address))
        joined = lambda extents: sum(each["length"] for each in extents)
        self.assertEqual(joined(each for each in ours if each["type"] == 3),
                         joined(each for each in theirs if not each["data"]))
        self.ask("qemu-io", "-f", "raw", "-c", "write 0 1k", address, status=1)

    def test_a_dirty_bitmap_is_told_to_incremental_backups(self):
        self.ask("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.ask("qemu-img", "bitmap", "--add", "-g", "64k", "disk.qcow2", "b0")
        self.ask("qemu-io", "-c", "write 1M 64k", "-c", "write 8M 128k", "disk.qcow2")
        address, _ = self.serve("disk.qcow2", "--bitmap", "b0", "--unix", self.socket(), "--persistent", "--read-only")
        told = json.loads(self.ask("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--json", address))
        self.assertEqual([(each["offset"], each["length"]) for each in told if each["type"] == 1],
                         [(1 << 20, 65536), (8 << 20, 131072)])

    def test_the_server_ends_with_its_last_client_and_a_listing_is_none(self):
        address, server = self.serve("source.raw", "--tcp", "127.0.0.1:0", "--format", "raw")
        self.ask("nbdinfo", "--list", address)
        self.assertIsNone(server.poll())
        self.ask("qemu-io", "-f", "raw", "-r", "-c", "read 0 1M", address)
        self.assertEqual(server.wait(30), 0)

    def test_a_snapshot_is_served_as_it_was(self):
        self.ask("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.ask("qemu-img", "snapshot", "-c", "before", "disk.qcow2")
        self.ask("qemu-io", "-c", "write -P 1 0 8M", "disk.qcow2")
        address, _ = self.serve("disk.qcow2", "--snapshot", "before", "--unix", self.socket())
        self.ask("qemu-img", "compare", "-f", "raw", "-F", "raw", address, "source.raw")

    def test_flushed_writes_of_several_clients_survive_a_killed_server(self):
        self.ask(VIREO, "image", "create", "disk.qcow2", str(SIZE))
        address, server = self.serve("disk.qcow2", "--unix", self.socket(), "--persistent")
        program = (f"import nbd\nc=[nbd.NBD() for _ in range(3)]\nfor h in c: h.connect_uri({address!r})\n"
                   "for n,h in enumerate(c): h.pwrite(bytes([n+1])*65536, n<<20)\n"
                   "c[0].flush()\n")
        self.ask("/usr/bin/python3", "-c", program)
        server.kill()
        server.wait(30)
        for number in range(3):
            self.ask("qemu-io", "-c", f"read -P {number + 1} {number}M 64k", "disk.qcow2")

    def test_a_bad_image_or_address_is_one_line_and_a_status(self):
        for words in (["nothing.raw"], ["source.raw", "--tcp", "127.0.0.1:x"], ["source.raw", "--max-connections", "0"]):
            result = subprocess.run([VIREO, "export", *words], cwd=self.folder, capture_output=True, text=True, timeout=30)
            self.assertIn(result.returncode, (1, 2), words)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)


class Encrypted(NbdTest):
    def test_only_clients_with_keys_of_the_same_authority_come_in(self):
        make_keys(self.folder / "keys")
        make_keys(self.folder / "strange")
        address, _ = self.serve("source.raw", "--format", "raw", "--tcp", "localhost:0", "--tls", "keys", "--persistent")
        self.assertTrue(address.startswith("nbds://localhost:"))
        self.ask("nbdcopy", f"{address}?tls-certificates={self.folder}/keys", "copy.raw")
        self.ask("cmp", "copy.raw", "source.raw")
        self.ask("nbdinfo", "--size", address.replace("nbds:", "nbd:"), status=1)
        self.ask("nbdinfo", "--size", f"{address}?tls-certificates={self.folder}/strange", status=1)
        port = address.rsplit(":", 1)[1].rstrip("/")
        self.ask("qemu-io", "--object", "tls-creds-x509,id=t,dir=keys,endpoint=client", "-c", "write -P 5 1M 1M",
                 "-c", "read -P 5 1M 1M", "--image-opts", f"driver=nbd,host=localhost,port={port},tls-creds=t")

    def test_as_qemu_nbd_with_an_object(self):
        make_keys(self.folder / "keys")
        self.ask("./qemu-nbd", "-t", "--fork", "--pid-file", "pid", "-k", self.socket(), "-f", "raw", "-x", "d", "source.raw",
                 "--object", "tls-creds-x509,id=t,dir=keys,endpoint=server,verify-peer=no", "--tls-creds", "t")
        self.addCleanup(os.kill, int((self.folder / "pid").read_text()), 15)
        self.ask("nbdinfo", "--size", f"nbds+unix://localhost/d?socket={self.socket()}&tls-certificates={self.folder}/keys")
        self.ask("nbdinfo", "--size", f"nbd+unix:///d?socket={self.socket()}", status=1)


class Client(NbdTest):
    def serve_with(self, *words):
        """Another server at the socket; ends with the test."""
        server = subprocess.Popen(words, cwd=self.folder)
        self.addCleanup(server.wait, 30)
        self.addCleanup(server.terminate)
        for _ in range(300):
            if (self.folder / "socket").exists():
                return f"nbd+unix:///?socket={self.socket()}"
            time.sleep(0.1)
        self.fail("the server did not start")

    def test_image_verbs_on_a_disk_of_qemu_nbd(self):
        self.ask("qemu-img", "create", "-f", "qcow2", "disk.qcow2", str(SIZE))
        address = self.serve_with("qemu-nbd", "-t", "-e", "8", "-f", "qcow2", "-k", self.socket(), "disk.qcow2")
        self.ask(VIREO, "image", "convert", "source.raw", address)
        self.ask(VIREO, "image", "compare", address, "source.raw")
        self.ask(VIREO, "image", "convert", address, "copy.vmdk")
        self.ask("qemu-img", "compare", "copy.vmdk", "source.raw")
        self.assertEqual(json.loads(self.ask(VIREO, "image", "info", "--output", "json", address))["virtual-size"], SIZE)
        data = lambda extents: sum(each["length"] for each in extents if each["data"])
        self.assertEqual(data(json.loads(self.ask(VIREO, "image", "map", "--output", "json", address))),
                         data(json.loads(self.ask("qemu-img", "map", "-f", "raw", "--output=json", address))))

    def test_a_format_inside_of_a_network_disk_and_an_overlay_over_one(self):
        self.ask("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        address = self.serve_with("qemu-nbd", "-t", "-e", "8", "-f", "raw", "-k", self.socket(), "disk.qcow2")
        self.ask(VIREO, "image", "convert", "-f", "qcow2", address, "copy.raw")
        self.ask("cmp", "copy.raw", "source.raw")
        self.ask(VIREO, "image", "create", "-b", address, "-F", "qcow2", "top.qcow2")
        self.ask(VIREO, "image", "compare", "--follow-backing", "top.qcow2", "source.raw")

    def test_a_server_with_large_blocks(self):
        (self.folder / "qemu-io").symlink_to(VIREO)
        address = self.serve_with("nbdkit", "-f", "-U", self.socket(), "--filter=blocksize-policy", "memory", "64M",
                                  "blocksize-minimum=4096", "blocksize-maximum=65536", "blocksize-error-policy=error")
        self.ask("./qemu-io", "-f", "raw", "-c", "write -P 4 1000 500000", "-c", "write -P 5 1 1", "-c", "write -z 3000 9000",
                 "-c", "read -P 5 1 1", "-c", "read -P 4 1000 2000", "-c", "read -P 0 3000 9000", "-c", "read -P 4 12000 489000",
                 "-c", "read -P 0 501000 1000", "-c", "flush", address)

    def test_errors_of_the_server_are_told(self):
        (self.folder / "qemu-io").symlink_to(VIREO)
        address = self.serve_with("nbdkit", "-f", "-U", self.socket(), "--filter=error", "memory", "1M",
                                  "error-pwrite=ENOSPC", "error-pwrite-rate=100%")
        result = subprocess.run(["./qemu-io", "-f", "raw", "-c", "write 0 4k", address], cwd=self.folder, capture_output=True,
                                text=True, timeout=60)
        self.assertEqual(result.returncode, 1)
        self.assertIn("No space left on device", result.stdout + result.stderr)

    def test_an_encrypted_server(self):
        make_keys(self.folder / "keys")
        address, _ = self.serve("source.raw", "--format", "raw", "--tcp", "localhost:0", "--tls", "keys", "--persistent",
                                "--read-only")
        self.ask(VIREO, "image", "compare", "source.raw", f"{address}?tls-certificates={self.folder}/keys")
        self.ask(VIREO, "image", "info", address, status=1)
        self.ask(VIREO, "image", "info", address.replace("nbds:", "nbd:"), status=1)


class AsQemuNbd(NbdTest):
    def start(self, *words):
        self.ask("./qemu-nbd", "--fork", "--pid-file", "pid", "-k", self.socket(), *words)
        return int((self.folder / "pid").read_text())

    def wait_for_the_end_of(self, pid):
        for _ in range(300):
            if not pathlib.Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.1)
        self.fail("the server did not end")

    def test_fork_pid_file_export_name_and_end_with_the_client(self):
        self.ask("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        pid = self.start("-f", "qcow2", "-x", "name", "-D", "text", "-r", "disk.qcow2")
        self.ask("qemu-img", "compare", "-f", "raw", "-F", "raw", f"nbd+unix:///name?socket={self.socket()}", "source.raw")
        self.wait_for_the_end_of(pid)
        self.assertFalse((self.folder / "socket").exists())

    def test_snapshot_mode_leaves_the_image_alone(self):
        shutil.copy(self.folder / "source.raw", self.folder / "disk.raw")
        pid = self.start("-f", "raw", "-s", "disk.raw")
        self.ask("qemu-io", "-f", "raw", "-c", "write -P 1 0 4M", "-c", "read -P 1 0 4M", f"nbd+unix:///?socket={self.socket()}")
        self.wait_for_the_end_of(pid)
        self.ask("cmp", "disk.raw", "source.raw")

    def test_offset_and_load_snapshot(self):
        self.ask("qemu-img", "convert", "-O", "qcow2", "source.raw", "disk.qcow2")
        self.ask("qemu-img", "snapshot", "-c", "one", "disk.qcow2")
        pid = self.start("-l", "snapshot.name=one", "-o", "1M", "disk.qcow2")
        self.assertEqual(int(self.ask("nbdinfo", "--size", f"nbd+unix:///?socket={self.socket()}")), SIZE - (1 << 20))
        self.wait_for_the_end_of(pid)

    def test_list_names_the_disks_of_another_server(self):
        pid = self.start("-t", "-f", "raw", "-x", "one", "-D", "text", "source.raw")
        self.addCleanup(os.kill, pid, 15)
        self.assertIn("export: 'one'", self.ask("./qemu-nbd", "-L", "-k", self.socket()))
        self.assertIn("export: 'one'", self.ask("qemu-nbd", "-L", "-k", self.socket()))

    def test_version_and_wrong_command_lines(self):
        self.assertTrue(self.ask("./qemu-nbd", "--version").startswith("qemu-nbd "))
        for words in ([], ["-c", "/dev/nbd0", "source.raw"], ["nothing.raw"], ["--tls-creds", "no", "source.raw"]):
            self.ask("./qemu-nbd", *words, status=1)


if __name__ == "__main__":
    unittest.main()
