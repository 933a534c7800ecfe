"""Stands in for the process that runs py-libp2p: speaks the same frames, and does what a file beside it says.

Made executable by `tests/unit/test_libp2p_transport.py`, which gives it as the interpreter to run.
"""

import os
import socket
import sys
import time
from pathlib import Path

sys.path.append(str(Path(sys.argv[-2]).parent))
from wherry_libp2p.frames import ANSWER_BYTES_MAX, HEAD, Fault, Kind, head_of, pack, wants_of  # the path is known only now

HERE = Path(sys.argv[0]).parent
PEER = "12D3KooWGzBbWLpZcCNxKQnTmWQ7xUdzxZAYqKjvjNWwAZFGcGzY"
READY = b'{"version": 1, "peer": "%b", "listen": ["/ip4/127.0.0.1/tcp/4444/p2p/%b"]}' % ((PEER.encode(),) * 2)
READY_NO = pack(Kind.READY, 0, 0, READY.replace(b"/ip4", b"/ip9"))
GARBAGE = {
    "unknown kind": HEAD.pack(99, 1, 0, 0),
    "a huge body": HEAD.pack(Kind.BLOCK, 1, 0, 1 << 31),
    "a kind of ours": pack(Kind.WANT, 1, 0, bytes(36)),
    "a fault that there is not": pack(Kind.FAIL, 2, 77, b"?"),
    "half a block": HEAD.pack(Kind.BLOCK, 2, 0, 1000) + bytes(10),
    "counts that are none": pack(Kind.PONG, 0, 0, b"[" * 5000),
}
STARTS = {
    "absent": pack(Kind.FAIL, 0, Fault.ABSENT, b"no module named libp2p"),
    "unfit": pack(Kind.FAIL, 0, Fault.UNFIT, b"a block did not arrive"),
    "taken": pack(Kind.FAIL, 0, Fault.LISTEN, b"address in use"),
    "another version": pack(Kind.READY, 0, 0, READY.replace(b": 1", b": 2")),
    "no address": READY_NO,
    "no json": pack(Kind.READY, 0, 0, b"\xff"),
    "another frame": pack(Kind.DONE),
}


DIALLED = {}
ASKED = {}


def note(name, text):
    with (HERE / name).open("a") as log:
        log.write(f"{text}\n")


def dial(sock, mode, head, address):
    DIALLED[head.request] = address.rpartition("/")[2]
    note("dials", address)
    dead = (HERE / "dead").read_text().split() if (HERE / "dead").exists() else []
    failed = mode == "unreachable" or address in dead
    text = b"nobody \x1b there"
    if mode == "another":
        sock.sendall(pack(Kind.FAIL, head.request, Fault.ANOTHER, b"another peer answers there"))
        return
    sock.sendall(pack(Kind.FAIL, head.request, Fault.UNREACHABLE, text) if failed else pack(Kind.DONE, head.request))


def ask(sock, mode, head, body):
    if mode == "crashes":
        os.abort()
    if mode == "is silent":
        return
    peer = DIALLED[head.at]
    note("asks", f"{peer}/{body[0]}/{body[1:].hex()}")
    count = ASKED[peer] = ASKED.get(peer, -1) + 1
    answers = sorted((HERE / "dht").glob(f"{peer}.*"))
    if mode == "too long":
        sock.sendall(HEAD.pack(Kind.SAID, head.request, 0, ANSWER_BYTES_MAX + 1))
    elif answers:
        if (said := answers[min(count, len(answers) - 1)].read_bytes()) != b"silence":
            sock.sendall(pack(Kind.SAID, head.request, 0, said))
    else:
        sock.sendall(pack(Kind.FAIL, head.request, Fault.PROTOCOL, b"no such protocol"))


def main():
    sock = socket.socket(fileno=int(sys.argv[-1]))
    stream = sock.makefile("rb")
    mode = (HERE / "mode").read_text()
    with (HERE / "starts").open("a") as log:
        log.write(f"{os.getpid()}\n")
    if mode == "dies at once":
        raise SystemExit("cannot go on")
    if mode == "never starts":
        time.sleep(600)
    blocks = {bytes.fromhex(path.name): path.read_bytes() for path in (HERE / "blocks").iterdir()}
    while len(data := stream.read(HEAD.size)) == HEAD.size:
        head = head_of(data)
        body = stream.read(head.length)
        if head.kind is Kind.START:
            sock.sendall(STARTS.get(mode, pack(Kind.READY, 0, 0, READY)))
            if mode == "seeks":
                for number, path in enumerate(sorted(HERE.glob("ask-*")), 1):
                    sock.sendall(pack(Kind.SEEK, number, int(path.name.endswith("whether")), path.read_bytes()))
            if mode == "meets":
                for number, path in enumerate(sorted(HERE.glob("meet-*")), 1):
                    sock.sendall(pack(Kind.MEET, number, 0, path.read_bytes()))
                sock.sendall(pack(Kind.PART, 1))
        elif head.kind in (Kind.ADMIT, Kind.DENY):
            note("met", f"{head.kind.name} {head.request}")
        elif head.kind is Kind.DIAL:
            dial(sock, mode, head, body.decode())
        elif head.kind is Kind.ASK:
            ask(sock, mode, head, body)
        elif head.kind is Kind.WANT:
            want(sock, mode, head, [cid for cid, _ in wants_of(body)], blocks)
        elif head.kind is Kind.PING and mode != "hangs":
            sock.sendall(pack(Kind.PONG, 0, 0, b'{"unsolicited": 3}'))
        elif head.kind in (Kind.BLOCK, Kind.MISSING, Kind.DONE):
            (HERE / f"answer-{head.request}").write_bytes(head.kind.name.encode() + b" " + body)
            if head.request == len(list(HERE.glob("ask-*"))):
                (HERE / "answered").touch()


def want(sock, mode, head, cids, blocks):
    if mode == "crashes":
        os.abort()
    if mode in ("hangs", "is silent"):
        return
    if mode == "lies":
        sock.sendall(pack(Kind.FAIL, head.request, Fault.LIES, b"sends blocks that were not asked for (3)"))
        return
    if mode in GARBAGE:
        sock.sendall(GARBAGE[mode])
        if mode == "half a block":
            os._exit(1)
        return
    for index, cid in reversed(list(enumerate(cids))):  # in another order than they were asked for
        if (data := blocks.get(cid)) is not None:
            data = data + b"!" if mode == "too long" else data
            for _ in range(2 if mode == "twice" else 1):
                sock.sendall(HEAD.pack(Kind.BLOCK, head.request, index, len(data)) + data)
    if mode == "unasked":
        sock.sendall(pack(Kind.BLOCK, head.request, 400, b"x") + pack(Kind.BLOCK, 9999, 0, b"y") + pack(Kind.DONE, 9999))
    failed = mode == "fails after some"
    sock.sendall(pack(Kind.FAIL, head.request, Fault.TIMEOUT, b"silent") if failed else pack(Kind.DONE, head.request))


main()
