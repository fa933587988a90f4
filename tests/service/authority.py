"""Certificates for tests: one authority, and whoever it vouches for."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Identity:
    """Files of one certificate."""

    certificate: Path
    key: Path


class Authority:
    """An authority of a test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.certificate = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *, file: str = "") -> Identity:
        """Vouch for a host name, an address or a person."""
        issued = self._ca.issue_cert(name, common_name=name)
        identity = Identity(
            self._folder / f"{file or name}.pem", self._folder / f"{file or name}.key"
        )
        identity.certificate.write_bytes(b"".join(c.bytes() for c in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(identity.key))
        return identity
