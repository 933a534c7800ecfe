"""Somebody who listens on this machine and must hear nobody, and an Internet of one address."""

from __future__ import annotations

import socket
import threading

from wherry.httpline import Paced

FAR = "93.184.215.14"


class Canary:
    """Listens on loopback, IPv4 and IPv6, and counts who comes."""

    def __init__(self):
        self.came = 0
        self.sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self.sockets[0].getsockname()[1]
        self.sockets.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        self.threads = [threading.Thread(target=self.accept, args=(one,)) for one in self.sockets]

    def accept(self, listener):
        while True:
            try:
                made, _ = listener.accept()
            except OSError:
                return
            self.came += 1
            made.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for one in self.sockets:
            one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self.threads:
            thread.join()


class Network:
    """An Internet of one address, which leads to servers of this test; names as the test gives them."""

    def __init__(self, monkeypatch):
        self.names = {"mirror.example": FAR}
        self.dialled = []
        real, really = socket.getaddrinfo, Paced.connect

        def resolve(host, port, *args, **kwargs):
            return real(self.names.get(host, host), port, *args, **kwargs)

        def connect(sock, address):
            self.dialled.append(address[0])
            return really(sock, ("127.0.0.1", address[1]) if address[0] == FAR else address)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setattr(Paced, "connect", connect)
