"""A storage pool on an NFS server (nfs-ganesha), versions 3 and 4; in a network of its own (unshare --net)."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "servers"))
import ganesha  # noqa: E402

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"


def setUpModule():
    ganesha.enter_private_network()
    portmapper = ganesha.Portmapper()
    unittest.addModuleCleanup(portmapper.stop)


class NfsPoolTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.server = ganesha.Ganesha(self.folder)
        self.addCleanup(self.server.stop)
        self.environment = {**os.environ, "VIREO_HOME": str(self.folder / "home")}

    def ask(self, *words, status=0):
        result = subprocess.run([VIREO, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, status, f"{words}: {result.stdout}{result.stderr}")
        self.said = result.stderr
        return result.stdout

    def test_volumes_are_made_listed_resized_and_deleted_there(self):
        for version in (3, 4):
            with self.subTest(version=version):
                name = f"far{version}"
                (self.server.export / name).mkdir()
                url = self.server.url(name, version)
                self.ask("pool", "create", name, "--location", url, status=2)
                self.assertIn("capacity", self.said)
                self.ask("pool", "create", name, "--location", url, "--capacity", "1GiB", "--promise", "100")
                self.ask("volume", "create", f"{name}:web", "600M")
                self.ask("volume", "create", f"{name}:web", "1M", status=1)
                self.ask("volume", "create", f"{name}:more", "600M", status=1)
                self.assertIn("100 percent", self.said)
                self.ask("volume", "create", f"{name}:more", "100M", "-f", "raw")
                self.ask("volume", "resize", f"{name}:more", "200M")
                volumes = json.loads(self.ask("volume", "list", name, "--format", "json"))
                self.assertEqual([(each["name"], each["size"]) for each in volumes],
                                 [(f"{name}:more", 200 << 20), (f"{name}:web", 600 << 20)])
                subprocess.run(["qemu-img", "check", "-q", self.server.export / name / "web.qcow2"], check=True)
                shown = json.loads(self.ask("pool", "show", name, "--format", "json"))
                self.assertEqual((shown["kind"], shown["capacity"], shown["promised"]), ("nfs", 1 << 30, 800 << 20))
                spec = self.ask("run", "--disk", f"{name}:web", "--kernel", "/dev/null", "--dry-run")
                self.assertIn(f"{name}/web.qcow2?version={version}", spec)
                for volume in ("web", "more"):
                    self.ask("volume", "delete", f"{name}:{volume}")
                self.assertEqual([each.name for each in (self.server.export / name).iterdir()], ["vireo-pool"])
                self.ask("pool", "delete", name)


if __name__ == "__main__":
    unittest.main()
