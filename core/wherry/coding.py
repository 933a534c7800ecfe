"""Codings: compressors around blocks, chosen and bounded by core (specs/0015).

Nothing here is believed: a coded block is decoded within the size that is known beforehand, and whatever a compressor raises
becomes one typed error. Core hashes what comes out, as it does with every block.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.compressor import Compressor, SupportsVariant
from wherry.errors import DecodeError, WherryError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from wherry.cid import Bytes

PLAIN: Final = "identity"  # the compressor that codes nothing: it is no coding, so nothing is ever called coded by it
CODED_BYTES_MIN: Final = 512  # of a plain block; a smaller one saves less than its entry in a frame or an index costs
RATIO_MAX: Final = 0.97  # coded bytes a plain byte; what saves less costs every reader more than it saves
SAVED_BYTES_MIN: Final = 64  # so that a coded block in a frame is shorter than a plain one, headers and all (specs/0008 §3.1)
_SAMPLE_BYTES: Final = 4096
_SAMPLES: Final = 3  # at the beginning, in the middle and at the end
_SAMPLED_MIN: Final = 8 * _SAMPLES * _SAMPLE_BYTES  # for a smaller block a sample costs as much as it may save


class Identity(Compressor):
    """Codes nothing."""

    levels = (0,)

    def compress(self, data: Bytes, *, level: int | None = None) -> bytes:
        """See `Compressor.compress`."""
        del level
        return bytes(data)

    def decompress_into(self, coded: Bytes, view: memoryview) -> None:
        """See `Compressor.decompress_into`."""
        if len(coded) != len(view):
            raise DecodeError(f"coded as identity, {len(coded)} bytes stand for {len(view)}")
        view[:] = coded


class Form(NamedTuple):
    """A compressor that this node has."""

    instance: str  # its name in the configuration
    format: str  # its provider's name: what the coded bytes are called
    tuned: bool = False  # whether it has options, and so perhaps a variant: it is built to be asked


class _Known(NamedTuple):
    """Who decodes what has a name."""

    instance: str
    codes: bool  # whether what it codes has that name too; with a variant it decodes the plain name, and codes the other


class Codings:
    """What a node codes with, and what it can decode. Safe for threads; a compressor is built when it is first needed."""

    def __init__(
        self,
        preferred: str = PLAIN,
        build: Callable[[str], Compressor] | None = None,
        forms: Sequence[Form] = (),
    ) -> None:
        """``preferred`` is the instance to code with, ``build`` makes one by its instance's name.

        ``forms`` are all that there are; without them, ``preferred`` is the only one, and of its own format.
        """
        self.preferred = preferred
        self.broken: dict[str, str] = {}  # compressors that are not coded with any more, and what they did
        self._build = build
        self._forms = sorted(forms or [Form(preferred, preferred, tuned=True)], key=lambda form: form.instance != preferred)
        self._built: dict[str, Compressor] = {}
        self._names: dict[str, _Known] | None = None
        self._lock = threading.RLock()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of codings that can be decoded here, the preferred first.

        A name is a compressor's, or ``NAME+VARIANT`` (`SupportsVariant`). Raises ConfigError and PluginError for a configured
        compressor that cannot be built.
        """
        return tuple(self._known())

    def common(self, offered: Collection[str]) -> str | None:
        """Gives the name, out of ``offered``, of the coding to code with; None if there is none, or nothing is to be coded."""
        if self.preferred == PLAIN:
            return None
        known = self._known()
        return next((name for name in known if name in offered and known[name].codes and name not in self.broken), None)

    def levels(self, name: str) -> tuple[int, ...]:
        """Gives the levels of a coding, from the fastest to the densest; none if it cannot be coded with (`broken`)."""
        try:
            return tuple(map(int, self._compressor(name).levels))
        except Exception as problem:  # noqa: BLE001 - a stranger's code; blocks go plain
            self._note(name, problem)
            return ()

    def encode(self, data: Bytes, *, name: str | None = None, level: int | None = None) -> tuple[str, bytes] | None:
        """Codes a block; gives the coding's name and the coded bytes. None: leave it plain, for it would hardly shrink.

        ``name`` is one of `names`, by default the preferred one; ``level`` one of its levels, by default as configured. A
        sample decides first, so what does not shrink costs little. Never raises for a compressor's faults: one that cannot be
        built, raises, or gives something that is not bytes, is noted in `broken` and not coded with any more.
        """
        if len(data) < CODED_BYTES_MIN or (name is None and self.preferred == PLAIN):
            return None
        if name is None:
            name = self.names[0]
        if name in self.broken or not self._known()[name].codes:
            return None
        try:
            compressor = self._compressor(name)
            if len(data) >= _SAMPLED_MIN and not _shrinks(compressor, data):
                return None
            coded: object = compressor.compress(data, level=level)
            if not isinstance(coded, bytes) or not coded:
                raise TypeError(f"it gave {ascii(coded)[:60]}")
        except Exception as problem:  # noqa: BLE001 - a stranger's code; the block goes plain
            self._note(name, problem)
            return None
        if len(coded) > RATIO_MAX * len(data) or len(data) - len(coded) < SAVED_BYTES_MIN:
            return None
        return name, coded

    def decode_into(self, name: str, coded: Bytes, view: memoryview) -> None:
        """Fills ``view``, which has the plain size, with what ``coded`` stands for. Raises DecodeError, and nothing else.

        ``coded`` are foreign bytes, ``name`` a foreign name. The memory taken beyond ``view`` is the compressor's window.
        """
        if not self._has(name):
            raise DecodeError(f"a block is coded by {ascii(name)[:80]}, which is not known here", hint=self._hint())
        if not coded or not view:
            raise DecodeError(f"coded by {name}, {len(coded)} bytes stand for {len(view)}")
        try:
            self._compressor(name).decompress_into(coded, view)
        except DecodeError:
            raise
        except Exception as problem:
            raise DecodeError(f"the compressor {name!r} failed: {type(problem).__name__}: {str(problem)[:200]}") from problem

    def _note(self, name: str, problem: Exception) -> None:
        self.broken[name] = f"{type(problem).__name__}: {str(problem)[:200]}"

    def _has(self, name: str) -> bool:
        try:
            return name in self._known()
        except WherryError as problem:
            raise DecodeError(f"a configured compressor cannot be built: {problem.message}") from problem

    def _hint(self) -> str:
        return f"known: {', '.join(self._known()) or 'none'}; others are named in [compressor]"

    def _known(self) -> dict[str, _Known]:
        with self._lock:
            if self._names is None:
                names: dict[str, _Known] = {}
                for form in self._forms:
                    if form.format == PLAIN:
                        continue
                    variant = self._variant(form)
                    if variant:
                        names.setdefault(f"{form.format}+{variant}", _Known(form.instance, codes=True))
                        names.setdefault(form.format, _Known(form.instance, codes=False))
                    elif form.format not in names or not names[form.format].codes:
                        names[form.format] = _Known(form.instance, codes=True)
                self._names = names
            return self._names

    def _variant(self, form: Form) -> str:
        if not form.tuned:
            return ""
        built = self._instance(form.instance)
        return built.variant if isinstance(built, SupportsVariant) else ""

    def _compressor(self, name: str) -> Compressor:
        return self._instance(self._known()[name].instance)

    def _instance(self, instance: str) -> Compressor:
        with self._lock:
            found = self._built.get(instance)
            if found is None:
                found = Identity() if self._build is None else self._build(instance)
                self._built[instance] = found
            return found


def _shrinks(compressor: Compressor, data: Bytes) -> bool:
    """Tells by three slices, coded at the fastest level, whether it is worth while to code the whole."""
    step = (len(data) - _SAMPLE_BYTES) // (_SAMPLES - 1)
    with memoryview(data) as view:
        sample = b"".join([view[at * step : at * step + _SAMPLE_BYTES] for at in range(_SAMPLES)])
    return len(compressor.compress(sample, level=compressor.levels[0])) <= RATIO_MAX * len(sample)
