"""The three things that are compared: the host itself, Vireo, QEMU's TCG; and how the benchmark program is run on each."""
import os
import re
import select
import subprocess
import time

RESULT = re.compile(r"@B (\S+) ([\d.]+) ns (\d+) ([0-9a-f]{16}) ;")
FAILURE = re.compile(r"@F (.*?) ;")
MARK = re.compile(r"@T (\S+) (\d+) ;")
MEMORY_MIB = 512
SILENCE_SECONDS = 180


class Failed(Exception):
    pass


class Outcome:
    """What one run of the program said: name -> (nanoseconds, checksum); its own time by the guest's clock and by the host's."""

    def __init__(self):
        self.values, self.failures, self.marks, self.clock_seconds, self.seconds = {}, [], {}, (0.0, 0.0), 0.0

    def take_line(self, line, now):
        for name, value, _, checksum in RESULT.findall(line):
            earlier = self.values.get(name, (float(value), checksum))
            if earlier[1] != checksum:
                self.failures.append(f"{name} gave checksum {checksum} after {earlier[1]}")
            self.values[name] = (min(float(value), earlier[0]), checksum)
        self.failures += FAILURE.findall(line)
        for name, nanoseconds in MARK.findall(line):
            self.marks[name] = (int(nanoseconds) / 1e9, now)


def favoured(nice):
    """Puts the process into a session of its own and raises that session's priority where that is allowed, so that other
    work on the machine disturbs less; all three platforms alike. Linux shares out time among sessions before it looks at
    the priorities inside them (sched_autogroup_enabled), hence both."""
    def change():
        try:
            os.setsid()
        except PermissionError:
            pass  # it leads a session already
        try:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
            with open("/proc/self/autogroup", "w", encoding="ascii") as group:
                group.write(str(nice))
        except OSError:
            pass
    return change


def run_program(command, nice, watch=None):
    """Runs a command to its end and reads the measures that it prints; `watch(pid)` is called five times a second."""
    outcome = Outcome()
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=favoured(nice)) as process:
        try:
            log = read_to_end(process, outcome, watch)
        except BaseException:
            process.kill()
            raise
    outcome.seconds = time.monotonic() - start
    if process.returncode != 0 or not outcome.marks:
        tail = b"\n".join(log.splitlines()[-20:]).decode(errors="replace")
        raise Failed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{tail}")
    if "begin" in outcome.marks and "end" in outcome.marks:
        (guest_begin, host_begin), (guest_end, host_end) = outcome.marks["begin"], outcome.marks["end"]
        outcome.clock_seconds = guest_end - guest_begin, host_end - host_begin
    return outcome


def read_to_end(process, outcome, watch):
    log, rest, heard = b"", b"", time.monotonic()
    while True:
        ready, _, _ = select.select([process.stdout], [], [], 0.2)
        now = time.monotonic()
        if watch:
            watch(process.pid)
        if not ready:
            if now - heard > SILENCE_SECONDS:
                raise Failed(f"{process.args[0]} said nothing for {SILENCE_SECONDS} s after\n{log[-400:].decode(errors='replace')}")
            continue
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            return log
        log, heard = log + data, now
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            outcome.take_line(line.decode(errors="replace"), now)


class Host:
    name = "host"

    def __init__(self, program, options):
        self.program, self.options = program, options

    def run(self, prefixes, watch=None):
        quick = ["--quick"] if self.options.quick else []
        return run_program([self.program.binary, *quick, *prefixes], self.options.nice, watch)


class Guest:
    """A platform that boots the kernel with the program as /init."""

    def __init__(self, program, options):
        self.program, self.options = program, options

    def append(self, words):
        off = ["mitigations=off"] if self.options.mitigations_off else []
        return " ".join(["console=ttyS0", *off, *words])

    def run(self, prefixes, watch=None):
        quick = ["bench.quick=1"] if self.options.quick else []
        only = [f"bench.only={','.join(prefixes)}"] if prefixes else []
        return run_program(self.command(self.append(["quiet", *quick, *only])), self.options.nice, watch)

    def boot_seconds(self):
        """From the start of the process to its end, the guest doing nothing but to reach /init and power off."""
        outcome = run_program(self.command(self.append(["bench.boot=1"])), self.options.nice)
        if "init" not in outcome.marks:
            raise Failed(f"{self.name}: the guest did not reach /init")
        return outcome.seconds


class Vireo(Guest):
    name = "vireo"

    def command(self, append):
        return [self.options.vireo / "vireo", "run", *self.machine_options(), "--kernel", self.options.kernel,
                "--initrd", self.program.initramfs, "--append", append, "--net", "none", "--no-reboot"]

    def machine_options(self, memory=MEMORY_MIB):
        return ["--engine", self.options.engine, "--cpus", "1", "--memory", f"{memory}MiB", *self.options.vireo_options.split()]


class Tcg(Guest):
    name = "tcg"

    def command(self, append):
        return [*self.machine_options(), "-kernel", self.options.kernel, "-initrd", self.program.initramfs, "-append", append,
                "-nic", "none"]

    def machine_options(self, memory=MEMORY_MIB):
        return ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(memory), "-nodefaults", "-display",
                "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]
