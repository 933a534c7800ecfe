"""The process of its own: libtorrent, and lines of JSON to and from wherry (specs/0036 §11)."""

from __future__ import annotations

import fcntl
import math
import signal
import sys
import time
from collections import OrderedDict
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from wherry_torrent import resume
from wherry_torrent.laggards import Laggards, Row
from wherry_torrent.places import Lookup, endpoint, kept_out, server, shown
from wherry_torrent.suspects import Lull, Suspects
from wherry_torrent.talk import Failed, Gone, Pipes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry_torrent.places import Peer
    from wherry_torrent.talk import Talk

VERSION: Final = 1
_LOOK_S: Final = 0.1  # how often it looks
_TELL_S: Final = 0.2
_SAVE_S: Final = 2.0
_DIAL_S: Final = 1.0
_DIAL_MORE_S: Final = 5.0  # the same while others are connected, which may be such as give nothing
_LAST_SAVE_S: Final = 5.0
_FLUSH_S: Final = 600.0  # a slow disk may have much to write; wherry hears of it meanwhile
_BUSY_S: Final = 10.0  # the process of a wherry that was killed may still be ending
_FAULTS_MAX: Final = 20
_WORDS_MAX: Final = 300
_BANS: Final = {("libtorrent", 91), ("libtorrent", 93)}  # its error_code.hpp: peer_banned, too_many_corrupt_pieces
_MIXED: Final = ("libtorrent", 217)  # torrent_inconsistent_hashes: a piece is right by one version of a hybrid alone
_MIXED_MAX: Final = 3  # times that it is begun anew for that; then it is the torrent's own fault


