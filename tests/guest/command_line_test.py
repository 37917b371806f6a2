"""What `vireo run` says and returns, on a pseudo-terminal and in a pipe."""
import os
import pathlib
import signal
import subprocess
import tempfile
import termios
import time
import unittest

import guest


def run(*arguments, **options):
    return subprocess.run([guest.VIREO, *arguments], capture_output=True, text=True, timeout=300,
                          stdin=subprocess.DEVNULL, env=guest.environment(), **options)


def process_seconds(pid):
    """Processor time that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class CommandLine(unittest.TestCase):
    def refuses(self, arguments, pattern):
        result = run("run", *arguments)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertRegex(result.stderr, pattern)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)

    def test_bad_configurations_are_refused_in_one_line(self):
        kernel = ["--kernel", guest.kernel("cloud"), "--net", "none"]
        self.refuses(["--kernel", "/missing"], "kernel: /missing.*No such file")
        self.refuses([*kernel, "--memory", "lots"], "--memory: 'lots' is not a size")
        self.refuses([*kernel, "--memory", "64M"], "give the machine more")
        self.refuses([*kernel, "--cpus", "0"], "cpus: 0 is not within")
        self.refuses([*kernel, "--engine", "kvm"], "'kvm' is not built yet")
        self.refuses([*kernel, "--disk", "/missing.raw"], "disk0: .*missing.raw")
        self.refuses([*kernel, "--memroy", "2G"], "did you mean '--memory'")
        self.refuses(["--net", "none"], "nothing to boot")

    def test_the_engine_shows_its_work(self):
        kernel = ["--kernel", guest.kernel("cloud"), "--initrd", guest.INITRAMFS, "--append", "console=ttyS0 panic=1",
                  "--net", "none", "--console", "none"]
        counters = run("run", *kernel, "--trace", "counters")
        self.assertEqual(counters.returncode, 0, counters.stderr)
        self.assertRegex(counters.stderr, r"\[0\] translator\.blocks \d+\n")
        self.assertRegex(counters.stderr, r"\[0\] translator\.exits\.link \d+\n")
        self.refuses([*kernel, "--trace", "everything"], "--trace: 'everything' is not one of blocks, tlb")
        self.refuses([*kernel, "--code-cache", "1M"], "code_cache: 1MiB is not within 4MiB and 2GiB")
        self.refuses([*kernel, "--engine", "software,verify", "--cpus", "2"], "use cpus: 1")

    def test_translated_code_is_listed_for_perf(self):
        process = subprocess.Popen([guest.VIREO, "run", "--kernel", guest.kernel("cloud"), "--initrd", guest.INITRAMFS,
                                    "--append", "console=ttyS0", "--net", "none", "--perf-map"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        listed = pathlib.Path(f"/tmp/perf-{process.pid}.map")
        self.addCleanup(listed.unlink, missing_ok=True)
        self.assertEqual(process.wait(300), 0)
        self.assertRegex(listed.read_text(), r"(?m)^[0-9a-f]+ [0-9a-f]+ guest_0xffffffff[0-9a-f]+$")

    def test_two_machines_never_write_one_image(self):
        with tempfile.NamedTemporaryFile(suffix=".raw") as disk:
            disk.truncate(1 << 20)
            with guest.boot_kernel("cloud", "--disk", disk.name, append="vireo.shell") as console:
                console.expect("VIREO-INIT-OK")
                self.refuses(["--kernel", guest.kernel("cloud"), "--net", "none", "--disk", disk.name], "disk0: .*in use")

    def test_dry_run_prints_a_spec_that_gives_the_same_machine(self):
        first = run("run", "--kernel", "k", "--cpus", "3", "--disk", "d.raw,readonly", "--no-reboot", "--dry-run")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as spec:
            spec.write(first.stdout)
            spec.flush()
            second = run("run", "--spec", spec.name, "--dry-run")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("cpus: 3", first.stdout)
        self.assertEqual(first.stdout, second.stdout)

    def test_the_guest_runs_in_a_pipe(self):
        result = run("run", "--kernel", guest.kernel("cloud"), "--initrd", guest.INITRAMFS, "--append", "console=ttyS0",
                     "--net", "none")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("VIREO-POWER-OFF", result.stdout)

    def test_escape_q_ends_the_machine_and_restores_the_terminal(self):
        with guest.boot_kernel("cloud", append="vireo.shell") as console:
            before = termios.tcgetattr(console.master)
            console.expect("VIREO-INIT-OK")
            console.send("\x1d?")
            console.expect("q quit")
            console.send("\x1dq")
            self.assertEqual(console.wait(), 0)
            self.assertEqual(termios.tcgetattr(console.master), before)

    def test_interrupt_ends_with_130_and_reset_with_3(self):
        with guest.boot_kernel("cloud", append="vireo.shell") as console:
            console.expect("VIREO-INIT-OK")
            console.process.send_signal(signal.SIGINT)
            self.assertEqual(console.wait(), 130)
        with guest.boot_kernel("cloud", append="vireo.shell") as console:
            console.expect("VIREO-INIT-OK")
            console.send("\x1dr")
            self.assertEqual(console.wait(), 3)

    def test_a_reader_that_stands_still_does_not_keep_the_machine_from_ending(self):
        process = subprocess.Popen(
            [guest.VIREO, "run", "--kernel", guest.kernel("cloud"), "--initrd", guest.INITRAMFS, "--net", "none",
             "--append", "console=ttyS0 vireo.run=yes,abcdefghijklmnopqrstuvwxyz"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        before = -1
        while (now := process_seconds(process.pid)) == 0 or now > before + 0.05:  # until the guest is stalled
            before = now
            time.sleep(2)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 128 + signal.SIGTERM)


if __name__ == "__main__":
    unittest.main()
