"""The parts that benchmarks stand on: processes that are timed, references, the crowd's reading of answers, reports."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import threading

import pytest

from wherry.abc.transport import Want
from wherry.cid import CID, RAW
from wherry.errors import WherryError
from wherry.units import MiB
from wherry_cli.bench import crowd, reference
from wherry_cli.bench.child import failure_of, finished, peak_in, started
from wherry_cli.bench.concurrent import batches_of
from wherry_cli.bench.figure import Arm, Run
from wherry_cli.bench.latency import LOADED, REST, make_report
from wherry_cli.bench.leaves import leaves
from wherry_cli.bench.memory import PEAK_BOUND, peak_figure


def python(code, *arguments):
    return reference.bare_python(code, *arguments)


def test_a_process_is_timed_and_weighed_from_start_to_end():
    ended = finished(python("import time; b = b'x' * (80 << 20); time.sleep(0.2); print('{\"a\": 1}')"), os.environ)
    assert 0.2 <= ended.seconds < 20
    assert ended.peak_bytes > 80 * MiB
    assert ended.cpu_seconds >= 0
    assert ended.json() == {"a": 1}


def test_a_process_that_fails_is_an_error_with_its_last_words():
    with pytest.raises(WherryError, match=r"ended with code 3: no such thing"):
        finished(python("import sys; print('no such thing', file=sys.stderr); sys.exit(3)"), os.environ)
    with pytest.raises(WherryError, match=r"ended with code 0: it said nothing"), started(python("pass"), os.environ) as child:
        child.first_line()
    with pytest.raises(WherryError, match="cannot start"):
        finished(["/nonexistent/program"], os.environ)


def test_wherrys_own_errors_are_read():
    said = '{"schema": "wherry/error/1", "message": "no such file", "hint": "look"}'
    problem = failure_of(["/bin/wherry", "add"], 6, f"noise\n{said}\n")
    assert (problem.message, problem.hint) == ("`wherry add`: no such file", "look")
    assert "ended with code 1: [] or" in failure_of(["x"], 1, "[] or").message


def test_a_process_ends_with_its_block():
    with started(python("import time; print('ready', flush=True); time.sleep(60)"), os.environ) as child:
        assert child.first_line() == "ready\n"
        assert child.peak_bytes() > MiB
        assert not child.gone()
    assert child.gone()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_what_a_process_says_can_be_read_while_it_goes_on_saying():
    code = """
import sys, time
for word in "abc":
    print(word * 3, file=sys.stderr, flush=True)
    print(word, flush=True)
    time.sleep(0.1)
