"""The verbs of encryption: for whom a dataset is sealed, and who else may open it (specs/0016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wherry.errors import NoKey, NotFound, UsageError
from wherry.offload import in_thread
from wherry.results import GrantResult, RewrapResult
from wherry.session.given import fitting
from wherry.session.parts import Parts
from wherry.session.telling import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.chunker import Chunker
    from wherry.block import Block
    from wherry.cid import CID
    from wherry.observe import Observe
    from wherry.sealing.header import Header
    from wherry.sealing.identity import Identity, Recipient
    from wherry.sealing.keyfile import DomainKey
    from wherry.sealing.ring import KeyRing
    from wherry.transfer.publish import Publication

DEFAULT_DOMAIN = "default"  # seals what is meant for recipients, where no key is named; made when first needed
DEFAULT_SENDER = "me"  # signs grants, where no identity is named; made when first needed


class Encryption(NamedTuple):
    """How an `add` encrypts."""

    key: str | None = None  # name of a domain key; None: DEFAULT_DOMAIN
    recipients: Sequence[str] = ()  # texts, or names in the key ring
    sender: str | None = None  # name of the identity that signs for them
    random_keys: bool = False
    pad: bool = False
    compress: bool = False  # leaves are compressed before they are sealed, and the sealed blocks kept


class Granting(Parts):
    """Grant, and what `add` and `keys rotate` need of it."""

    @told
    async def grant(
        self,
        what: str | CID,
        to: Sequence[str],
        *,
        sender: str | None = None,
        sources: Sequence[str] = (),
        observe: Observe | None = None,
    ) -> GrantResult:
        """Lets recipients open an encrypted dataset; gives the CID of its new header. The sealed blocks stay as they are.

        Raises NoKey if this home cannot open it, UsageError for an open dataset, what `KeyRing` raises.
        """
        if not to:
            raise UsageError("grant needs somebody to grant to", hint="--to RECIPIENT, as `wherry keys show` prints it")
        async with self._reading(what, sources, observe) as (nodes, _, _):
            cid, unlocked = self._parse(what)[0], nodes.unlocked
            if unlocked is None:
                raise UsageError(
                    f"{what} is not encrypted: whoever has its CID can read it",
                    hint="`wherry add --encrypt KEY` makes a dataset that is",
                )

            def work() -> Header:
                ring = self._wiring.ring
                header, signer = unlocked.header, sender_of(ring, sender)
                for text in to:
                    header = header.for_recipient(unlocked.key, ring.recipient(text), signer)
                return header

            header = await in_thread(work)
            made = await in_thread(lambda: self._keep_header(cid, header))
            return GrantResult(cid=str(made), before=str(cid), recipients=len(to))

    @told
    async def rewrap(self, name: str) -> RewrapResult:
        """Wraps the keys of all datasets of a key domain under its newest wrapping key; no data is sealed again.

        Each gets a new header, and so a new CID. The old ones are served on: what somebody could open, they can go on opening.
        """

        def work() -> list[tuple[str, str]]:
            domain = self._wiring.ring.domain(name)
            pairs = []
            for cid in dict.fromkeys(row.cid for row in self._store.state.roots()):
                block = self._store.nodes.get_many([cid]).get(cid)
                if block is None or not self._wiring.locksmith.knows(block):
                    continue
                header, key = _domain_key_of(block, domain)
                if key is None:
                    continue
                fresh = header.without_wraps("key").for_key(key, domain.wraps[0].key)
                made = self._keep_header(cid, fresh)
                if made != cid:
                    for row in self._store.state.roots(cid):  # the new root stands for the same files
                        self._store.state.drop_root(cid, row.path)
                    pairs.append((str(cid), str(made)))
            return pairs

        return RewrapResult(key=name, datasets=[list(pair) for pair in await in_thread(work)])

    def _keep_header(self, before: CID, header: Header) -> CID:
        block = header.block()
        self._store.nodes.put_many([block])
        for row in self._store.state.roots(before):
            self._store.state.put_root(block.cid, row.path, row.how, row.options)
        return block.cid


def _domain_key_of(block: Block, domain: DomainKey) -> tuple[Header, bytes | None]:
    from wherry.sealing.header import decode

    header = decode(block)
    try:
        return header, header.open([wrap.key for wrap in domain.wraps], []).key
    except NoKey:
        return header, None


def sender_of(ring: KeyRing, name: str | None) -> Identity:
    """Gives the identity that signs: the one named, or DEFAULT_SENDER, which is made if there is none of any name."""
    if name is not None:
        return ring.identity(name)
    try:
        return ring.identity(DEFAULT_SENDER)
    except NotFound:
        first = next(ring.identities(), None)
        return first if first is not None else _made_identity(ring)


def _made_identity(ring: KeyRing) -> Identity:
    ring.new(DEFAULT_SENDER, "identity")
    return ring.identity(DEFAULT_SENDER)


def domain_of(ring: KeyRing, name: str | None) -> DomainKey:
    """Gives the key domain that is named, or DEFAULT_DOMAIN, which is made when first needed."""
    if name is not None:
        return ring.domain(name)
    try:
        return ring.domain(DEFAULT_DOMAIN)
    except NotFound:
        ring.new(DEFAULT_DOMAIN, "domain")
        return ring.domain(DEFAULT_DOMAIN)


def _coding(parts: Parts) -> str:
    names = parts._wiring.codings.names if parts._wiring.chosen("compressor")[0] != "identity" else ()
    if not names:
        raise UsageError("--compress needs a compressor, and none is configured", hint='write [compressor] use = "zstd"')
    return names[0]


def publication(parts: Parts, encryption: Encryption, chunker: Chunker) -> tuple[Publication, Chunker]:
    """Makes what an encrypting `add` needs, and the chunker that it may cut with. Blocks its thread."""
    from wherry.abc.chunker import SupportsKey
    from wherry.chunking import FixedChunker
    from wherry.sealing.seal import Scheme, check_leaf_bytes, expand
    from wherry.transfer.publish import Publication

    if encryption.pad and encryption.compress:
        raise UsageError("--pad hides lengths and --compress tells them", hint="choose one of them")
    ring = parts._wiring.ring
    texts = fitting("add", "recipients", "Sequence[str]", encryption.recipients)
    recipients: list[Recipient] = [ring.recipient(text) for text in texts]
    domain = domain_of(ring, encryption.key)
    sender = sender_of(ring, encryption.sender) if recipients else None
    check_leaf_bytes(chunker.leaf_bytes_max)
    if isinstance(chunker, SupportsKey):
        chunker = chunker.keyed(expand(domain.content, b"wherry chunker", 32))
    elif not isinstance(chunker, FixedChunker):
        raise UsageError(
            f"the chunker {chunker.name} cuts by content, and takes no key: the lengths of leaves would tell which file it is",
            hint="choose --chunker fixed",
        )
    scheme = Scheme(
        cipher=parts._wiring.config.instances["cipher", parts._wiring.chosen("cipher")[0]].plugin,
        mode="random" if encryption.random_keys else "domain",
        pad="padme" if encryption.pad else "none",
        coding=_coding(parts) if encryption.compress else "",
    )
    return Publication(parts._wiring.sealings.of(scheme), domain, recipients, sender, parts._store), chunker
