"""The composition root: configuration in, the parts of a node out. Nothing else chooses an implementation (D7)."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wherry.abc.exchange import SupportsExchange
from wherry.address import split_address, without_user
from wherry.buffers import BufferPool
from wherry.config import Config, load, resolve
from wherry.config.problem import near_miss
from wherry.dial import NAMED
from wherry.dialling import DialBudget
from wherry.env import Env
from wherry.errors import ConfigError, UsageError
from wherry.observe import quiet
from wherry.plugin.installed import OWN_DISTRIBUTION
from wherry.plugin.manager import Manager
from wherry.redaction import masked
from wherry.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from wherry.abc.cache import Cache
    from wherry.abc.chunker import Chunker
    from wherry.abc.cipher import Cipher
    from wherry.abc.compressor import Compressor
    from wherry.abc.exchange import Exchange
    from wherry.abc.locator import Locator
    from wherry.abc.policy import Policy
    from wherry.abc.transport import Channel, Transport
    from wherry.coding import Codings
    from wherry.dial import Dial
    from wherry.flow import Flow
    from wherry.observe import Emit
    from wherry.observing import Observing
    from wherry.plugin.installed import Found
    from wherry.sealing.ring import KeyRing
    from wherry.store.state import StateDB
    from wherry.traffic import Traffic
    from wherry.transfer.circle import Circle
    from wherry.transfer.unlock import Locksmith, Sealings
    from wherry.watching import Calling, Watch

_PLACE = re.compile(
    r"(?:(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])?:)?(?P<port>[0-9]{1,5})", re.ASCII
)  # an address without its scheme


class Wiring:
    """The parts of one node, each made when it is first needed. For the thread of its loop, or one thread."""

    def __init__(self, home: Path, config_file: Path | None, environ: Mapping[str, str]) -> None:
        """Reads the configuration. Raises ConfigError, which lists everything that is wrong."""
        self._home = home
        self._environ = environ
        self.manager = Manager.from_environ(environ)
        self.config: Config = load(config_file, home, environ)
        self.pool = BufferPool(self.config.memory.budget)
        self.exchange: Exchange | None = None  # what peers are told of this node, by transports that exchange
        self.dial_budget = DialBudget()
        self.emit: Emit = quiet  # for every part that has something to tell; see `observe`
        self._state: StateDB | None = None  # of the store; without one, nobody is known and nobody kept out
        self._circle: Circle | None = None
        self._diallers: dict[tuple[str, str, Dial], Transport] = {}  # by instance, scheme and policy

    def _env(self, *, allow_public: bool = False, dial: Dial = NAMED) -> Env:
        return Env(
            self._home,
            self._environ,
            allow_public=allow_public,
            dial=dial if self._state is None else dial.gated(self._gate),
            peers=self.config.peers,
            codings=lambda: self.codings,
            emit=self.emit,
            flow=self.serving,
            gate=self._gate,
        )

    @cached_property
    def traffic(self) -> Traffic:
        """The link of this node, within `[limits]`. Its flow without a name is of what is sent to others."""
        from wherry.traffic import Traffic, plan_of

        return Traffic(plan_of(self.config.limits))

    @property
    def serving(self) -> Flow:
        """What is given to others may use this of the link, but for what running transfers give on."""
        return self.traffic.flow(klass=self.config.serve.traffic_class)

    def build(self, kind: str, name: str, env: Env | None = None, given: Mapping[str, str] | None = None) -> Any:
        """Builds an instance of ``kind`` by its name in the configuration, or by a plugin's if none is called so.

        ``given`` are options, as text, that go before the configured ones. Raises PluginError, ConfigError.
        """
        instance, options = resolve(self.config, kind, name, self.manager, self._environ, given=given)
        return self.manager.build(kind, instance.plugin, options, env or self._env())

    def chosen(self, kind: str) -> Sequence[str]:
        """Gives the names of the instances in use, the preferred one first."""
        return self.config.use[kind]

    # The parts

    def observe(self) -> Observing | None:
        """Starts the observers in use; from here on they are told. None: there are none. Close it when all else is closed."""
        if not self.chosen("observer"):
            return None
        from wherry.observing import observing

        found = observing(self.chosen("observer"), lambda name: self.build("observer", name))
        self.emit = found.emit if found is not None else quiet
        return found

    def store(self, *, writable: bool = True) -> Store:
        """Opens the store; ``writable``: whether its home is."""
        store = Store(
            self._home,
            self._fenced_cache,
            codings=lambda: self.codings,
            sealing=lambda scheme: self.sealings.of(scheme),  # noqa: PLW0108 - the sealings are made when first needed
            hashed=self.config.serve.verify == "hash",
            writable=writable,
            emit=self.emit,
        )
        self._state = store.state
        return store

    @property
    def circle(self) -> Circle:
        """Whom this node knows, remembers and keeps out; made when first asked for. `close` it before the store."""
        if self._circle is None:
            from wherry.transfer.circle import Circle  # who only adds meets nobody

            if self._state is None:
                raise UsageError("peers are known where a store is open")
            self._circle = Circle(self._home, self._state, ban_s=self.config.peering.ban)
        return self._circle

    def _gate(self, ip: str, peer_id: str) -> str:
        return "" if self._state is None else self.circle.gate(ip, peer_id)

    def close(self) -> None:
        """Ends what was made here and does not end by itself; idempotent. Blocks."""
        self._state = None
        if "_watch" in self.__dict__:  # it was made
            self._watch.close()
        if self._circle is not None:
            self._circle.close()

    @cached_property
    def _watch(self) -> Watch:
        from wherry.watching import Watch  # who uses none of what it watches needs no thread

        return Watch()

    def _stranger(self, kind: str, name: str) -> bool:
        return self._found(kind, name).distribution != OWN_DISTRIBUTION

    def _found(self, kind: str, name: str) -> Found:
        known = self.config.instances.get((kind, name))
        return self.manager.found(kind, known.plugin if known is not None else name)

    def _calling(self, kind: str, name: str, built: object) -> Calling:
        """Gives what to enter around each call of a stranger's instance, so that one that does not come back is named."""
        code = f"{type(built).__module__}.{type(built).__qualname__}"
        leave_out = f"WHERRY_DISABLE_PLUGINS={self._found(kind, name).name} leaves it out"
        return self._watch.of(f"the {kind} {name} ({code})", f"choose another under [{kind}], or {leave_out}")

    def _fenced_cache(self) -> Cache:
        name = self.chosen("cache")[0]
        return self._fenced(self.cache(name), name)

    def _fenced(self, cache: Cache, name: str) -> Cache:
        from wherry.store.fence import FencedCache  # who only fetches into files asks no cache

        return FencedCache(cache, name, self._calling("cache", name, cache) if self._stranger("cache", name) else None)

    def cache(self, name: str, *, within: tuple[str, ...] = ()) -> Cache:
        """Builds a cache; ``within`` are those that it is to be a part of. Raises ConfigError for a circle of caches."""
        if name in within:
            circle = ", made of ".join([*within[within.index(name) :], name])
            raise ConfigError(f"a cache is made of itself: {circle}", hint=f"choose other caches in [cache.{within[-1]}]")
        env = replace(self._env(), cache=lambda other: self.cache(other, within=(*within, name)))
        cache: Cache = self.build("cache", name, env)
        if within and self._stranger("cache", name):  # it is blamed, and not the whole
            return self._fenced(cache, name)
        return cache

    def chunker(self, text: str | None = None) -> Chunker:
        """Builds the chunker that ``text`` names, ``NAME`` or ``NAME:SIZE``; the configured one for None."""
        from wherry.chunking import LEAF_CHOICES, FixedChunker

        asked = self.chosen("chunker")[0] if text is None else text
        name, colon, size = asked.partition(":")
        if not name or (colon and not size):
            raise UsageError(f"{asked!a} names no chunker", hint="NAME or NAME:SIZE, such as fixed:2MiB or fastcdc")
        known = self.config.instances.get(("chunker", name))
        if name == "fixed" and not size and (known is None or (known.plugin == name and not known.entries)):
            return FixedChunker(LEAF_CHOICES[0])  # core's own with its defaults: looking it up is a twentieth of a short add
        chunker: Chunker = self.build("chunker", name, given={"size": size} if size else None)
        if not self._stranger("chunker", name) or isinstance(chunker, FixedChunker):
            return chunker
        from wherry.watching import watched_chunker

        return watched_chunker(chunker, self._calling("chunker", name, chunker))

    def cipher(self, name: str | None = None) -> Cipher:
        """Builds a cipher: the configured one for None."""
        name = name or self.chosen("cipher")[0]
        cipher: Cipher = self.build("cipher", name)
        if not self._stranger("cipher", name):
            return cipher
        from wherry.watching import watched_cipher

        return watched_cipher(cipher, self._calling("cipher", name, cipher))

    def compressor(self, name: str) -> Compressor:
        """Builds a compressor."""
        compressor: Compressor = self.build("compressor", name)
        if not self._stranger("compressor", name):
            return compressor
        from wherry.watching import watched_compressor

        return watched_compressor(compressor, self._calling("compressor", name, compressor))

    @cached_property
    def sealings(self) -> Sealings:
        """How blocks are sealed and opened, by scheme."""
        from wherry.transfer.unlock import Sealings

        return Sealings(self.known_cipher, lambda: self.codings)

    def known_cipher(self, name: str) -> Cipher:
        """Builds the cipher that a dataset names: one of wherry's own, or one that is configured.

        A stranger's dataset must not choose which installed package runs. Raises PluginError, UsageError.
        """
        configured = {instance.plugin for instance in self.config.instances.values() if instance.kind == "cipher"}
        if "." in name and name not in configured:
            line = f'[cipher]\nuse = "{name}"'
            raise UsageError(
                f"this dataset is sealed with the cipher {name!r}, which is not configured", hint=f"write {line!r}"
            )
        return self.cipher(name)

    @cached_property
    def ring(self) -> KeyRing:
        """The keys of this home."""
        from wherry.sealing.passphrase import asker
        from wherry.sealing.ring import KeyRing

        return KeyRing(self._home, asker(self._environ))

    @cached_property
    def locksmith(self) -> Locksmith:
        """Opens encrypted datasets with the keys of this home."""
        from wherry.transfer.unlock import Locksmith

        return Locksmith(lambda: self.ring, self.sealings)

    @cached_property
    def codings(self) -> Codings:
        """The codings of this node: the configured compressor to code with; to decode, wherry's own and the configured ones.

        A stranger's bytes must not choose which installed package runs, so others have to be named in the configuration.
        Raises PluginError if the one to code with is not there: what was chosen and is not used would go unnoticed.
        """
        from wherry.coding import Codings, Form

        preferred = self.config.instances["compressor", self.chosen("compressor")[0]]
        self.manager.get("compressor", preferred.plugin)
        configured = [one for one in self.config.instances.values() if one.kind == "compressor"]
        forms = [Form(one.name, one.plugin, tuned=bool(one.entries)) for one in configured]
        taken = {one.instance for one in forms}
        forms += [Form(name, name) for name in self.manager.own_names("compressor") if name not in taken]
        return Codings(preferred.name, self.compressor, forms)

    def policy(self) -> tuple[str, Policy]:
        """Builds the policy; gives it behind what its faults are said of: its name in the configuration, and whose it is."""
        name = self.chosen("policy")[0]
        policy: Policy = self.build("policy", name)
        plugin = self.config.instances["policy", name].plugin
        found = self.manager.found("policy", plugin)
        of = "" if found.distribution == OWN_DISTRIBUTION else f"of {found.distribution} {found.version}"
        by = "" if plugin == name else f"made by {plugin!r}"
        whose = " ".join(filter(None, (by, of)))
        return f"the policy {name!r}" + (f" ({whose})" if whose else ""), policy

    def locators(self) -> list[tuple[str, Locator]]:
        """Builds the locators in use, with their names."""
        return [(name, self.build("locator", name)) for name in self.chosen("locator")]

    def transport(self, address: str, *, allow_public: bool = False, dial: Dial = NAMED) -> Transport:
        """Builds the transport for ``address``: ``NAME+SCHEME:...`` names one, else the first in use that speaks SCHEME.

        It takes the address without ``NAME+``. Raises UsageError, also for an address that has a password in it; PluginError.
        """
        name, plain = split_address(without_user(address))
        scheme, colon, _ = plain.partition(":")
        tried = []
        env = self._env(allow_public=allow_public, dial=dial)
        if name:
            return self._exchanging(self._named(name, scheme.lower(), env))
        for name in self.chosen("transport") if colon else ():
            transport: Transport = self.build("transport", name, env)
            if scheme.lower() in transport.schemes:
                return self._exchanging(transport)
            tried.append(f"{name} ({', '.join(sorted(transport.schemes))})")
        if (place := _PLACE.fullmatch(plain)) is not None:
            hint = f"write http://{place['host'] or '127.0.0.1'}:{place['port']}, or another scheme in the place of http"
        elif not colon:
            hint = "name a configured peer, or write an address such as http://HOST:PORT or file:///PATH"
        elif scheme.lower() in self._installed(dial):
            hint = f"the transport {scheme.lower()!r} is installed; add it to [transport] use: {self._use(scheme.lower())}"
        else:
            hint = f"configured transports: {', '.join(tried)}; choose others in [transport] use"
        raise UsageError(f"no transport speaks {masked(address)!r}", hint=hint)

    def _exchanging(self, transport: Transport) -> Transport:
        """Tells a transport that can exchange for which node it does."""
        if self.exchange is not None and isinstance(transport, SupportsExchange):
            transport.exchange(self.exchange)
        return transport

    def _named(self, name: str, scheme: str, env: Env) -> Transport:
        """Builds the transport that an address names: one that is configured, for strangers write addresses too."""
        known = {*self.chosen("transport"), *(its for kind, its in self.config.instances if kind == "transport")}
        if name not in known:
            raise self._unknown(name, sorted(known), env.dial)
        transport: Transport = self.build("transport", name, env)
        if scheme not in transport.schemes:
            spoken = " or ".join(f"{name}+{one}:..." for one in sorted(transport.schemes))
            raise UsageError(f"the transport {name} does not speak {scheme!r}", hint=f"write {spoken}")
        return transport

    def _unknown(self, name: str, known: Sequence[str], dial: Dial) -> UsageError:
        """Says what to do about a name in an address that is no instance of this node. The address may hold a secret."""
        installed = self._installed(dial)
        if name in installed:
            line = self._use(name)
            words = f"the transport {name!r} ({name}+...) is installed and not in use"
            return UsageError(words, hint=f"write under [transport]: {line}")
        near = near_miss(name, sorted({*known, *installed}))
        return UsageError(
            f"there is no transport {name!r} ({name}+...)" + (f"; did you mean {near!r}?" if near else ""),
            hint=f"configured: {', '.join(known)}; installed: {', '.join(installed)}",
        )

    def _installed(self, dial: Dial) -> list[str]:
        """Names the transports that could be in use. An address that a locator gave imports nobody else's package for that."""
        return self.manager.names("transport") if dial.reach == "named" else self.manager.own_names("transport")

    def _use(self, name: str) -> str:
        """Gives the line of the table [transport] that puts one more to use."""
        import json  # quotes as TOML does

        return f"use = {json.dumps([*self.chosen('transport'), name])}"

    def _dialler(self, address: str, dial: Dial) -> Transport:
        """Gives the transport that dials ``address``, built once: some share connections, or remember who asked for a rest.

        Without a node to exchange for one that can exchange is built anew: another one may come, and it would be that one's.
        """
        found = self.transport(address, dial=dial)
        if self.exchange is None and isinstance(found, SupportsExchange):
            return found
        name, plain = split_address(address)
        return self._diallers.setdefault((name, plain.partition(":")[0].lower(), dial), found)

    def connect(self, address: str, dial: Dial = NAMED) -> AbstractAsyncContextManager[Channel]:
        """Opens a channel to ``address`` with its transport, which connects only where ``dial`` allows."""
        from wherry.transfer.guard import guarded

        def connect(address: str) -> AbstractAsyncContextManager[Channel]:
            return guarded(self._dialler(address, dial), split_address(address)[1])

        return (connect if self._state is None else self.circle.connecting(connect))(address)
