"""The composition root: configuration in, the parts of a node out. Nothing else chooses an implementation (D7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.buffers import BufferPool
from wherry.config import Config, load, resolve
from wherry.env import Env
from wherry.errors import UsageError
from wherry.plugin.manager import Manager
from wherry.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from wherry.abc.cache import Cache
    from wherry.abc.transport import Channel, Transport


class Wiring:
    """The parts of one node, each made when it is first needed."""

    def __init__(self, home: Path, config_file: Path | None, environ: Mapping[str, str]) -> None:
        """Reads the configuration. Raises ConfigError, which lists everything that is wrong."""
        self._home = home
        self._environ = environ
        self.manager = Manager.from_environ(environ)
        self.config: Config = load(config_file, home, environ)
        self.pool = BufferPool(self.config.memory.budget)

    def store(self) -> Store:
        """Opens the store."""
        return Store(self._home, self._cache, hashed=self.config.serve.verify == "hash")

    def _cache(self) -> Cache:
        instance = self.config.selected("cache")[0]
        options = resolve(self.config, "cache", instance.name, self.manager, self._environ)
        return self.manager.build("cache", instance.plugin, options, Env(self._home, self._environ))

    def transport(self, address: str, *, allow_public: bool = False) -> Transport:
        """Builds the first configured transport that speaks the scheme of ``address``. Raises UsageError, PluginError."""
        scheme, colon, _ = address.partition(":")
        tried = []
        env = Env(self._home, self._environ, allow_public)
        for instance in self.config.selected("transport") if colon else ():
            options = resolve(self.config, "transport", instance.name, self.manager, self._environ)
            transport = self.manager.build("transport", instance.plugin, options, env)
            if scheme.lower() in transport.schemes:
                return transport
            tried.append(f"{instance.name} ({', '.join(sorted(transport.schemes))})")
        hint = "name a configured peer, or write an address such as http://HOST:PORT or file:///PATH"
        if colon:
            hint = f"configured transports: {', '.join(tried)}; choose others in [transport] use"
        raise UsageError(f"no transport speaks {address!r}", hint=hint)

    def connect(self, address: str) -> AbstractAsyncContextManager[Channel]:
        """Opens a channel to ``address`` with its transport."""
        return self.transport(address).connect(address)
