"""TLS 1.3 between nodes: a certificate made of the node's own key, and pinned by it (specs/0004 §6).

No authority signs it and no name is in it: who dials compares the key with the id in the address. TLS proves that the other
side has the secret half.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
import tempfile
from typing import TYPE_CHECKING, Final

from wherry.errors import PeerDenied, PeerProtocolError
from wherry.nodekey import peer_id_of

if TYPE_CHECKING:
    from wherry.nodekey import NodeKey

_ALPN: Final = "wherry/1"


def client_context() -> ssl.SSLContext:
    """Makes what the dialling side speaks; it looks at the key itself, by `server_key`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # there is no name in the certificate: its key is pinned
    context.verify_mode = ssl.CERT_NONE  # as above: no authority is asked
    context.set_alpn_protocols([_ALPN])
    return context


def server_context(key: NodeKey) -> ssl.SSLContext:
    """Makes what the side that is dialled speaks, with a certificate of its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, key.peer_id)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))  # clocks are wrong, and nothing hangs on them
        .not_valid_after(dt.datetime(9999, 12, 31, tzinfo=dt.UTC))  # RFC 5280: no date on which it ends
        .sign(private, None)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # sessions are not resumed: each connection proves the key anew
    context.set_alpn_protocols([_ALPN])
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    fd, path = tempfile.mkstemp(prefix="wherry-")  # 0600; the ssl module reads keys from files alone
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(pem)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
    return context


def server_key(sock: ssl.SSLSocket, pinned: str, peer: str) -> bytes:
    """Gives the public key that the other side has just proven. Raises PeerDenied if it is not that of ``pinned``."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"").public_key()
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise PeerProtocolError(f"{peer} shows a certificate that cannot be read", peer=peer) from problem
    if not isinstance(key, Ed25519PublicKey):
        raise PeerProtocolError(f"{peer} shows a certificate that is none of a node's", peer=peer)
    public = key.public_bytes_raw()
    if pinned and peer_id_of(public) != pinned:
        hint = "somebody else answers there; ask for the node's address again, from somebody whom you trust"
        raise PeerDenied(f"{peer} is not {pinned}, but {peer_id_of(public)}", peer=peer, hint=hint)
    return public
