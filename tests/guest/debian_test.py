"""A Debian 12 with systemd boots from its disk, is logged in to and used."""
import functools
import hashlib
import http.server
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import unittest

import guest


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class FileServer:
    """An HTTP server on the host's loopback, which the guest reaches as 10.0.2.2."""

    def __init__(self, folder):
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
        handler.log_message = lambda *_: None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Debian(unittest.TestCase):
    def test_login_network_reboot_and_power_off(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        payload = os.urandom(8 << 20)
        (pathlib.Path(folder.name) / "payload").write_bytes(payload)
        ssh_port = free_port()
        with FileServer(folder.name) as server, guest.boot_debian(
                "--cpus", "2", "--memory", "1G", "--net", f"user,forward={ssh_port}:22") as console:
            shell = guest.Shell(console)

            self.assertEqual(shell.check("nproc"), "2")
            self.assertIn("Debian GNU/Linux 12", shell.check("cat /etc/os-release"))
            self.assertNotRegex(shell.check("dmesg --level=err,warn"), guest.DMESG_TROUBLE)

            shell.check("systemctl is-system-running --wait || systemctl list-units --failed --no-legend | grep -c . | grep -qx 0")
            fetch = ("python3 -c 'import urllib.request,hashlib;"
                     f"print(hashlib.sha256(urllib.request.urlopen(\"http://10.0.2.2:{server.port}/payload\").read()).hexdigest())'")
            self.assertEqual(shell.check(fetch), hashlib.sha256(payload).hexdigest())

            shell.check("mkdir -p /root/.ssh && cd && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id && "
                        "cp .ssh/id.pub .ssh/authorized_keys && chmod 600 .ssh/authorized_keys && systemctl start ssh")
            key = pathlib.Path(folder.name) / "key"
            key.write_text(shell.check("cat /root/.ssh/id").replace("\r", "") + "\n")
            key.chmod(0o600)
            answer = subprocess.run(
                ["ssh", "-p", str(ssh_port), "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o",
                 "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=60", "-o", "BatchMode=yes", "root@127.0.0.1",
                 "echo from-$(hostname)"], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
            self.assertEqual(answer.stdout.strip(), "from-debian", answer.stderr)

            shell.check("echo kept > /root/witness && sync")
            console.line("reboot")
            shell = guest.Shell(console)
            self.assertEqual(shell.check("cat /root/witness"), "kept")
            console.line("poweroff")
            self.assertEqual(console.wait(300), 0)


if __name__ == "__main__":
    unittest.main()
