"""The suites of a plugin that is installed, made from its provider: what `wherry plugins check` runs (specs/0006 §13).

A provider says how its plugin is built, so most suites need nothing more. Where one does (a transport that cannot listen, a
cache whose quota has another name), the plugin's author puts classes into a module ``wherry_check`` beside ``plugin.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wherry.config import load, resolve
from wherry.env import Env
from wherry.errors import ConfigError
from wherry.plugin.manager import Manager
from wherry.plugin.options import options_of
from wherry.store.home import default_home
from wherry.testing.expect import expect
from wherry.testing.outcome import skip_unless

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wherry.config import Config
    from wherry.plugin.options import Option

AUTHORS_MODULE: Final = "wherry_check"
QUOTA: Final = "max_bytes"  # the option of a cache that its suite sets
TIMEOUT_S: Final = 1.0  # given to options whose names end in "timeout": suites wait for them
WRITERS: Final = frozenset({"cache", "observer"})  # a path that the user configured for these has the user's data in it
# Not for a plugin's module to import, since it is imported whenever plugins are listed.
HEAVY: Final = ("aiohttp", "asyncio", "cryptography", "nacl", "numpy", "pytest", "requests", "sqlite3", "ssl")


@dataclass(frozen=True)
class Subject:
    """A provider that is checked, and how it is built for that: in a home of the check's own, with short time-outs."""

    kind: str
    name: str  # of the provider, or of an instance in the configuration
    config: Config
    manager: Manager
    environ: Mapping[str, str]

    @classmethod
    def of(cls, kind: str, name: str, *, configured: bool = False) -> Subject:
        """Takes the options of the user's configuration if ``configured``, else the defaults. Raises ConfigError."""
        manager = Manager.from_environ(os.environ)
        if configured:
            environ: Mapping[str, str] = dict(os.environ)
            return cls(kind, name, load(None, default_home(environ), environ), manager, environ)
        with tempfile.TemporaryDirectory() as empty:
            return cls(kind, name, load(None, Path(empty), {}), manager, {})

    @property
    def plugin(self) -> str:
        """The provider's name."""
        instance = self.config.instances.get((self.kind, self.name))
        return instance.plugin if instance is not None else self.name

    @property
    def module(self) -> str:
        """The module of the provider's entry point."""
        return self.manager.found(self.kind, self.plugin).value.partition(":")[0]

    @property
    def options(self) -> dict[str, Option]:
        """The provider's options."""
        return {one.name: one for one in options_of(self.manager.get(self.kind, self.plugin).options)}

    def build(self, home: Path, **given: str) -> Any:
        """Builds one, with ``given`` options besides. Raises PluginError, ConfigError."""
        instance = self.config.instances.get((self.kind, self.name))
        chosen = set(instance.entries) if instance is not None else set()
        for name, one in self.options.items():
            if one.form == "duration" and name.endswith("timeout") and not one.many and name not in chosen:
                given.setdefault(name, str(max(TIMEOUT_S, one.minimum or 0.0)))
            if one.form == "path" and name in chosen and self.kind in WRITERS:
                given.setdefault(name, str(home / name))
        _, options = resolve(self.config, self.kind, self.name, self.manager, self.environ, given=given)
        env = Env(home, self.environ, peers=self.config.peers, cache=lambda other: self._cache(other, home))
        try:
            return self.manager.build(self.kind, self.plugin, options, env)
        except ConfigError as problem:
            skip_unless(None, f"it must be configured first, and is checked then with --configured: {problem.message}")

    def _cache(self, name: str, home: Path) -> Any:
        """Builds a cache that the checked one is made of."""
        return Subject("cache", name, self.config, self.manager, self.environ).build(_folder(home, name))


def suites(kind: str, name: str, *, configured: bool = False) -> dict[str, type]:
    """Gives classes for pytest, by name: the author's own if there are such (they know no configuration), or the kind's.

    Raises PluginError, ConfigError, and what importing the author's module raises.
    """
    subject = Subject.of(kind, name, configured=configured)
    contract = contract_of(kind)
    found: dict[str, type] = {"TestProvider": type("TestProvider", (ProviderChecks,), {"subject": subject})}
    authors = None if configured else authors_module(subject.module)
    own = _own(import_module(authors), contract, subject.plugin) if authors is not None else {}
    return found | (own or {f"Test{kind.capitalize()}": _MAKERS.get(kind, _plain)(subject)})


def contract_of(kind: str) -> type:
    """Gives what the suites of a kind are subclasses of."""
    if kind == "transport":  # a transport that cannot listen has a suite too
        from wherry.testing.source import SourceContract

        return SourceContract
    contract: type = getattr(import_module(f"wherry.testing.{kind}"), f"{kind.capitalize()}Contract")
    return contract


