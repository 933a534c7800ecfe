"""A throwaway certificate for tests of TLS, made by the ``openssl`` program; a test without one is skipped, visibly."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from wherry.testing.outcome import skip_unless

if TYPE_CHECKING:
    from pathlib import Path


def make_certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """Makes a self-signed certificate for ``names`` (by default this machine's loopback), and its key, in ``folder``."""
    skip_unless(shutil.which("openssl"), "there is no openssl program to make a certificate with")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ",".join(names or ("IP:127.0.0.1", "IP:::1", "DNS:localhost"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=wherry test", "-addext", f"subjectAltName={subject}", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key
