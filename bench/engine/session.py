"""One call of `run`: which measures, on which platforms, how often; what is kept and what went wrong."""
import hashlib
import subprocess
import sys

import debian
from figures import Figures
from footprint import Watch
from guest_program import GuestProgram
from platforms import Failed, Host, Tcg, Vireo

GROUPS = ("integer", "float", "memory", "kernel", "program", "extra")
PARTS = ("boot", "login", "footprint")
CLOCK_TOLERANCE = 0.02
CONSOLE_DELAY_SECONDS = 0.3


def note(text):
    print(text, file=sys.stderr, flush=True)


class Session:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.program = GuestProgram(folder)
        self.watch = Watch()
        self.payload = None
        self.platforms = [Host(self.program, options), Vireo(self.program, options)]
        if not options.no_tcg:
            self.platforms.append(Tcg(self.program, options))
        self.choose(options.only)
        conditions = {"program": self.program.digest, "debian": debian.digest(),
                      "kernel": hashlib.sha256(options.kernel.read_bytes()).hexdigest()}
        mode = ("quick" if options.quick else "full") + ("-mitigations-off" if options.mitigations_off else "")
        due = {*self.names, *self.debian_names, "boot.init", "boot.login"}
        self.columns = {platform.name: Figures(folder / f"{platform.name}-{mode}.json", conditions,
                                               due if options.fresh or platform.name == "vireo" else ()) for platform in self.platforms}

    def choose(self, only):
        self.parts = {word for word in only if word in PARTS} if only else set(PARTS)
        self.prefixes = [word for word in only if word not in PARTS] if only else list(GROUPS)
        listed = subprocess.run([self.program.binary, "--list"], check=True, capture_output=True, text=True).stdout.split()
        self.names, self.debian_names = self.wanted(listed), self.wanted(debian.MEASURES)
        if self.options.no_debian:
            self.debian_names, self.parts = [], self.parts - {"login"}
        if not (self.names or self.debian_names or self.parts):
            raise Failed(f"no measure is called {' or '.join(only)}")

    def wanted(self, names):
        return [name for name in names if any(name.startswith(prefix) for prefix in self.prefixes)]

    def measure(self):
        for turn in range(1, self.options.runs + 1):
            for platform in self.platforms:
                self.run_program(platform, turn)
                if platform.name != "host" and "boot" in self.parts:
                    self.run_boot(platform, turn)
        for turn in range(1, (self.options.runs + 1) // 2 + 1):  # these take minutes, and repeat some things themselves
            for platform in self.platforms:
                self.run_debian(platform, turn)

    def is_due(self, platform, names, turn, what):
        if not names or all(self.columns[platform.name].has(name, turn) for name in names):
            return False
        note(f"{platform.name}: {what}, run {turn}")
        return True

    def run_program(self, platform, turn):
        only_footprint = not self.names and "footprint" in self.parts and platform.name == "vireo"
        if only_footprint:
            self.take(platform, platform.run([], self.watch))
        elif self.is_due(platform, self.names, turn, f"{len(self.names)} measures"):
            self.take(platform, platform.run(self.prefixes, self.watch if platform.name == "vireo" else None))

    def run_boot(self, platform, turn):
        if self.is_due(platform, ["boot.init"], turn, "boot"):
            self.columns[platform.name].take("boot.init", platform.boot_seconds() * 1e9)
            self.columns[platform.name].save()

    def run_debian(self, platform, turn):
        names = [*self.debian_names, *(["boot.login"] if "login" in self.parts and platform.name != "host" else [])]
        if not self.is_due(platform, names, turn, f"{len(names)} measures of Debian"):
            return
        self.payload = self.payload or debian.Payload(self.folder / "programs")
        if platform.name == "host":
            self.take(platform, debian.run_on_host(self.options, self.payload, self.debian_names))
            return
        watch = self.watch if platform.name == "vireo" else None
        seconds, outcome = debian.run_in_guest(platform, self.options, self.payload, self.debian_names, watch)
        self.columns[platform.name].take("boot.login", seconds * 1e9)
        self.take(platform, outcome)

    def take(self, platform, outcome):
        if outcome.failures:
            raise Failed(f"{platform.name}: {'; '.join(outcome.failures)}")
        own, true = outcome.clock_seconds
        if abs(own - true) > CLOCK_TOLERANCE * true + CONSOLE_DELAY_SECONDS:
            raise Failed(f"{platform.name}: {own:.2f} s passed by its clock, {true:.2f} s by the host's")
        figures = self.columns[platform.name]
        for name, (value, checksum) in outcome.values.items():
            figures.take(name, value, checksum)
        figures.save()

    def measures(self):
        """name -> {column: nanoseconds or None}"""
        boots = [f"boot.{part if part == 'login' else 'init'}" for part in ("boot", "login") if part in self.parts]
        return {name: {column: figures.values.get(name) for column, figures in self.columns.items()}
                for name in sorted([*self.names, *self.debian_names], key=lambda name: GROUPS.index(name.split(".")[0])) + boots}

    def footprint_mib(self):
        return self.watch.largest / (1 << 20) if "footprint" in self.parts and self.watch.largest else None

    def troubles(self):
        reference = self.columns["host"].checksums
        wrong = [f"{column}: {name} gave {checksum}, the host {reference[name]}"
                 for column, figures in self.columns.items() for name, checksum in figures.checksums.items()
                 if name in reference and reference[name] != checksum]
        missing = [f"no figure for {name} on {column}" for name, values in self.measures().items() for column, value in values.items()
                   if value is None and not (column == "host" and name.startswith("boot."))]
        return [*wrong, *missing]