"""
    with started(python(code), os.environ) as child:
        child.first_line()
        assert child.said().startswith("aaa\n")
        child.wait()
        assert child.said() == "aaa\nbbb\nccc\n"  # reading has not moved where it writes


def test_peaks_in_the_text_of_the_kernel():
    assert peak_in("VmPeak:\t  900 kB\nVmHWM:\t   46900 kB\n") == 46900 * 1024
    assert peak_in("Name: x\n") == 0


def test_a_peak_that_is_not_known_is_held_to_nothing():
    assert peak_figure("p", 99.9e6, PEAK_BOUND).met is True
    assert peak_figure("p", 100.0e6, PEAK_BOUND).met is False
    assert peak_figure("p", 0.0, PEAK_BOUND).met is None


# References


def test_the_plain_loops_read_everything(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"x" * 3000)
    assert float(finished(python(reference.HASH_FILE, str(tmp_path / "d/f")), os.environ).output) > 0
    assert float(finished(python(reference.HASH_TREE, str(tmp_path)), os.environ).output) > 0
    with pytest.raises(WherryError, match="No such file"):
        finished(python(reference.HASH_FILE, str(tmp_path / "none")), os.environ)


def test_the_stand_in_for_nginx_and_curl_copies_the_file(tmp_path):
    data = os.urandom(3 * MiB + 7)
    (tmp_path / "f").write_bytes(data)
    with reference.sendfile_server(tmp_path / "f", os.environ) as port:
        for copy in ("a", "b"):
            finished(python(reference.RECEIVE_FILE, port, str(tmp_path / copy)), os.environ)
            assert (tmp_path / copy).read_bytes() == data


@pytest.mark.skipif(not reference.installed("nginx", "curl"), reason="nginx or curl is not installed")
def test_nginx_serves_the_file_as_it_is(tmp_path):
    data = os.urandom(MiB)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/f").write_bytes(data)
    with reference.nginx(tmp_path, tmp_path / "root", os.environ) as address:
        finished(["curl", "-q", "-sS", "-f", "-o", str(tmp_path / "copy"), f"{address}/f"], os.environ)
        with pytest.raises(WherryError, match="404"):
            finished(["curl", "-q", "-sS", "-f", f"{address}/none"], os.environ)
    assert (tmp_path / "copy").read_bytes() == data


@pytest.mark.skipif(not reference.installed("rsync"), reason="rsync is not installed")
def test_rsyncs_daemon_serves_the_tree(tmp_path):
    (tmp_path / "root/d").mkdir(parents=True)
    (tmp_path / "root/d/f").write_bytes(b"abc")
    with reference.rsync_daemon(tmp_path, tmp_path / "root", os.environ) as address:
        finished(["rsync", "-a", address, f"{tmp_path}/copy/"], os.environ)
    assert (tmp_path / "copy/d/f").read_bytes() == b"abc"


def test_a_reference_that_does_not_start_says_why(tmp_path):
    def line(port):
        return [sys.executable, "-c", "raise SystemExit('bad configuration')"]

    with pytest.raises(WherryError, match="bad configuration"), reference._listening(line, os.environ):
        pytest.fail("it did not start")


# What is asked for


def test_leaves_are_named_by_their_bytes_and_spread_over_the_file(tmp_path):
    pieces = [os.urandom(MiB) for _ in range(8)]
    (tmp_path / "f").write_bytes(b"".join(pieces) + b"a short last one")
    found = leaves(tmp_path / "f", 4)
    assert [want.offset for want in found] == [0, 2 * MiB, 4 * MiB, 6 * MiB]
    assert [want.cid for want in found] == [CID.of(RAW, pieces[number]) for number in (0, 2, 4, 6)]
    assert len(leaves(tmp_path / "f", 100)) == 8


def test_each_transfer_begins_at_another_leaf():
    wants = [Want(CID.of(RAW, bytes([number])), 1) for number in range(3)]
    first, second, third, fourth = batches_of(wants, 4, 2)
    assert (first, second, third, fourth) == ([wants[0], wants[1]], [wants[1], wants[2]], [wants[2], wants[0]], first)
    assert batches_of(wants, 1, 8) == [wants]


def frame(kind, first, datas):
    sizes = struct.pack(f">{len(datas)}I", *map(len, datas))
    body = sizes + b"".join(datas) if kind == 1 else b""
    return struct.pack(">BBHIQ", kind, 0, len(datas), first, len(body)) + body


def received(wants, answer):
    async def work():
        reader = asyncio.StreamReader()
        reader.feed_data(answer)
        reader.feed_eof()
        return await crowd.receive(reader, wants, "peer")

    return asyncio.run(work())


DATAS = [os.urandom(200_000), b"two", b"three"]
WANTS = [Want(CID.of(RAW, each), len(each)) for each in DATAS]


def test_the_crowd_takes_an_answer_that_is_whole():
    assert received(WANTS, frame(1, 0, DATAS[:2]) + frame(1, 2, DATAS[2:])) == 200_008


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (frame(1, 0, [DATAS[0], b"twO", b"three"]), "other bytes"),
        (frame(1, 0, DATAS[:2]) + frame(2, 2, DATAS[2:]), "left out 1 leaves"),
        (frame(1, 0, DATAS)[:-1], "cut the answer short"),
        (frame(1, 0, [DATAS[0], b"longer", b"three"]), "6 bytes for the block"),
    ],
)
def test_the_crowd_counts_an_answer_that_is_not(answer, problem):
    with pytest.raises((ValueError, OSError, WherryError), match=problem):
        received(WANTS, answer)


def test_the_gate_opens_when_all_have_come_or_failed():
    async def work():
        gate = crowd.Gate(3)
        waiting = [asyncio.create_task(gate.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        gate.give_up()
        await asyncio.gather(*waiting)
        return gate.most

    assert asyncio.run(work()) == 2


def test_a_crowd_that_cannot_connect_counts_its_errors():
    request = {"host": "127.0.0.1", "port": reference.free_port(), "at_once": 3, "batches": [[(str(WANTS[0].cid), 5)]] * 3}
    result = asyncio.run(crowd.crowd(request))
    assert (result["errors"], result["bytes"], result["open_at_once"]) == (3, 0, 0)
    assert "ConnectionRefusedError" in result["first_errors"][0]


def test_latency_says_when_fewer_requests_were_timed_than_wanted():
    arms = {REST: Arm(REST, [Run(1.0)]), LOADED: Arm(LOADED, [Run(1.0)])}
    times = {REST: [0.001] * 100, LOADED: [0.002] * 98 + [0.3] * 2}
    report = make_report(arms, times, wanted=100, at_full_size=True)
    p99 = report.figures[0]
    assert (p99.value, p99.met) == (300.0, False)
    assert len(report.notes) == 1
    assert "120 were wanted" in make_report(arms, times, wanted=120, at_full_size=True).notes[1]
    nothing = make_report(arms, {REST: [], LOADED: []}, wanted=5, at_full_size=True)
    assert nothing.figures[0].met is False


def test_no_watching_thread_is_left():
    finished(python("pass"), os.environ)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("memory of")]
