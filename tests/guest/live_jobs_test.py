"""Jobs on disks of machines that run: what the guest wrote is there, wherever its disk went meanwhile."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import guest

MIB = 1 << 20
QEMU_NAMES = {"vhd": "vpc"}


class LiveJobs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        os.environ["VIREO_RUN"] = self.folder.name
        self.addCleanup(os.environ.pop, "VIREO_RUN")

    def path(self, name):
        return str(pathlib.Path(self.folder.name) / name)

    def vireo(self, *arguments, status=0):
        result = subprocess.run([guest.VIREO, *arguments], capture_output=True, text=True, timeout=600)
        self.assertEqual(result.returncode, status, f"{arguments}: {result.stdout}{result.stderr}")
        return result.stdout + result.stderr

    def disk(self, name="disk.raw", size="64M"):
        self.vireo("image", "create", "-f", name.split(".")[-1], self.path(name), size)
        return self.path(name)

    def shell(self, *options):
        console = guest.boot_kernel("cloud", "--name", "one", *options, append="vireo.shell",
                                    initramfs=guest.INITRAMFS_WITH_DISKS)
        self.addCleanup(console.close)
        console.expect("VIREO-INIT-OK")
        console.expect("# ")
        return console

    def check(self, console, command, pattern, limit=180):
        console.line(command)
        return console.expect(pattern, limit)

    def disks(self):
        return json.loads(self.vireo("disk", "list", "one", "--format", "json"))


class Verbs(LiveJobs):
    def test_a_disk_is_snapshot_streamed_committed_mirrored_and_backed_up(self):
        console = self.shell("--disk", self.disk() + ",format=raw")
        self.check(console, "dd if=/dev/urandom of=/dev/vda bs=1M count=8 2>/dev/null; sync; echo A-$((1+1))", "A-2")
        self.vireo("disk", "backup", "one", "disk0", self.path("backup.qcow2"), "--format", "qcow2", "--wait")
        self.vireo("disk", "snapshot", "one", "disk0", self.path("one.qcow2"))
        self.check(console, "dd if=/dev/urandom of=/dev/vda bs=1M seek=4 count=8 2>/dev/null; sync; echo B-$((1+1))", "B-2")
        self.vireo("disk", "snapshot", "one", "disk0", self.path("two.qcow2"))
        self.assertEqual(self.disks()[0]["path"], self.path("two.qcow2"))
        sums = self.check(console, "echo 3 > /proc/sys/vm/drop_caches; md5sum /dev/vda", r"([0-9a-f]{32})")[1]
        self.assertIn("completed", self.vireo("disk", "commit", "one", "disk0", "--top", self.path("one.qcow2"), "--wait"))
        self.assertIn("completed", self.vireo("disk", "stream", "one", "disk0", "--wait"))
        self.assertIn("completed", self.vireo("disk", "mirror", "one", "disk0", self.path("three.vmdk"), "--format", "vmdk",
                                              "--complete"))
        self.assertEqual(self.disks()[0]["path"], self.path("three.vmdk"))
        self.assertEqual(self.check(console, "echo 3 > /proc/sys/vm/drop_caches; md5sum /dev/vda", r"([0-9a-f]{32})")[1], sums)

        slow = self.vireo("disk", "mirror", "one", "disk0", self.path("four.vdi"), "--format", "vdi", "--rate",
                          "64KiB").strip()
        self.assertRegex(self.vireo("job", "list", "one"), rf"{slow} +disk0 +running")
        self.assertIn("works on its images", self.vireo("disk", "stream", "one", "disk0", status=1))
        self.vireo("job", "rate", "one", slow, "1GiB")
        self.vireo("job", "wait", "one", slow)
        self.assertRegex(self.vireo("job", "show", "one", slow), r"state: +ready")
        self.assertIn("cancelled: the target holds the disk", self.vireo("job", "cancel", "one", slow))
        self.vireo("job", "forget", "one", slow)
        events = self.vireo("events", "one")
        self.assertIn("three.vmdk", events)
        self.assertIn("there is none; disk0", self.vireo("disk", "stream", "one", "disk7", status=1))
        self.vireo("kill", "one")
        console.wait()
        subprocess.run(["qemu-img", "compare", self.path("three.vmdk"), self.path("four.vdi")], check=True,
                       stdout=subprocess.DEVNULL)


class Moves(LiveJobs):
    def test_a_debian_writes_while_its_disk_moves_through_all_formats_and_finds_every_byte(self):
        disk = self.disk("data.raw", "256M")
        root = subprocess.run([guest.VIREO, "image", "path", "debian"], env=guest.environment(), check=True,
                              capture_output=True, text=True).stdout.strip()
        with guest.boot_debian("--name", "one", "--disk", root + ",format=raw,temporary", "--disk",
                               disk + ",format=raw") as console:
            shell = guest.Shell(console)
            shell.check("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt")
            shell.check("""cat > /root/writer <<'END'
n=0
while [ ! -e /root/stop ]; do
  n=$((n + 1))
  f=/mnt/$((n % 40))
  head -c $((RANDOM * 40)) /dev/urandom > /root/part
  cp /root/part $f
  sha256sum < /root/part > /root/sum.$((n % 40))
  [ $((n % 5)) = 0 ] && sync && fstrim /mnt
  echo $n > /root/count
done
END""")
            shell.check("bash /root/writer > /root/log 2>&1 &")
            for step, name in enumerate(("qcow2", "vmdk", "vhdx", "vhd", "vdi", "raw")):
                target = self.path(f"moved-{step}.{name}")
                self.vireo("disk", "mirror", "one", "disk1", target, "--format", name, "--complete")
                self.assertEqual(self.disks()[1]["path"], target)
                pathlib.Path(disk).unlink()
                disk = target
                shell.check("a=$(cat /root/count); while [ $(cat /root/count) -lt $((a + 3)) ]; do sleep 0.2; done")
            shell.check("touch /root/stop; wait; sync; umount /mnt && e2fsck -fn /dev/vdb && mount /dev/vdb /mnt")
            self.assertEqual(shell.check("""for f in /mnt/[0-9]*; do
  [ "$(sha256sum < $f)" = "$(cat /root/sum.${f##*/})" ] || echo "$f differs"
done"""), "")
            self.assertGreater(int(shell.check("cat /root/count")), 18)
            shell.check("umount /mnt; cat /root/log")
            _, trouble = shell.run(f"dmesg | grep -E '{guest.DMESG_TROUBLE}'")
            self.assertEqual(trouble, "")
            console.line("poweroff")
            self.assertEqual(console.wait(), 0)


if __name__ == "__main__":
    unittest.main()
