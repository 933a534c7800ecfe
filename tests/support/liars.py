"""Web seeds that lie."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Liar(BaseHTTPRequestHandler):
    """A web seed of zeros."""

    protocol_version = "HTTP/1.1"
    delay_s = 0.0

    def do_GET(self):
        time.sleep(self.delay_s)
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/*")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(bytes(last - first + 1))

    def log_message(self, *words):
        pass


class SlowLiar(Liar):
    """One whose blocks come when others have given the rest of the same pieces."""

    delay_s = 1.0


class HeldLiar(Liar):
    """One that lies when it is let, and is of no use once it is over."""

    let, over = threading.Event(), threading.Event()

    def do_GET(self):
        self.let.wait(60.0)
        if self.over.is_set():
            self.send_error(503)
        else:
            super().do_GET()


class Dripping(Liar):
    """One that gives 32 KiB a second, zeros or ``data``, until it is let give all at once."""

    data = b""
    let = threading.Event()

    def do_GET(self):
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/*")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        for at in range(first, last + 1, 8192):
            end = min(at + 8192, last + 1)
            self.wfile.write(self.data[at:end] or bytes(end - at))
            self.let.wait(0.25)


class Server(ThreadingHTTPServer):
    """Says nothing of clients that go away in the midst of an answer."""

    def handle_error(self, request, client_address):
        pass


@contextmanager
def lying(handler=Liar):
    """Runs a web seed that lies; gives HOST:PORT."""
    with Server(("127.0.0.1", 0), handler) as liar:
        thread = threading.Thread(target=liar.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{liar.server_port}"
        finally:
            liar.shutdown()
            thread.join()