class Client:
    """One download. ``lt`` is libtorrent."""

    def __init__(self, lt: Any, start: dict[str, Any], talk: Talk) -> None:
        self._lt, self._start, self._talk = lt, start, talk
        self._folder = str(start["folder"])
        self._faults: OrderedDict[str, str] = OrderedDict()
        self._hanging: list[tuple[str, str]] = []  # web seeds that are connected
        self._saved = self._flushed = self._removed = False
        self._mixed, self._mixed_left = False, _MIXED_MAX
        self._trees = False  # of hashes: it is of version 2
        self._slow = False  # a web seed is to be left out
        self._wire = 0  # what came before the torrent was begun anew
        self._suspects = Suspects([(ip, port) for ip, port in [*start["peers"], *start["hints"]]], start["webseeds"])
        self._lookup = Lookup(start["webseeds"])
        self._lull = Lull(start["wait"], time.monotonic())
        self._laggards = Laggards(start["wait"], time.monotonic())
        known = lt.default_settings()  # what this version of it has
        settings = {name: value for name, value in start["settings"].items() if name in known}
        self._session = lt.session({**settings, "alert_mask": _mask(lt)})
        self._session.set_ip_filter(kept_out(lt, [ip for ip, _ in start["peers"]]))

    def run(self) -> None:
        """Downloads; says how far it is, and that it is done. Raises Gone, Failed."""
        with open(self._at("busy"), "wb") as lock:
            self._hold(lock.fileno())
            files = self._start["files"]
            if files is None:
                files = self._metadata()
            self._download(files)

    def _at(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _hold(self, fd: int) -> None:
        end = time.monotonic() + _BUSY_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as problem:
                if time.monotonic() > end:
                    raise Failed("another process downloads into the same folder") from problem
                self._talk.hear(_LOOK_S)

    # The info dictionary of a magnet link

    def _metadata(self) -> list[Any]:
        """Fetches it, has it approved, and gives where the files go. Makes no file of the torrent."""
        flags = self._lt.torrent_flags
        params = self._lt.parse_magnet_uri(self._start["magnet"])
        self._common(params)
        params.save_path = self._at("metadata-only")
        params.flags |= flags.upload_mode | flags.default_dont_download
        handle = self._session.add_torrent(params)
        self._wait(handle, lambda status: status.has_metadata, "metadata")
        found = bytes(handle.torrent_file().info_section())
        self._session.remove_torrent(handle)
        resume.write_file(self._at("metadata"), found)
        self._talk.say(event="metadata")
        while (answer := self._talk.hear(_LOOK_S)) is None:
            self._alerts()
        files: list[Any] = answer["files"]
        return files

    # The download

    def _params(self) -> Any:
        """Makes the parameters: of the torrent or of the info dictionary, with what an earlier run saved."""
        found = resume.begun(self._lt, self._folder)
        self._common(found)
        return found

    def _common(self, params: Any) -> None:
        flags = self._lt.torrent_flags
        params.save_path = self._folder
        params.upload_limit, params.download_limit = self._start["up"], self._start["down"]  # those of a session spare the LAN
        params.trackers = self._start["trackers"]
        params.url_seeds = [url for url in self._suspects.webseeds if url not in self._laggards.out]
        params.banned_peers = out = self._suspects.left_out  # and none of an earlier run, which may have banned the wrong ones
        params.peers = [peer for peer in params.peers if peer not in out]
        params.flags &= ~(flags.auto_managed | flags.paused | flags.upload_mode | flags.seed_mode | flags.stop_when_ready)
        params.flags |= flags.override_trackers | flags.override_web_seeds
        if not self._start["pex"]:
            params.flags |= flags.disable_pex

    def _place(self, params: Any, files: list[Any]) -> None:
        """Says where each file goes: libtorrent's own reading of their names counts for nothing."""
        listed = params.ti.layout() if hasattr(params.ti, "layout") else params.ti.files()
        pad = self._lt.file_storage.flag_pad_file
        real = [index for index in range(listed.num_files()) if not listed.file_flags(index) & pad]
        if [listed.file_size(index) for index in real] != [size for _, size in files]:
            raise Failed("libtorrent sees other files in the torrent than wherry does")
        params.renamed_files = {index: path for index, (path, _) in zip(real, files, strict=True)}

    def _download(self, files: list[Any]) -> None:
        handle = self._begin(files)
        try:
            while not self._wait(handle, lambda status: status.is_seeding, "fetch"):
                self._end(handle)
                self._next_round()
                handle = self._begin(files, anew=True)
            handle.flush_cache()
            self._until(lambda: self._flushed, handle.status())
        except Gone:
            self._last_save(handle)
            raise
        self._session.remove_torrent(handle)
        del handle
        del self._session  # waits for its threads: every file is closed
        self._talk.say(event="done")

    def _begin(self, files: list[Any], *, anew: bool = False) -> Any:
        params = self._params()
        if anew:  # blocks in pieces that are not whole may be from whoever lied: they would be laid to the next one
            params.unfinished_pieces = {}
        self._place(params, files)
        self._trees = params.info_hashes.has_v2()
        if self._trees and not anew and (note := resume.memory_note(size for _, size in files)) is not None:
            self._note(note)
        return self._session.add_torrent(params)

    def _end(self, handle: Any) -> None:
        """Saves what it has, and removes the torrent."""
        handle.pause()
        self._removed = False
        self._saved = self._mixed
        if not self._saved:
            self._save(handle)
            self._until(lambda: self._saved, handle.status())
        status = handle.status()
        self._session.remove_torrent(handle)
        self._until(lambda: self._removed, status)
        self._wire += status.total_payload_download

    def _until(self, done: Callable[[], bool], status: Any) -> None:
        """Waits for the disk; says ``status`` meanwhile. Raises Failed, Gone."""
        end = time.monotonic() + _FLUSH_S
        while not done():
            if time.monotonic() > end:
                raise Failed("the disk takes nothing")
            self._talk.hear(_LOOK_S)
            self._alerts()
            self._tell(status, "fetch")

    def _last_save(self, handle: Any) -> None:
        if not handle.is_valid():  # it is begun anew, and saved
            return
        handle.pause()
        self._saved = False
        self._save(handle)
        end = time.monotonic() + _LAST_SAVE_S
        while not self._saved and time.monotonic() < end:
            self._session.wait_for_alert(100)
            self._alerts()

    def _save(self, handle: Any) -> None:
        if self._trees:
            if not _checking(handle.status()):
                resume.write_without_trees(self._lt, self._folder, handle)
            self._saved = True
            return
        options = self._lt.save_resume_flags_t
        handle.save_resume_data(options.flush_disk_cache | options.only_if_modified)

    def _wait(self, handle: Any, done: Callable[[Any], bool], phase: str) -> bool:
        """Waits for ``done(status)``; tells, saves, and calls the named peers again meanwhile. False: it is to begin anew."""
        dialled = saved = -math.inf
        self._lull.begin(time.monotonic())
        while not done(status := handle.status()):
            now = time.monotonic()
            self._tell(status, phase)
            if now - dialled >= (_DIAL_MORE_S if status.num_peers else _DIAL_S):  # web seeds count as peers, and come first
                dialled = now
                for peer in self._suspects.peers:
                    handle.connect_peer(peer)
            if phase == "fetch" and now - saved >= _SAVE_S:
                saved = now
                self._save(handle)
            self._talk.hear(_LOOK_S)
            self._alerts()
            if self._mixed:  # blocks of somebody who lies were in a piece, and what was saved of it: whole ones are right
                self._note("blocks of several sources did not fit together: what is not whole is fetched anew")
                return False
            came = self._wire + status.total_payload_download
            if _checking(status):
                self._lull.checked(time.monotonic())
            elif phase == "fetch":
                self._slow = self._holds_up(handle, status, now, came)
                if self._slow or self._suspects.due(*self._lull.look(now, status.num_peers, came)):
                    return False
        self._told_at = 0.0
        self._tell(status, phase)
        return True

    def _holds_up(self, handle: Any, status: Any, now: float, came: int) -> bool:
        """Tells whether a web seed holds up the others: it is to begin anew without. Asks it again when they give nothing."""
        if not self._laggards.due(now):
            return False
        whole = min(status.num_pieces * handle.torrent_file().piece_length(), status.total_wanted_done)
        rows = [self._row(each) for each in handle.get_peer_info()]
        hanging = dict.fromkeys(server(row.urls[0]) for row in rows if row.urls and row.held and not row.rate)
        self._hanging = [(shown(*each), "was asked, and gives nothing") for each in hanging]
        out, back = self._laggards.look(now, rows, status.total_wanted - whole, came)
        if out:
            who = shown(*server(out[0]))
            self._note(f"{who} is slow, and is left out: others have the rest before it gives what it holds")
        if back:
            self._note(f"{shown(*server(back[0]))} is asked again: nobody else gives anything")
        for url in back:
            if not self._suspects.is_banned(url):
                handle.add_url_seed(url)
        return bool(out)

    def _row(self, info: Any) -> Row:
        place, webseed = (str(info.ip[0]), int(info.ip[1])), info.connection_type == info.web_seed
        whole = info.flags & info.seed and not info.flags & info.remote_choked
        urls = self._suspects.webseeds_at(place) if webseed else ()
        return Row(place, urls, info.payload_down_speed, info.queue_bytes, bool(whole))

    def _next_round(self) -> None:
        if self._slow:  # the same one goes on
            self._slow = False
            return
        self._laggards.begin(time.monotonic())
        if self._mixed and self._suspects.again():  # those that are left were not banned: nobody is on trial for that
            self._mixed = False
            return
        self._mixed = False
        if self._suspects.next() and (source := self._suspects.trial) is not None:
            who = source if isinstance(source, str) else shown(*source)
            self._note(f"{who} is asked once more, alone: what was wrong may have come from somebody else")

    _told_at = 0.0

    def _tell(self, status: Any, phase: str) -> None:
        now = time.monotonic()
        if now - self._told_at < _TELL_S:
            return
        self._told_at = now
        done = status.total_wanted_done
        if phase == "fetch" and _checking(status):
            phase, done = "check", int(status.total_wanted * status.progress)
        self._talk.say(
            event="state", phase=phase, done=done, total=status.total_wanted, wire=self._wire + status.total_payload_download,
            peers=status.num_peers, faults=[*self._faults.items(), *self._hanging],
        )  # fmt: skip

    # What libtorrent tells

    def _alerts(self) -> None:
        for named, places in self._lookup.news():
            self._suspects.locate(named, places)
        for alert in self._session.pop_alerts():
            kind = type(alert).__name__
            if kind in {"torrent_error_alert", "file_error_alert"}:
                code = alert.error
                if (code.category().name(), code.value()) == _MIXED and self._mixed_left:
                    self._mixed, self._mixed_left = True, self._mixed_left - 1
                    continue
                number = code.value() if code.category().name() in {"system", "generic"} else 0
                raise Failed(str(alert.message())[:_WORDS_MAX], number)
            if kind == "save_resume_data_alert":
                self._saved = True
                if not self._mixed:  # it forgets then what was whole: what was saved before knows
                    resume.write(self._lt, self._folder, alert.params)
            elif kind == "save_resume_data_failed_alert":  # nothing changed since the last
                self._saved = True
            elif kind == "cache_flushed_alert":
                self._flushed = True
            elif kind == "torrent_removed_alert":
                self._removed = True
            else:
                self._about_others(kind, alert)

    def _about_others(self, kind: str, alert: Any) -> None:
        if kind == "peer_ban_alert":
            self._banned(endpoint(alert))
        elif kind == "metadata_failed_alert":
            self._note(f"a peer sent another torrent's metadata: {alert.message()}")
        elif kind in {"peer_error_alert", "peer_disconnected_alert"}:
            self._fault(shown(*endpoint(alert)), alert.error.message())
            if _is_ban(alert.error):  # what compares blocks afterwards (its smart_ban.cpp) bans without an alert of its own
                self._banned(endpoint(alert))
        elif kind in {"tracker_error_alert", "listen_failed_alert"}:
            self._fault(str(getattr(alert, "url", "") or kind), alert.message())
        elif kind == "url_seed_alert" and alert.error.value():  # 0: it closed its connection, as servers do
            self._fault(str(alert.server_url()), alert.error.message())
            if _is_ban(alert.error):
                self._suspects.ban_webseed(str(alert.server_url()))

    def _banned(self, peer: Peer) -> None:
        if self._suspects.ban_peer(peer):
            self._note(f"{shown(*peer)} sent what is not in the torrent, and is asked no more")

    def _note(self, text: str) -> None:
        self._talk.say(event="note", text=text[:_WORDS_MAX])

    def _fault(self, who: str, why: object) -> None:
        self._faults.pop(who, None)
        self._faults[who[:_WORDS_MAX]] = str(why)[:_WORDS_MAX]
        while len(self._faults) > _FAULTS_MAX:
            self._faults.popitem(last=False)


def _is_ban(error: Any) -> bool:
    return (error.category().name(), error.value()) in _BANS


def _checking(status: Any) -> bool:
    return str(status.state) in {"checking_files", "checking_resume_data", "queued_for_checking"}


def _mask(lt: Any) -> int:
    kinds = lt.alert.category_t
    return int(
        kinds.error_notification | kinds.connect_notification | kinds.peer_notification | kinds.status_notification
        | kinds.storage_notification | kinds.tracker_notification
    )  # fmt: skip


def main() -> None:
    """Runs one download, told by standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # wherry ends it, and lets it save what it has
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    talk = Pipes()
    try:
        _run(talk)
    except Gone:
        pass
    except Failed as problem:
        _last_words(talk, str(problem), problem.number)
    except OSError as problem:
        _last_words(talk, f"{problem.filename or ''}: {problem.strerror or problem}", problem.errno or 0)
    except Exception as problem:  # noqa: BLE001  # libtorrent's are RuntimeError, of no kind of its own
        _last_words(talk, f"{type(problem).__name__}: {problem}", 0)
    sys.stdout.flush()


def _last_words(talk: Talk, text: str, number: int) -> None:
    with suppress(Gone):
        talk.say(event="fail", text=text[:_WORDS_MAX], errno=number)


def _run(talk: Talk) -> None:
    try:
        lt = import_module("libtorrent")
    except ImportError as problem:
        talk.say(event="absent", text=str(problem))
        return
    talk.say(event="ready", version=VERSION, libtorrent=str(lt.__version__))
    while (start := talk.hear(60.0)) is None:
        continue
    Client(lt, start, talk).run()
