"""Who may connect, and be connected to: bans and leaves, from the disk and as they come (specs/0029 §4).

Asked of each connection and each request, so it answers from memory. What other processes write (`wherry peers ban` beside a
node that serves) is seen when `refresh` is called, which a thread does every few seconds.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.access import Rule, Rules, Subject, remaining
from wherry.errors import UsageError
from wherry.limits import AUTO_BANS_MAX, BAN_S_MAX, BAN_WHY_CHARS_MAX
from wherry.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.exchange import PeerInfo
    from wherry.store.state import StateDB

_JUMP_S: Final = 5.0  # the clock of the wall and the steady one part by more: it was set
_LONG_S: Final = 2 * 86400.0  # from here on, people count in days


class Held(NamedTuple):
    """A rule and how long it holds yet."""

    rule: Rule
    left_s: float  # infinite for one that has no end


class Door:
    """The rules of one home. Safe for threads."""

    def __init__(
        self,
        state: StateDB,
        *,
        ban_s: float,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
    ) -> None:
        """``ban_s``: for how long a peer is kept out that is proven to have sent wrong bytes; 0: not at all.

        ``steady`` goes on while the machine sleeps; nothing that is done to ``wall`` while this lives changes when a ban ends.
        """
        self._state = state
        self._ban_s = ban_s
        self._wall = wall
        self._steady = steady or _since_boot
        self._lock = threading.Lock()
        self._known: dict[Subject, tuple[Rule, float]] = {}  # with the steady time at which each ends
        self._rules = Rules()
        self._loaded = False
        self._changes = -1
        self._offset = 0.0  # of the wall's clock, when `_known` was read
        self._caught: list[Rule] = []  # not on disk yet
        self.changed: Callable[[], None] | None = (
            None  # called, on any thread, when somebody may be unwanted who was not before
        )

    # Asking

    def gate(self, ip: str, peer_id: str) -> str:
        """Tells why who is at ``ip`` is not wanted; "" if it is. See `wherry.env.Env.gate`."""
        return self._why(peer_id=peer_id, ip=ip)

    def judge(self, info: PeerInfo) -> str:
        """Tells why a peer is not wanted; "" if it is. Where it says that it can be dialled counts for nothing."""
        return self._why(peer_id=info.id, ip=info.ip, address="" if info.incoming else info.address)

    def place(self, address: str) -> str:
        """Tells why ``address`` is not to be dialled, as far as its text tells; "" if it may be."""
        return self._why(address=address)

    def _why(self, *, peer_id: str = "", address: str = "", ip: str = "") -> str:
        if not self._loaded:
            self._load()
        if not len(self._rules):
            return ""
        found = self._rules.decisive(self._steady(), peer_id=peer_id, address=address, ip=ip)
        if found is None or found[0].allow:
            return ""
        rule, left = found
        why = f": {rule.why}" if rule.why else ""
        until = "" if math.isinf(left) else f" for {_words(left)} more"
        return f"is banned{until}{why}"

    def rules(self) -> list[Held]:
        """Lists what holds, in the order in which it was made. Reads the disk."""
        self._load()
        now = self._steady()
        with self._lock:
            return [Held(rule, ends - now) for rule, ends in self._known.values() if ends > now]

    # Changing

    def put(self, subject: Subject, *, allow: bool = False, lasts_s: float | None = None, why: str = "") -> Rule:
        """Makes a rule of the user's; it is on disk when this returns. Raises UsageError, StoreError and its kinds."""
        if lasts_s is not None and not 0 < lasts_s <= BAN_S_MAX:
            raise UsageError("a ban lasts from a second to ten years", hint="leave the time out to ban for good")
        if len(why) > BAN_WHY_CHARS_MAX:
            raise UsageError(f"a reason has at most {BAN_WHY_CHARS_MAX} characters")
        if ended := self._load():
            self._state.drop_ended(ended)
        rule = Rule(subject, allow, self._wall(), lasts_s, why, "user")
        self._state.put_rule(rule)
        self._take(rule)
        return rule

    def drop(self, subject: Subject) -> bool:
        """Takes a rule back, on disk too; tells whether there was one."""
        dropped = self._state.drop_rule(subject)
        self._load()
        return dropped

    def caught(self, peer_id: str, why: str) -> bool:
        """Bans the proven sender of wrong bytes, from now on; on disk when `refresh` was called. Tells whether it did.

        Who is not proven is not banned: what came in his name may be another's doing.
        """
        if not peer_id or self._ban_s <= 0:
            return False
        if not self._loaded:
            self._load()
        subject = Subject("key", peer_id)
        with self._lock:
            known = self._known.get(subject)
        if known is not None and known[0].by == "user" and known[1] > self._steady():
            return False  # who was let in by name stays in, and who was banned stays out
        rule = Rule(subject, False, self._wall(), self._ban_s, why[:BAN_WHY_CHARS_MAX], "wherry")
        with self._lock:
            self._caught.append(rule)
            del self._caught[:-AUTO_BANS_MAX]
        self._take(rule)
        return True

    def refresh(self) -> bool:
        """Writes what is not on disk yet, and reads what others wrote; tells whether anything was. Blocks; any thread.

        Raises StoreError and its kinds; what could not be written is kept for the next time.
        """
        with self._lock:
            caught = list(self._caught)
        for rule in caught:
            self._state.put_rule(rule, unless_user=True)
            with self._lock:
                if rule in self._caught:
                    self._caught.remove(rule)
        if not self._loaded:
            return bool(caught)
        moved = self._restamp()
        changes = self._state.changes()
        if changes == self._changes and not moved:
            return bool(caught)
        if ended := self._load():
            self._state.drop_ended(ended)
        if self.changed is not None:
            self.changed()
        return True

    def _restamp(self) -> bool:
        """Writes the rules' times anew if the clock was set: for who starts after us, a ban is to end when it does for us."""
        now, wall = self._steady(), self._wall()
        if abs(wall - now - self._offset) <= _JUMP_S:
            return False
        with self._lock:
            for subject, (rule, ends) in self._known.items():
                if rule.lasts_s is not None:
                    self._known[subject] = rule._replace(since=wall - (rule.lasts_s - (ends - now))), ends
            self._offset = wall - now
            changed = {subject: rule.since for subject, (rule, _) in self._known.items() if rule.lasts_s is not None}
        self._state.restamp_rules(changed)
        return True

    def _take(self, rule: Rule) -> None:
        if not self._loaded:
            self._load()
        ends = self._steady() + (math.inf if rule.lasts_s is None else rule.lasts_s)
        with self._lock:
            self._known.pop(rule.subject, None)
            self._known[rule.subject] = rule, ends
            self._rules.add(rule, ends)
        if self.changed is not None:
            self.changed()

    def _load(self) -> list[Rule]:
        """Reads the rules; gives those that have ended."""
        changes, rules = self._state.changes(), self._state.rules()
        now, wall = self._steady(), self._wall()
        ended = []
        with self._lock:
            found = {}
            for rule in [*rules, *self._caught]:
                known = self._known.get(rule.subject)
                # What was read before goes on by the steady clock; only what is new here is timed by the wall's.
                ends = known[1] if known is not None and known[0] == rule else now + remaining(rule, wall)
                found[rule.subject] = (
                    rule,
                    ends,
                )  # ended ones too, while they are on disk: a clock set back must not revive them
                if ends <= now:
                    ended.append(rule)
            self._known, self._rules = found, Rules([held for held in found.values() if held[1] > now])
            if not self._loaded:
                self._offset = wall - now
            self._changes, self._loaded = changes, True
        return ended


def _since_boot() -> float:
    """Gives the seconds since this machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _words(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds >= _LONG_S else format_duration(seconds)
