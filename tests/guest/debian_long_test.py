"""What a guest computes is right, and its clock is: checked inside a Debian 12."""
import hashlib
import pathlib
import subprocess
import tempfile
import time
import unittest

import guest

AVX2_PROGRAM = r"""
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
int main(void) {
  uint64_t sum = 0;
  __m256i state = _mm256_set_epi64x(1, 2, 3, 4);
  __m256d number = _mm256_set_pd(1.5, 2.25, 3.125, 0.1);
  for (int i = 0; i < 200000; ++i) {
    state = _mm256_add_epi32(_mm256_mul_epu32(state, _mm256_set1_epi32(2654435761u)), _mm256_set1_epi32(i));
    state = _mm256_shuffle_epi8(state, _mm256_setr_epi8(3,0,1,2,7,4,5,6,11,8,9,10,15,12,13,14,3,0,1,2,7,4,5,6,11,8,9,10,15,12,13,14));
    number = _mm256_fmadd_pd(number, _mm256_set1_pd(1.0000001), _mm256_sqrt_pd(_mm256_set1_pd(i)));
  }
  uint64_t lanes[4]; double numbers[4];
  _mm256_storeu_si256((void*)lanes, state); _mm256_storeu_pd(numbers, number);
  for (int i = 0; i < 4; ++i) { union { double d; uint64_t u; } bits = {numbers[i]}; sum = sum * 31 + lanes[i] + bits.u; }
  long double wide = 1.0L / 3; for (int i = 0; i < 1000; ++i) wide = sinl(wide) * 1.25L;
  printf("%016llx %La %a\n", (unsigned long long)sum, wide, sin(1e10));
}
"""


class Computing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.console = guest.boot_debian("--cpus", "2", "--memory", "2G")
        cls.addClassCleanup(cls.console.close)
        cls.shell = guest.Shell(cls.console)
        cls.shell.check("dmesg -n 1")  # nothing between a command's lines

    def test_sha256_of_64_megabytes_equals_the_hosts(self):
        answer = self.shell.check("head -c 67108864 /dev/zero | tr '\\0' 'v' | sha256sum", 600)

        self.assertIn(hashlib.sha256(b"v" * 67108864).hexdigest(), answer)

    def test_openssl_digests_and_ciphers_agree_with_the_hosts(self):
        commands = ["openssl dgst -sha512", "openssl dgst -sha3-256", "openssl dgst -blake2b512",
                    "openssl enc -aes-256-ctr -K 00 -iv 00 2>/dev/null | sha256sum",
                    "openssl enc -chacha20 -K 00 -iv 00 2>/dev/null | sha256sum"]
        for command in commands:
            with self.subTest(command=command):
                pipe = f"head -c 1000000 /dev/zero | {command}"
                host = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=True).stdout.strip()
                self.assertEqual(self.shell.check(pipe), host)

    def test_python_passes_its_own_tests(self):
        status, text = self.shell.run("python3 -m test -q test_math test_struct test_json", 1800)

        self.assertEqual(status, 0, text)
        self.assertIn("SUCCESS", text)

    def test_a_compiled_avx2_and_x87_program_gives_the_hosts_result(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "p.c"
            source.write_text(AVX2_PROGRAM)
            program = str(source.with_suffix(""))
            subprocess.run(["gcc", "-O2", "-mavx2", "-mfma", str(source), "-o", program, "-lm"], check=True)
            host = subprocess.run([program], capture_output=True, text=True, check=True).stdout.strip()
        lines = AVX2_PROGRAM.strip().split("\n")
        self.shell.check("rm -f p.c")
        for line in lines:
            self.shell.check("printf '%s\\n' '" + line.replace("'", "'\\''") + "' >> p.c")
        self.shell.check("gcc -O2 -mavx2 -mfma p.c -o p -lm", 600)

        self.assertEqual(self.shell.check("./p"), host)

    def test_stress_ng_verifies(self):
        status, text = self.shell.run("stress-ng --verify --cpu 2 --vm 1 --vm-bytes 64M --timeout 20 --metrics-brief", 900)

        self.assertEqual(status, 0, text)
        self.assertNotRegex(text, r"fail:|unsuccessful")

    def test_the_clock_keeps_within_half_a_percent_over_a_minute_of_load(self):
        self.shell.check("(stress-ng --cpu 2 --timeout 90 >/dev/null 2>&1 &)")

        def reading():
            before = time.monotonic()
            text = self.shell.check("date +%s.%N; cut -d' ' -f1 /proc/uptime")
            after = time.monotonic()
            self.assertRegex(text, r"^[0-9.]+\n[0-9.]+$")
            return before, after, [float(word) for word in text.split()]

        start = reading()
        time.sleep(60)
        end = reading()
        # The guest read its clocks somewhere between `before` and `after`: compare against both extremes.
        shortest, longest = end[0] - start[1], end[1] - start[0]
        for first, last in zip(start[2], end[2]):
            passed = last - first
            self.assertGreaterEqual(passed, shortest * 0.995)
            self.assertLessEqual(passed, longest * 1.005)
        print(f"guest clocks over {shortest:.3f}..{longest:.3f} s of the host's: "
              f"{[round(b - a, 3) for a, b in zip(start[2], end[2])]}")


if __name__ == "__main__":
    unittest.main()
