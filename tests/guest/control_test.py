"""The verbs for machines that run, and what happens when a disk fails."""
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import tempfile
import unittest

import guest

MIB = 1 << 20


class Machines(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        os.environ["VIREO_RUN"] = self.folder.name
        self.addCleanup(os.environ.pop, "VIREO_RUN")

    def vireo(self, *arguments, status=0):
        result = subprocess.run([guest.VIREO, *arguments], capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, status, f"{arguments}: {result.stdout}{result.stderr}")
        return result.stdout + result.stderr

    def status(self, name):
        return json.loads(self.vireo("status", name))

    def shell(self, *options, name="one"):
        """A busybox shell with disks; its prompt is `# `."""
        console = guest.boot_kernel("cloud", "--name", name, *options, append="vireo.shell",
                                    initramfs=guest.INITRAMFS_WITH_DISKS)
        self.addCleanup(console.close)
        console.expect("VIREO-INIT-OK")
        console.expect("# ")
        return console

    def settled_log(self, console):
        """What the console has said, once nothing more is on its way."""
        while True:
            before = console.log
            console._read(1)
            if console.log == before:
                return before

    def check(self, console, command, pattern, limit=120):
        console.line(command)
        return console.expect(pattern, limit)


class Verbs(Machines):
    def test_a_machine_is_listed_paused_resumed_and_killed(self):
        console = self.shell()
        self.assertRegex(self.vireo("ps"), r"one +running")
        self.check(console, "while true; do cut -d' ' -f1 /proc/uptime; sleep 0.1; done &", r"\d+\.\d\d")

        self.vireo("pause", "one", "--reason", "lunch")
        self.assertEqual((self.status("one")["state"], self.status("one")["reason"]), ("paused", "lunch"))
        before = self.settled_log(console)
        console._read(2)
        self.assertEqual(console.log, before)
        self.assertIn("is paused (lunch)", self.vireo("stop", "one", status=1))

        last = float(re.findall(r"(\d+\.\d\d)\s", console.log)[-1])
        self.vireo("resume", "one")
        after = float(console.expect(r"(\d+\.\d\d)\s")[1])
        self.assertLess(after - last, 1.5, "the guest's clock went on while it was paused")
        self.assertEqual(self.status("one")["state"], "running")

        self.vireo("kill", "one")
        self.assertEqual(console.wait(), 0)
        self.assertEqual(self.vireo("ps", "--format", "name"), "")
        self.assertIn("no machine named 'one' runs", self.vireo("pause", "one", status=1))

    def test_a_paused_machine_resets_and_goes_on(self):
        console = guest.boot_kernel("cloud", "--name", "again", append="vireo.shell")
        console.expect("VIREO-INIT-OK")
        self.addCleanup(console.close)
        self.vireo("pause", "again")
        self.vireo("reset", "again")
        self.assertEqual(console.wait(), 3)  # --no-reboot

    def test_names_are_unique_and_the_unnamed_get_one(self):
        self.shell(name="two")
        with guest.boot_kernel("cloud", "--name", "two") as second:
            self.assertEqual(second.wait(), 2)
            self.assertIn("a machine named 'two' runs already", second.log)
        with guest.boot_kernel("cloud", append="vireo.shell") as third:
            third.expect("VIREO-INIT-OK")
            self.assertEqual(self.vireo("ps", "--format", "name").split(), ["two", "vm"])

    def test_the_socket_is_used_by_hand(self):
        self.shell()
        path = f"{self.folder.name}/machines/one.control"
        self.assertEqual(os.stat(os.path.dirname(path)).st_mode & 0o777, 0o700)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            lines = connection.makefile("rw")
            self.assertEqual(json.loads(lines.readline())["protocol"], 1)
            lines.write('{"id":7,"verb":"status"}\n{"verb":"help"}\nrubbish\n')
            lines.flush()
            answer = json.loads(lines.readline())
            self.assertEqual((answer["id"], answer["result"]["state"]), (7, "running"))
            verbs = {each["verb"] for each in json.loads(lines.readline())["result"]["verbs"]}
            self.assertLessEqual({"pause", "resume", "events", "disk-throttle"}, verbs)
            self.assertEqual(json.loads(lines.readline())["error"]["code"], "invalid")

    def test_events_are_numbered_and_waited_for(self):
        self.shell()
        follower = subprocess.Popen([guest.VIREO, "events", "one", "--follow"], stdout=subprocess.PIPE, text=True)
        self.vireo("pause", "one")
        self.vireo("resume", "one")
        self.vireo("kill", "one")
        told = follower.communicate(timeout=60)[0]
        self.assertRegex(told, r"(?s)started\n.*paused: paused by its user\n.*resumed\n.*ended: quit\n")


class FailingDisks(Machines):
    """The host refuses to let the disk's file grow beyond a limit, as a full one would, until the limit is raised."""

    def disk(self, megabytes):
        path = str(pathlib.Path(self.folder.name) / "disk.qcow2")
        subprocess.run([guest.VIREO, "image", "create", "-q", path, f"{megabytes}M"], check=True)
        return path

    def limit_file_size(self, pid, limit):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def start_writing(self, console, name):
        self.limit_file_size(self.status(name)["pid"], 8 * MIB)
        console.line("seq 1 2000000 > /tmp/data; md5sum < /tmp/data; dd if=/tmp/data of=/dev/vda bs=64k; "
                     "sync; echo WROTE-$?; dd if=/dev/vda bs=1 count=0; echo 3 > /proc/sys/vm/drop_caches; "
                     "head -c $(wc -c < /tmp/data) /dev/vda | md5sum; echo COMPARED")
        return console.expect(r"([0-9a-f]{32})")[1]

    def wait_until(self, name, state):
        after = 0
        while self.status(name)["state"] != state:
            self.vireo("events", name)
        return self.status(name)["reason"]

    def test_a_full_disk_pauses_the_machine_and_loses_nothing(self):
        console = self.shell("--disk", self.disk(64))
        digest = self.start_writing(console, "one")
        reason = self.wait_until("one", "paused")
        self.assertRegex(reason, r"disk0 \(.*disk.qcow2\): write: .*(large|space)")
        self.vireo("resume", "one")  # nothing was mended: it pauses again
        self.wait_until("one", "paused")

        self.limit_file_size(self.status("one")["pid"], 1 << 40)
        self.vireo("resume", "one")
        console.expect("WROTE-0")
        self.assertEqual(console.expect(r"([0-9a-f]{32})")[1], digest)
        console.expect("COMPARED")
        self.assertNotRegex(console.log, "I/O error")

    def test_the_guest_is_told_where_errors_are_reported(self):
        console = self.shell("--disk", self.disk(64), "--on-error", "report")
        self.start_writing(console, "one")
        console.expect("I/O error")
        self.assertEqual(self.status("one")["state"], "running")

    def test_a_paused_machine_can_be_told_to_report_instead(self):
        console = self.shell("--disk", self.disk(64))
        self.start_writing(console, "one")
        self.wait_until("one", "paused")
        self.vireo("disk", "on-error", "one", "disk0", "report")
        self.vireo("resume", "one")
        console.expect("I/O error")

    def test_the_machine_ends_where_errors_stop_it(self):
        console = self.shell("--disk", self.disk(64) + ",on-error=stop")
        self.start_writing(console, "one")
        self.assertEqual(console.wait(), 1)
        self.assertRegex(console.log, r"disk0 \(.*disk.qcow2\): write: ")

    def test_limits_change_while_the_machine_runs(self):
        self.shell("--disk", self.disk(64))
        self.vireo("disk", "throttle", "one", "disk0", "--iops", "500", "--bps", "20MiB")
        disk = self.status("one")["disks"][0]
        self.assertEqual((disk["iops"], disk["bps"]), (500, 20 * MIB))
        self.vireo("disk", "throttle", "one", "disk0", "--bps", "0")
        self.assertRegex(self.vireo("disk", "list", "one"), r"disk0 +64MiB pause +500 +-")
        self.assertIn("there are: disk0", self.vireo("disk", "throttle", "one", "disk9", "--iops", "1", status=1))


if __name__ == "__main__":
    unittest.main()
