"""Real hosts on one machine: network namespaces on a bridge, each with an uplink and a downlink of a given rate.

Needs root, and `ip` and `tc` (Debian: iproute2). Nothing leaves the machine: the bridge has no address.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path


class Hosts:
    """So many hosts, numbered from 0. Everything is removed when the context is left, and every process ended.

    ``congestion`` names the control of TCP's rate; None: that of this machine.
    """

    def __init__(self, count, rate, subnet="10.83.7", congestion=None):
        self.count, self.rate, self.subnet, self.congestion = count, rate, subnet, congestion
        self.tag = f"wh{os.getpid() % 10_000}"
        self.processes = []

    def ip(self, number):
        """The address of a host."""
        return f"{self.subnet}.{number + 1}"

    def __enter__(self):
        self._remove()
        _run(f"ip link add {self.tag}b type bridge")
        _run(f"ip link set {self.tag}b up")
        shape = f"tbf rate {self.rate} burst 256kb latency 50ms"
        for number in range(self.count):
            space, near, far = f"{self.tag}n{number}", f"{self.tag}v{number}", f"{self.tag}w{number}"
            _run(f"ip netns add {space}")
            _run(f"ip link add {near} type veth peer name {far} netns {space}")
            _run(f"ip link set {near} master {self.tag}b up")
            _run(f"ip -n {space} addr add {self.ip(number)}/24 dev {far}")
            _run(f"ip -n {space} link set {far} up")
            _run(f"ip -n {space} link set lo up")
            _run(f"ip netns exec {space} tc qdisc add dev {far} root {shape}")
            if self.congestion is not None:
                _run(f"ip -n {space} route replace {self.subnet}.0/24 dev {far} congctl {self.congestion}")
            _run(f"tc qdisc add dev {near} root {shape}")
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._remove()

    def start(self, number, line, log):
        """Starts a program on a host."""
        words = ["ip", "netns", "exec", f"{self.tag}n{number}", *map(str, line)]
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.processes.append(process)
        return process

    def sent(self, number):
        """Bytes that a host has sent, headers included."""
        return int(Path(f"/sys/class/net/{self.tag}v{number}/statistics/rx_bytes").read_text())

    def _remove(self):
        for number in range(self.count):
            _run(f"ip link del {self.tag}v{number}", check=False)  # a namespace goes later than its name
            _run(f"ip netns del {self.tag}n{number}", check=False)
        _run(f"ip link del {self.tag}b", check=False)


def _run(line, *, check=True):
    subprocess.run(shlex.split(line), check=check, stdout=subprocess.DEVNULL, stderr=None if check else subprocess.DEVNULL)
