"""A guest under mixed load for VIREO_SOAK_MINUTES: its process' memory, threads and descriptors do not grow."""
import os
import pathlib
import time
import unittest

import guest

MINUTES = float(os.environ.get("VIREO_SOAK_MINUTES", "10"))
GUEST_MEMORY_MB = 512
CODE_CACHE_MB = 64
GROWTH_MB = 8
LOAD = r"""
while true; do
  head -c 8000000 /dev/urandom | sha256sum
  python3 -c 'import json, random; print(len(json.dumps([random.random() for _ in range(200000)])))'
  for i in $(seq 200); do /bin/true; done
  printf '#include <math.h>\n#include <stdio.h>\nint main(void){double s=0;for(int i=1;i<3000000;++i)s+=sin(i)/i;printf("%%.9f\\n",s);}\n' > s.c
  gcc -O2 s.c -o s -lm && ./s
  tar cf - /usr/lib/python3 2>/dev/null | gzip -1 | wc -c
  dd if=/dev/zero of=f bs=1M count=32 conv=fsync 2>/dev/null; rm -f f
  stress-ng --verify --cpu 1 --vm 1 --vm-bytes 32M --fork 1 --switch 1 --icache 1 --timeout 5 --oomable >/dev/null 2>&1 || echo STRESS-FAILED
  echo ROUND-$((n=n+1))
done
"""


def processes_below(pid):
    """The pids of a process' descendants and itself."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        parents[int(text.split()[0])] = int(text[text.rindex(")") + 2:].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def vmm_below(pid):
    for each in processes_below(pid):
        if "vireo-vmm" in pathlib.Path(f"/proc/{each}/cmdline").read_text().split("\0")[0]:
            return each
    raise AssertionError("no vireo-vmm")


def sample(pid):
    """Megabytes of private and of shared memory, threads, open descriptors."""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    megabytes = {key: int(status[key].split()[0]) / 1024 for key in ("RssAnon", "RssShmem", "RssFile")}
    return {**megabytes, "threads": int(status["Threads"]), "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


class Soak(unittest.TestCase):
    def test_memory_threads_and_descriptors_do_not_grow(self):
        with guest.boot_debian("--cpus", "2", "--memory", f"{GUEST_MEMORY_MB}M") as console:
            shell = guest.Shell(console)
            shell.check("cat > load.sh <<'THE-END'\n" + LOAD.strip().replace("\n", "\r") + "\nTHE-END")
            shell.check("dmesg -n 1; (sh load.sh > load.log 2>&1 &)")
            pid = vmm_below(console.process.pid)
            samples, end = [], time.monotonic() + MINUTES * 60
            while time.monotonic() < end:
                time.sleep(min(15, MINUTES * 6))
                samples.append(sample(pid))
                print(samples[-1], flush=True)
            rounds = shell.check("grep -c ROUND load.log")
            failed = shell.run("grep STRESS-FAILED load.log")[1]

            print(f"{rounds} rounds of the load")
            self.assertGreater(int(rounds), 0)
            self.assertEqual(failed, "")
            settled = samples[len(samples) // 4:]  # caches fill first
            third = max(1, len(settled) // 3)
            for key in ("RssAnon", "threads", "descriptors"):
                first, last = max(s[key] for s in settled[:third]), max(s[key] for s in settled[-third:])
                self.assertLessEqual(last, first + (GROWTH_MB if key == "RssAnon" else 0), key)
            # Guest memory, and the code cache, which is mapped twice.
            self.assertLessEqual(samples[-1]["RssShmem"], GUEST_MEMORY_MB + 2 * CODE_CACHE_MB + GROWTH_MB)


if __name__ == "__main__":
    unittest.main()
