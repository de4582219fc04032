"""Certificates for the HTTP APIs of a consortium that somebody tries out. One law: nobody can issue another one later.

One authority signs a certificate for each node; clients trust its certificate alone (`tls_ca`). Its key is forgotten as
soon as the certificates are signed and is never written down. Between nodes none of this counts: there, keys are pinned
(`node.tls`). An institution that runs a real node takes a certificate from its own authority instead.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS: Final = 3_650
CLOCK_DAYS: Final = 1
"""How far back they begin to be valid, for machines whose clock is behind."""

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""What a node is also called: published ports are asked for on loopback."""


@dataclass(frozen=True, slots=True)
class ApiCertificate:
    """What one node shows its clients; PEM."""

    host: str
    certificate: bytes
    key: bytes
    """Secret."""


@dataclass(frozen=True, slots=True)
class ApiCertificates:
    """What an authority made before it was forgotten."""

    authority: bytes
    """Its certificate, PEM: what clients trust."""

    nodes: tuple[ApiCertificate, ...]


def api_certificates(hosts: Iterable[str], *, time_ms: int) -> ApiCertificates:
    """Make an authority and a certificate for each host.

    ECDSA on P-256, since browsers take no Ed25519 certificates.

    Args:
        hosts: names by which clients reach the nodes; each is reached by `LOCAL_NAMES` too.
        time_ms: now; the certificates are valid for `VALID_DAYS` from here on.
    """
    now = datetime.fromtimestamp(time_ms / 1000, UTC)
    authority = _Authority(now)
    return ApiCertificates(authority.certificate, tuple(authority.issue(host) for host in hosts))


class _Authority:
    """Signs, and goes out of scope."""

    def __init__(self, now: datetime) -> None:
        self._now: Final = now
        self._key: Final = ec.generate_private_key(ec.SECP256R1())
        self._name: Final = _named("foedus local API authority")
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate: Final = certificate.public_bytes(Encoding.PEM)

    def issue(self, host: str) -> ApiCertificate:
        """Return a certificate for a server and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        names = x509.SubjectAlternativeName([_general(name) for name in dict.fromkeys((host, *LOCAL_NAMES))])
        certificate = (
            self._builder(_named(host), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return ApiCertificate(host, certificate.public_bytes(Encoding.PEM), secret)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(days=CLOCK_DAYS))
            .not_valid_after(self._now + timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