def authors_module(module: str) -> str | None:
    """Gives the name of the module beside ``module`` in which its author put suites; None if there is none."""
    package = module.rpartition(".")[0]
    beside = f"{package}.{AUTHORS_MODULE}"
    return beside if package and find_spec(beside) is not None else None


def _own(module: object, contract: type, plugin: str) -> dict[str, type]:
    """Gives the suites in an author's module; one with a ``plugin`` of its own is for the provider of that name alone."""
    classes = {name: value for name, value in vars(module).items() if name.startswith("Test") and isinstance(value, type)}
    return {
        name: value
        for name, value in classes.items()
        if issubclass(value, contract) and getattr(value, "plugin", plugin) == plugin
    }


class ProviderChecks:
    """What every provider must do, whatever its kind."""

    subject: Subject

    def test_it_builds_with_its_defaults(self, tmp_path: Path) -> None:
        """And again: instances may have other options and homes."""
        built = []
        for name in ("one", "two"):
            built.append(self.subject.build(_folder(tmp_path, name)))
            getattr(built[-1], "close", bool)()  # before the next: both may want the same port
        expect(built[0] is not built[1], "it gave one object twice")

    def test_its_module_is_light(self) -> None:
        """To list plugins, wherry imports the modules of all that are installed."""
        code = "import sys; __import__(sys.argv[1]); print(*[name for name in sys.argv[2:] if name in sys.modules])"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        command = [sys.executable, "-c", code, self.subject.module, *HEAVY]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
        expect(done.returncode == 0, f"{self.subject.module} does not import: {done.stderr}")
        expect(not done.stdout.split(), f"importing {self.subject.module} imports {done.stdout.strip()}: do it in build")

    def test_its_options_are_described(self) -> None:
        """Each has a help text of one line."""
        for name, one in self.subject.options.items():
            expect(bool(one.help.strip()) and "\n" not in one.help, f"the option {name} has no help of one line")


def _folder(above: Path, name: str) -> Path:
    place = above / name
    place.mkdir(exist_ok=True)
    return place


def _plain(subject: Subject) -> type:
    """Makes the suite of a kind whose factory takes nothing: each time one is built in a home of its own."""

    def setup_method(self: Any) -> None:
        self.homes = tempfile.TemporaryDirectory(prefix="wherry-check-")

    def make(self: Any) -> Any:
        return subject.build(Path(tempfile.mkdtemp(dir=self.homes.name)))

    def teardown_method(self: Any) -> None:
        self.homes.cleanup()

    methods = {f"make_{subject.kind}": make, "setup_method": setup_method, "teardown_method": teardown_method}
    return type(f"Test{subject.kind.capitalize()}", (contract_of(subject.kind),), methods)


def _cache(subject: Subject) -> type:
    from wherry.testing.cache import CacheContract

    class TestCache(CacheContract):
        """The suite of caches."""

        def make_cache(self, folder: Path, max_bytes: int) -> Any:
            """See `CacheContract.make_cache`."""
            skip_unless(QUOTA in subject.options, f"it has no option {QUOTA}; {_ask_author(subject)}")
            return subject.build(folder, **{QUOTA: str(max_bytes)})

    return TestCache


def _transport(subject: Subject) -> type:
    from wherry.testing.source import SourceContract
    from wherry.testing.transport import TransportContract

    with tempfile.TemporaryDirectory() as folder:
        transport = subject.build(Path(folder))
    scheme = min(transport.schemes, default="")

    def make_transport(self: Any) -> Any:
        del self  # a transport keeps nothing of one check for the next
        return subject.build(Path(tempfile.gettempdir()) / "wherry-check-no-home")

    def offering(self: Any, folder: Path, files: object) -> Any:
        del self, folder, files
        skip_unless(None, f"it cannot listen; {_ask_author(subject)}")

    def listen_address(self: Any) -> str:
        del self
        return f"{scheme}://127.0.0.1:0"

    def dial(self: Any, host: str, port: int) -> str:
        del self
        return f"{scheme}://{host}:{port}"

    methods: dict[str, object] = {"plugin_module": subject.module, "make_transport": make_transport}
    if not hasattr(transport, "listen"):
        return type("TestTransport", (SourceContract,), methods | {"offering": offering})
    return type("TestTransport", (TransportContract,), methods | {"listen_address": listen_address, "dial": dial})


def _ask_author(subject: Subject) -> str:
    package = subject.module.rpartition(".")[0]
    return f"its author can say how in {package}.{AUTHORS_MODULE} (specs/0006 §13)"


def _locator(subject: Subject) -> type:
    def knowing(self: Any, cid: object, addresses: object) -> Any:
        del self, cid, addresses
        skip_unless(None, f"nobody but its author can tell it of peers; {_ask_author(subject)}")

    return type("TestLocator", (contract_of("locator"),), {"knowing": knowing})


_MAKERS: Final[dict[str, Callable[[Subject], type]]] = {"cache": _cache, "locator": _locator, "transport": _transport}
