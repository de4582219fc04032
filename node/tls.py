"""TLS between nodes: keys instead of authorities. One law: whoever is not pinned does not finish the handshake.

The validator set pins one Ed25519 *key* a node, and OpenSSL wants certificates. Both are had without exchanging any:

* The trust anchor of a pinned key is a certificate that everybody builds from that key alone. Only its name and key
  matter, as RFC 5280 (6.1.1 d) says of anchors; OpenSSL takes it as one (`VERIFY_X509_PARTIAL_CHAIN`) and never
  looks at its signature, which is made with a key that everybody knows.
* A node's own certificate names that anchor as its issuer and is signed with the node's key.

Certificates never expire and carry no host name: what is checked is the key. After the handshake `peer_key` gives the
key that the peer proved to hold, which the caller compares with the one pinned for whom it means to talk to; that also
stops a certificate that the holder of a pinned key issued to somebody else.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from ledger.identity import PublicKey

_VALID_FROM: Final = datetime(2000, 1, 1, tzinfo=UTC)
_VALID_UNTIL: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, 4.1.2.5: the value for a certificate without an end."""

_ANCHOR_ISSUER: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))
"""Everybody's key: signs the anchors, whose signatures mean nothing."""


class PeerKeyError(ssl.SSLError):
    """The handshake succeeded, and the peer still holds no acceptable key."""


class TransportIdentity:
    """A node's TLS key pair and the certificate that follows from it."""

    __slots__ = ("_key", "certificate", "public_key")

    def __init__(self, seed: bytes) -> None:
        """Derive everything from a 32-byte seed.

        Raises:
            ValueError: the seed has another length.
        """
        self._key: Final = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: Final = PublicKey(self._key.public_key().public_bytes_raw())
        self.certificate: Final = _node_certificate(self._key)
        """DER; the same bytes for the same seed."""

    def server_context(self, pinned: Iterable[bytes]) -> ssl.SSLContext:
        """Return a context that accepts clients holding one of the `pinned` keys, 32 bytes each."""
        return self._context(ssl.PROTOCOL_TLS_SERVER, pinned)

    def client_context(self, pinned: Iterable[bytes]) -> ssl.SSLContext:
        """Return a context that connects to servers holding one of the `pinned` keys, 32 bytes each."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT, pinned)

    def _context(self, protocol: int, pinned: Iterable[bytes]) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
        context.options |= ssl.OP_NO_COMPRESSION
        pin(context, pinned)
        with _secret_file(self._pem()) as path:
            context.load_cert_chain(path)
        return context

    def _pem(self) -> bytes:
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + ssl.DER_cert_to_PEM_cert(self.certificate).encode("ascii")

    def __repr__(self) -> str:
        """Show whose key it is, never the secret."""
        return f"TransportIdentity(public_key={self.public_key.hex()})"


def pin(context: ssl.SSLContext, keys: Iterable[bytes]) -> None:
    """Let holders of `keys` through this context's handshakes, beside those already pinned.

    A context cannot unpin; callers compare `peer_key` with the set in force.
    """
    anchors = b"".join(anchor(key) for key in keys)
    if anchors:
        context.load_verify_locations(cadata=anchors)


def anchor(public_key: bytes) -> bytes:
    """Return the DER certificate that stands for a pinned key in OpenSSL's trust store.

    Args:
        public_key: Ed25519, 32 bytes.
    """
    key = Ed25519PublicKey.from_public_bytes(public_key)
    builder = (
        _certificate(key, subject=public_key.hex(), issuer="foedus trust anchor")
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(_ANCHOR_ISSUER.public_key()), critical=False)
    )
    return builder.sign(_ANCHOR_ISSUER, None).public_bytes(serialization.Encoding.DER)


def peer_key(connection: ssl.SSLObject | ssl.SSLSocket | None) -> PublicKey:
    """Return the key of the certificate that the peer authenticated with.

    Raises:
        PeerKeyError: no TLS, no certificate, or no Ed25519 key in it.
    """
    der = connection.getpeercert(binary_form=True) if connection is not None else None
    if der is None:
        message = "the peer showed no certificate: both ends must present one"
        raise PeerKeyError(message)
    key = x509.load_der_x509_certificate(der).public_key()
    if not isinstance(key, Ed25519PublicKey):
        message = f"the peer's certificate must hold an Ed25519 key, it holds {type(key).__name__}"
        raise PeerKeyError(message)
    return PublicKey(key.public_bytes_raw())


def _node_certificate(key: Ed25519PrivateKey) -> bytes:
    public = key.public_key()
    builder = (
        _certificate(public, subject="foedus node", issuer=public.public_bytes_raw().hex())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    return builder.sign(key, None).public_bytes(serialization.Encoding.DER)


def _certificate(key: Ed25519PublicKey, *, subject: str, issuer: str) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(1)
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_UNTIL)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


@contextmanager
def _secret_file(content: bytes) -> Iterator[str]:
    """Give `content` a path for as long as `load_cert_chain`, which takes nothing else, reads it.

    In memory where the system has `memfd_create` (Linux); else a temporary file that only its owner may read.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("foedus", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name
