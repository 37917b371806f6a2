"""What is measured: each function yields rows, and adds one round of both tools at a time."""
import os
import pathlib
import re

from figures import Row, peak_memory, timed

MIB = 1 << 20
FORMATS = ["raw", "qcow2", "vmdk", "vhdx", "vdi"]
PAIRS_SIZE = 4096 * MIB


class Bench:
    def __init__(self, tools, folder, runs, formats):
        self.tools, self.folder, self.runs, self.formats = tools, pathlib.Path(folder), runs, formats
        self.qemu = next(tool for tool in tools if tool.name == "qemu")
        self.rows = []

    def row(self, *words, **more):
        self.rows.append(Row(*words, **more))
        return self.rows[-1]

    def path(self, name):
        return str(self.folder / name)

    def remove(self, *names):
        for name in names:
            for path in self.folder.glob(name):
                path.unlink()

    def rounds(self, act):
        """act(tool) for each, in turns; the first of a round changes, so that none always comes second."""
        for number in range(self.runs):
            for tool in self.tools if number % 2 == 0 else reversed(self.tools):
                act(tool)

    def do(self, tool, program, *words):
        return timed([tool.program(program), *words], self.folder)

    def make_half_full(self):
        with open(self.path("source.raw"), "wb") as file:
            file.truncate(PAIRS_SIZE)
            for start in range(0, PAIRS_SIZE, 2 * MIB):
                file.seek(start)
                file.write(os.urandom(MIB))

    def convert(self):
        self.make_half_full()
        for source in self.formats:
            name = f"source.{source}"
            if source != "raw":
                self.do(self.qemu, "qemu-img", "convert", "-O", source, "source.raw", name)
            for target in self.formats:
                if target == source:
                    continue
                row = self.row("convert", f"{source} to {target}")

                def once(tool):
                    self.remove("target.*")
                    seconds, _ = self.do(tool, "qemu-img", "convert", "-f", source, "-O", target, name, f"target.{target}")
                    row.take(tool.name, seconds)
                once(self.tools[0])  # both files come into memory, and the host gives it
                row.rounds.clear()
                self.rounds(once)
            self.remove("target.*")
            if source != "raw":
                self.remove(name)
        self.remove("source.*")

    def compressed(self):
        with open(self.path("source.raw"), "wb") as file:
            left = 512 * MIB
            for path in sorted(pathlib.Path("/usr").rglob("*")):
                if left <= 0:
                    break
                if path.is_symlink() or not path.is_file():
                    continue
                content = path.read_bytes()[:left]
                file.write(content)
                left -= len(content)
        for target, options in (("qcow2", []), ("vmdk", ["-o", "subformat=streamOptimized"])):
            row = self.row("compressed", target)
            size = self.row("compressed", f"{target}, size", unit="MB")

            def once(tool):
                self.remove("target.*")
                words = ["convert", "-c", "-O", target, *options] if target == "qcow2" else ["convert", "-O", target, *options]
                seconds, _ = self.do(tool, "qemu-img", *words, "source.raw", f"target.{target}")
                row.take(tool.name, seconds)
                size.take(tool.name, os.stat(self.path(f"target.{target}")).st_size / 1e6)
            self.rounds(once)
        self.remove("source.*", "target.*")

    def iops(self):
        self.do(self.qemu, "qemu-img", "create", "-f", "qcow2", "disk.qcow2", "4G")
        for start in range(4):
            self.do(self.qemu, "qemu-io", "-c", f"write -P {start + 1} {start}G 1G", "disk.qcow2")
        count = 200000
        for kind, words in (("read", []), ("write", ["-w"])):
            row = self.row("iops", kind, higher_is_better=True, unit="/s")

            def once(tool):
                _, output = self.do(tool, "qemu-img", "bench", "-f", "qcow2", "-c", str(count), "-d", "32", "-s", "4096",
                                       "-S", str(MIB + 4096), *words, "disk.qcow2")
                row.take(tool.name, count / float(re.search(r"in ([0-9.]+) seconds", output)[1]))
            self.rounds(once)
        self.remove("disk.*")

    def open(self):
        self.do(self.qemu, "qemu-img", "create", "-f", "qcow2", "layer0.qcow2", "1T")
        for number in range(1, 11):
            self.do(self.qemu, "qemu-io", "-c", f"write {number}G 64k", f"layer{number - 1}.qcow2")
            self.do(self.qemu, "qemu-img", "create", "-f", "qcow2", "-b", f"layer{number - 1}.qcow2", "-F", "qcow2",
                    f"layer{number}.qcow2")
        seconds, memory = self.row("open", "1 TiB, 10 overlays", unit="ms"), self.row("open", "memory", unit="MB")

        def once(tool):
            idle, _ = self.do(tool, "qemu-io", "--version")
            took, _ = self.do(tool, "qemu-io", "-r", "-f", "qcow2", "-c", "length", "layer10.qcow2")
            seconds.take(tool.name, max(took - idle, 1e-5) * 1e3)
            words = [tool.program("qemu-io"), "-r", "-f", "qcow2"]
            memory.take(tool.name, peak_memory([*words, "layer10.qcow2"], self.folder))
        self.rounds(once)
        self.rounds(once)
        self.remove("layer*")

    def snapshot(self):
        self.do(self.qemu, "qemu-img", "create", "-f", "qcow2", "-o", "preallocation=metadata", "disk.qcow2", "10G")
        self.do(self.qemu, "qemu-img", "resize", "disk.qcow2", "100G")
        for verb, option in (("create", "-c"), ("delete", "-d")):
            self.row("snapshot", verb, unit="ms")
        create, delete = self.rows[-2:]

        def once(tool):
            create.take(tool.name, self.do(tool, "qemu-img", "snapshot", "-c", "one", "disk.qcow2")[0] * 1e3)
            delete.take(tool.name, self.do(tool, "qemu-img", "snapshot", "-d", "one", "disk.qcow2")[0] * 1e3)
        self.rounds(once)
        self.remove("disk.*")


GROUPS = ["convert", "compressed", "iops", "open", "snapshot"]
