"""Storage pools and their volumes, from the command line."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"


class PoolTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.environment = {**os.environ, "VIREO_HOME": str(self.folder / "home")}

    def ask(self, *words, status=0):
        result = subprocess.run([VIREO, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True)
        self.assertEqual(result.returncode, status, f"{words}: {result.stdout}{result.stderr}")
        self.said = result.stderr
        return result.stdout

    def test_a_pool_from_its_making_to_its_end(self):
        self.ask("pool", "create", "fast", "--location", "place", "--capacity", "1GiB", "--promise", "100", "--alarm", "1")
        self.assertEqual(self.ask("pool", "list", "--format", "name"), "fast\n")
        path = self.ask("volume", "create", "fast:web", "600M").strip()
        self.assertEqual(path, str(self.folder / "place/web.qcow2"))
        self.ask("volume", "create", "fast:more", "600M", status=1)
        self.assertIn("100 percent", self.said)
        self.ask("volume", "create", "fast:more", "300M", "-f", "vdi")
        subprocess.run(["qemu-io", "-c", "write -P 1 0 20M", path], check=True, capture_output=True)
        shown = json.loads(self.ask("pool", "show", "fast", "--format", "json"))
        self.assertEqual((shown["capacity"], shown["promised"], shown["alarm"]), (1 << 30, 900 << 20, True))
        self.assertGreaterEqual(shown["used"], 20 << 20)
        self.ask("volume", "resize", "fast:more", "400M")
        self.ask("volume", "resize", "fast:more", "500M", status=1)
        volumes = json.loads(self.ask("volume", "list", "--format", "json"))
        self.assertEqual([(each["name"], each["size"]) for each in volumes], [("fast:more", 400 << 20), ("fast:web", 600 << 20)])
        spec = self.ask("run", "--disk", "fast:web", "--kernel", "/dev/null", "--dry-run")
        self.assertIn(f"path: {path}", spec)
        self.assertIn("format: qcow2", spec)
        self.ask("run", "--disk", "fast:wed", "--kernel", "/dev/null", "--dry-run", status=2)
        self.assertIn("did you mean 'web'", self.said)
        self.ask("pool", "delete", "fast", status=1)
        for name in ("fast:web", "fast:more"):
            self.ask("volume", "delete", name)
        self.ask("pool", "delete", "fast")
        self.assertEqual(self.ask("pool", "list", "--format", "name"), "")

    def test_kinds_that_are_not_there_are_named(self):
        self.ask("pool", "create", "far", "--kind", "rbd", "--location", "/x", status=1)
        self.assertIn("rbd is not there yet", self.said)
        self.ask("pool", "create", "far", "--location", "nfs://host/a/b", status=2)
        self.assertIn("capacity", self.said)
        self.ask("pool", "create", "far", "--kind", "tape", "--location", "/x", status=2)


if __name__ == "__main__":
    unittest.main()
