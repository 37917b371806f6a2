"""Drives a program on a pseudo-terminal the way a person would: waits for what it prints, types, reads on."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time


class Hung(Exception):
    pass


class Console:
    def __init__(self, command, echo=None, **options):
        self.command = command
        self.log = ""
        self.position = 0
        self.echo = echo if echo is not None else "VIREO_TEST_ECHO" in os.environ
        master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, **options)
        os.close(slave)
        self.master = master

    def _read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        if not data:
            return False
        text = data.decode(errors="replace")
        self.log += text
        if self.echo:
            sys.stderr.write(text)
            sys.stderr.flush()
        return True

    def expect(self, pattern, limit=600):
        """Waits for a regular expression in what has not been read yet; returns the match."""
        deadline = time.monotonic() + limit
        while True:
            found = re.search(pattern, self.log[self.position:])
            if found:
                self.position += found.end()
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise Hung(f"no {pattern!r} within {limit} s; the last lines were:\n{self.tail()}")
            if not self._read(min(left, 1)):
                raise Hung(f"the program ended ({self.process.wait()}) before {pattern!r}:\n{self.tail()}")

    def send(self, text):
        os.write(self.master, text.encode())

    def line(self, text):
        self.send(text + "\r")

    def wait(self, limit=120):
        """Reads to the end; returns the exit status."""
        deadline = time.monotonic() + limit
        while self._read(0.2):
            if self.process.poll() is not None and time.monotonic() > deadline - limit + 1:
                while self._read(0.1) and select.select([self.master], [], [], 0)[0]:
                    pass
                break
            if time.monotonic() > deadline:
                raise Hung(f"still running after {limit} s:\n{self.tail()}")
        return self.process.wait(timeout=10)

    def tail(self, lines=40):
        return "\n".join(self.log.splitlines()[-lines:])

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        os.close(self.master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
