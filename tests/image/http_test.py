"""Disks on a web server, which is a small one of Python's here: ranges, caching, failures."""
import http.server
import os
import pathlib
import random
import re
import subprocess
import tempfile
import threading
import unittest

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"
SIZE = 24 << 20


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        if self.path == "/moved":
            return self.answer(302, b"", Location="/disk")
        if self.path == "/elsewhere":
            return self.answer(302, b"", Location="file:///etc/passwd")
        if self.path != "/disk":
            return self.answer(404, b"not here")
        if server.failures:
            server.failures -= 1
            return self.answer(503, b"busy")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not wanted or not server.ranges or (condition and condition != server.version):
            return self.answer(200, server.content, ETag=server.version)
        start, end = int(wanted[1]), int(wanted[2])
        part = server.content[start:end + 1]
        if server.lies:
            part = part + b"more"
        self.answer(206, part, ETag=server.version, Content_Range=f"bytes {start}-{start + len(part) - 1}/{len(server.content)}")


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # clients leave when they have what they want


class HttpTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        generator = random.Random(1)
        with open(self.folder / "source.raw", "wb") as file:
            file.truncate(SIZE)
            for _ in range(6):
                file.seek(generator.randrange(0, SIZE - (1 << 20)) & ~0xffff)
                file.write(generator.randbytes(1 << 18))
        self.ask("qemu-img", "convert", "-O", "qcow2", "-c", "source.raw", "disk.qcow2")
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.content = (self.folder / "disk.qcow2").read_bytes()
        self.server.version, self.server.ranges, self.server.lies, self.server.failures = '"one"', True, False, 0
        self.server.requests = []
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def url(self, path="disk"):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{path}"

    def run_here(self, *words):
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=120)

    def ask(self, *words):
        result = self.run_here(*words)
        self.assertEqual(result.returncode, 0, (words, result.stdout, result.stderr))
        return result.stdout

    def refused(self, text, *words):
        result = self.run_here(*words)
        self.assertIn(result.returncode, (1, 2), words)
        self.assertIn(text, result.stderr)

    def test_a_disk_is_read_in_ranges_each_once(self):
        self.ask(VIREO, "image", "convert", self.url(), "copy.raw")
        self.ask("cmp", "copy.raw", "source.raw")
        asked = self.server.requests
        self.assertEqual(len(asked) - asked.count("bytes=0-0"), len({each for each in asked if each != "bytes=0-0"}))

    def test_an_overlay_over_a_web_disk(self):
        self.ask(VIREO, "image", "create", "-b", self.url(), "-F", "qcow2", "top.qcow2")
        self.ask(VIREO, "image", "compare", "--follow-backing", "top.qcow2", "source.raw")
        self.refused("follow", VIREO, "image", "compare", "top.qcow2", "source.raw")

    def test_redirects_lead_to_the_web_only(self):
        self.ask(VIREO, "image", "info", self.url("moved"))
        self.refused("", VIREO, "image", "info", self.url("elsewhere"))

    def test_a_busy_server_is_asked_again(self):
        self.ask(VIREO, "image", "info", self.url())
        self.server.failures = 0
        original = Handler.do_GET

        def fails_after_the_first_look(handler):
            if len(self.server.requests) == 1:
                self.server.failures = 2
            original(handler)
        Handler.do_GET = fails_after_the_first_look
        self.addCleanup(setattr, Handler, "do_GET", original)
        self.server.requests.clear()
        self.ask(VIREO, "image", "info", self.url())

    def test_what_does_not_work_is_told(self):
        self.refused("404", VIREO, "image", "info", self.url("nothing"))
        self.refused("for reading", VIREO, "image", "resize", self.url(), "1G")
        self.server.ranges = False
        self.refused("no ranges", VIREO, "image", "info", self.url())
        self.server.ranges, self.server.lies = True, True
        self.refused("the server", VIREO, "image", "info", self.url())

    def test_a_file_that_changes_meanwhile_is_an_error(self):
        original = Handler.do_GET

        def changes_after_the_first_look(handler):
            original(handler)
            self.server.version = '"two"'
        Handler.do_GET = changes_after_the_first_look
        self.addCleanup(setattr, Handler, "do_GET", original)
        self.refused("another file", VIREO, "image", "convert", self.url(), "copy.raw")


if __name__ == "__main__":
    unittest.main()
