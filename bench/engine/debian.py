"""The Debian image: how long it takes to its login prompt, and how long real programs take in it."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import threading
import time

from platforms import Failed, Outcome, favoured, run_program

HERE = pathlib.Path(__file__).resolve().parent
KIT = HERE.parent.parent / "tests/kit"
MEASURES = [f"program.{name}" for name in ("gzip", "gunzip", "xz", "unxz", "python", "gcc")] + [
    "extra.python_start", "extra.sh_fork_exec_100"]
COMMAND_LINE = "root=LABEL=vireo-root rw console=ttyS0"
LIMIT_SECONDS = 3600


def digest():
    parts = [path.read_bytes() for path in sorted((HERE / "programs").iterdir())]
    return hashlib.sha256(b"".join(parts)).hexdigest()


class Payload:
    """The programs' inputs: a folder for the host, and the same as a tar archive that guests get as their second disk."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.disk = self.folder.parent / "programs.tar"
        self.folder.mkdir(parents=True, exist_ok=True)
        for maker, product in (("make_text", "text"), ("make_source", "source.c")):
            with open(self.folder / product, "wb") as out:
                subprocess.run([sys.executable, HERE / "programs" / maker], check=True, stdout=out)
        for name in ("run_all", "python_work.py"):
            shutil.copy(HERE / "programs" / name, self.folder)
        subprocess.run(["g++", "-std=c++20", "-O2", "-static", "-o", self.folder / "timed", HERE / "programs/timed.cpp"], check=True)
        shutil.copy(shutil.which("xz"), self.folder / "xz")  # Debian's image need not have it, but has its library
        with tarfile.open(self.disk, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in ("text", "source.c", "run_all", "python_work.py", "timed", "xz"):
                archive.add(self.folder / name, name)


def kit(options):
    """tests/kit, which reads its settings from the environment."""
    os.environ.setdefault("VIREO_BIN", str(options.vireo))
    os.environ.setdefault("VIREO_GUESTS", str(options.guests))
    if str(KIT) not in sys.path:
        sys.path.insert(0, str(KIT))
    import console
    import guest
    return console.Console, guest.Shell


def image_folder(options):
    folder = options.guests / "home/images/debian"
    if not (folder / "disk.raw").exists():
        subprocess.run([HERE.parent.parent / "tests/guest/prepare", options.vireo, options.guests], check=True)
    return folder


def command(platform, options, payload):
    image = image_folder(options)
    kernel, initrd, disk = image / "vmlinuz", image / "initrd.img", image / "disk.raw"
    append = platform.append([COMMAND_LINE])
    if platform.name == "vireo":
        return [options.vireo / "vireo", "run", *platform.machine_options(), "--kernel", kernel, "--initrd", initrd, "--append",
                append, "--disk", f"{disk},format=raw,temporary", "--disk", f"{payload.disk},format=raw,readonly", "--net", "none",
                "--no-reboot"]
    return [*platform.machine_options(), "-kernel", kernel, "-initrd", initrd, "-append", append, "-nic", "none",
            "-drive", f"file={disk},format=raw,if=virtio,snapshot=on",
            "-drive", f"file={payload.disk},format=raw,if=virtio,readonly=on"]


class Sampler(threading.Thread):
    """Calls `watch(pid)` once a second until it is stopped."""

    def __init__(self, watch, pid):
        super().__init__(daemon=True)
        self.watch, self.pid, self.ended = watch, pid, threading.Event()
        self.start()

    def run(self):
        while self.watch and not self.ended.wait(1):
            self.watch(self.pid)


def run_on_host(options, payload, measures):
    with MemoryFolder() as folder:
        shutil.copytree(payload.folder, folder, dirs_exist_ok=True)
        one_processor = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]  # as a guest has
        return run_program([*one_processor, "sh", folder / "run_all", folder, str(runs_per_boot(options)), *measures], options.nice)


class MemoryFolder:
    """A folder in memory that is gone afterwards."""

    def __enter__(self):
        self.path = pathlib.Path("/dev/shm") / f"vireo-bench-{os.getpid()}"
        self.path.mkdir()
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def runs_per_boot(options):
    return 1 if options.quick else 2


def run_in_guest(platform, options, payload, measures, watch=None):
    """Boots; returns the seconds to the login prompt and what the programs said."""
    console_class, shell_class = kit(options)
    environment = {**os.environ, "VIREO_HOME": str(payload.folder.parent / "home")}
    started = time.monotonic()
    with console_class([str(word) for word in command(platform, options, payload)], preexec_fn=favoured(options.nice),
                       env=environment) as console:
        sampler = Sampler(watch, console.process.pid)
        console.expect(r"(?=login: )", LIMIT_SECONDS)
        login_seconds = time.monotonic() - started
        outcome = Outcome()
        if measures:
            shell = shell_class(console)
            shell.check("dmesg -n 1; timeout 300 systemctl is-system-running --wait || true", 400)
            shell.check("mkdir -p /dev/shm/bench && tar -xf /dev/vdb -C /dev/shm/bench", 300)
            text = shell.check(f"sh /dev/shm/bench/run_all /dev/shm/bench {runs_per_boot(options)} {' '.join(measures)}", LIMIT_SECONDS)
            for line in text.splitlines():
                outcome.take_line(line, time.monotonic())
            missing = set(measures) - set(outcome.values)
            if missing or outcome.failures:
                raise Failed(f"{platform.name}: {'; '.join(outcome.failures) or 'no figure'}: {', '.join(sorted(missing))}\n{text}")
        sampler.ended.set()
    return login_seconds, outcome
