"""stress-ng checks its own work on two processors: computing, memory, processes, signals, and code that changes.
VIREO_STRESS_SECONDS says for how long each group runs."""
import os
import unittest

import guest

SECONDS = int(os.environ.get("VIREO_STRESS_SECONDS", "60"))
# Each group runs at once. --vm-bytes and the like keep them within the guest's memory.
GROUPS = {
    "computing": "--cpu 1 --matrix 1 --vecmath 1 --fp 1",
    "memory": "--vm 1 --vm-bytes 96M --mmap 1 --mmap-bytes 64M --mremap 1 --mremap-bytes 32M --mprotect 1",
    "processes": "--fork 1 --vfork 1 --switch 2 --exec 1 --pthread 1 --futex 1",
    "faults": "--fault 1 --sigsegv 1 --bad-altstack 1 --stack 1 --userfaultfd 1 --sigfpe 1",
    "signals": "--signal 1 --sigq 1 --sigpending 1 --sigsuspend 1 --sigtrap 1 --itimer 1 --timer 1",
    "code": "--icache 2 --flush-cache 1 --far-branch 1 --funccall 1 --branch 1 --judy 1",
    "atomic": "--atomic 2 --lockbus 1 --membarrier 1 --memcpy 1 --cache 1",
    "kernel": "--syscall 1 --get 1 --pipe 2 --hdd 1 --hdd-bytes 32M --io 1 --poll 1",
    "all together": "--cpu 2 --vm 1 --vm-bytes 64M --fork 1 --mmap 1 --mmap-bytes 32M --switch 1 --fault 1 --signal 1 --icache 1",
}
OLD_NAMES = {"flush-cache": "flushcache"}
NEEDED = {"cpu", "vm", "fork", "mmap", "switch", "fault", "signal", "icache", "far-branch", "funccall"}
TROUBLE = r"BUG:|Oops|Call Trace|soft lockup|rcu.*stall|general protection|hung_task|watchdog:"


class Stress(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.console = guest.boot_debian("--cpus", "2", "--memory", "1G")
        cls.addClassCleanup(cls.console.close)
        cls.shell = guest.Shell(cls.console)
        cls.shell.check("dmesg -n 1")
        cls.have = cls.shell.check("stress-ng --help")

    def known(self, options):
        """Stressors differ between versions: those that this one has, or its old name for them."""
        words, result = options.split(), []
        while words:
            option = [words.pop(0)]
            while words and not words[0].startswith("--"):
                option.append(words.pop(0))
            name = option[0][2:]
            name = name if f"--{name} " in self.have else OLD_NAMES.get(name, name)
            if f"--{name} " in self.have:
                result += [f"--{name}", *option[1:]]
            else:
                self.assertNotIn(name, NEEDED)
        return " ".join(result)

    def test_groups_of_stressors_verify(self):
        for name, options in GROUPS.items():
            with self.subTest(group=name):
                self.shell.check("dmesg -C")
                known = self.known(options)
                status, text = self.shell.run(
                    f"stress-ng --verify --timeout {SECONDS} --metrics-brief --oomable {known}", SECONDS * 10 + 600)
                print(f"{name}: {known}\n{text}")
                self.assertEqual(status, 0, text)
                self.assertNotRegex(text, r"fail:|unsuccessful")
                self.assertNotRegex(self.shell.check("dmesg"), TROUBLE)


if __name__ == "__main__":
    unittest.main()
