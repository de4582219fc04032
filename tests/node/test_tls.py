"""Handshakes over real sockets: only holders of pinned keys finish them."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from ledger.identity import PublicKey, SigningKey
from node.tls import PeerKeyError, TransportIdentity, anchor, peer_key, pin

ALICE, BOB, MALLORY = (TransportIdentity(bytes([seed]) * 32) for seed in (1, 2, 3))
PINNED = [ALICE.public_key, BOB.public_key]


async def shake(
    server: ssl.SSLContext, client: ssl.SSLContext, finished: list[asyncio.StreamWriter]
) -> tuple[PublicKey, PublicKey]:
    """Connect, pass a byte each way; return the keys that server and client saw.

    The server notes every handshake that it `finished`.

    Raises:
        OSError: either end refused the other.
    """
    seen: asyncio.Future[PublicKey] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        finished.append(writer)
        seen.set_result(peer_key(writer.get_extra_info("ssl_object")))
        writer.write(await reader.readexactly(1))
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        try:
            writer.write(b"x")
            if await reader.read(1) != b"x":
                message = "the server hung up"
                raise ConnectionError(message)
            return await seen, peer_key(writer.get_extra_info("ssl_object"))
        finally:
            writer.transport.abort()


@pytest.fixture
def finished() -> list[asyncio.StreamWriter]:
    return []


async def test_two_pinned_nodes_prove_their_keys_to_each_other(finished: list[asyncio.StreamWriter]) -> None:
    keys = await shake(ALICE.server_context(PINNED), BOB.client_context(PINNED), finished)

    assert keys == (BOB.public_key, ALICE.public_key)


async def test_a_client_with_an_unpinned_key_does_not_finish_the_handshake(
    finished: list[asyncio.StreamWriter],
) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset, as the kernel pleases
        await shake(ALICE.server_context(PINNED), MALLORY.client_context(PINNED), finished)
    assert finished == []


async def test_a_server_with_an_unpinned_key_does_not_finish_the_handshake(
    finished: list[asyncio.StreamWriter],
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake(MALLORY.server_context(PINNED), BOB.client_context(PINNED), finished)


async def test_a_client_without_a_certificate_does_not_finish_the_handshake(
    finished: list[asyncio.StreamWriter],
) -> None:
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.check_hostname = False
    anonymous.verify_mode = ssl.CERT_NONE

    with pytest.raises(OSError):  # noqa: PT011 - as above
        await shake(ALICE.server_context(PINNED), anonymous, finished)
    assert finished == []


async def test_tls_1_2_is_refused(finished: list[asyncio.StreamWriter]) -> None:
    old = BOB.client_context(PINNED)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(OSError):  # noqa: PT011 - as above
        await shake(ALICE.server_context(PINNED), old, finished)
    assert finished == []


async def test_nobody_passes_for_a_pinned_node_by_naming_its_anchor(
    tmp_path_factory: pytest.TempPathFactory, finished: list[asyncio.StreamWriter]
) -> None:
    """The issuer's name is public; the signature under it is not to be had."""
    context = forged_context(
        tmp_path_factory, key=Ed25519PrivateKey.generate(), signer=Ed25519PrivateKey.generate(), issuer=ALICE.public_key
    )

    with pytest.raises(OSError):  # noqa: PT011 - as above
        await shake(ALICE.server_context(PINNED), context, finished)
    assert finished == []


async def test_the_key_that_signs_all_anchors_opens_no_door(
    tmp_path_factory: pytest.TempPathFactory, finished: list[asyncio.StreamWriter]
) -> None:
    everybodys = Ed25519PrivateKey.from_private_bytes(bytes(32))
    context = forged_context(
        tmp_path_factory, key=everybodys, signer=everybodys, issuer=everybodys.public_key().public_bytes_raw()
    )

    with pytest.raises(OSError):  # noqa: PT011 - as above
        await shake(ALICE.server_context(PINNED), context, finished)
    assert finished == []


async def test_a_certificate_issued_with_a_pinned_key_shows_another_key(
    tmp_path_factory: pytest.TempPathFactory,
    finished: list[asyncio.StreamWriter],
) -> None:
    """The handshake lets it through, so the caller compares `peer_key`."""
    other = Ed25519PrivateKey.generate()
    bobs = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
    context = forged_context(tmp_path_factory, key=other, signer=bobs, issuer=BOB.public_key)

    seen, _ = await shake(ALICE.server_context(PINNED), context, finished)

    assert seen == other.public_key().public_bytes_raw()
    assert seen not in PINNED


async def test_a_key_pinned_later_is_let_in_by_the_same_context(finished: list[asyncio.StreamWriter]) -> None:
    server = ALICE.server_context(PINNED)
    pin(server, [MALLORY.public_key])

    seen, _ = await shake(server, MALLORY.client_context(PINNED), finished)

    assert seen == MALLORY.public_key


def test_certificates_are_a_function_of_the_key() -> None:
    assert TransportIdentity(bytes([1]) * 32).certificate == ALICE.certificate
    assert anchor(ALICE.public_key) == anchor(ALICE.public_key)
    assert ALICE.public_key == SigningKey(bytes([1]) * 32).public_key


def test_an_identity_never_shows_its_secret() -> None:
    assert (bytes([1]) * 32).hex() not in repr(ALICE)


def test_without_tls_there_is_no_peer_key() -> None:
    with pytest.raises(PeerKeyError):
        peer_key(None)


def forged_context(
    folders: pytest.TempPathFactory, *, key: Ed25519PrivateKey, signer: Ed25519PrivateKey, issuer: bytes
) -> ssl.SSLContext:
    """A client whose certificate has the form of a node's, for any key and signer."""
    template = x509.load_der_x509_certificate(BOB.certificate)
    issuer_key = Ed25519PublicKey.from_public_bytes(issuer)
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.hex())]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )
    path = folders.mktemp("forged") / "client.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + builder.sign(signer, None).public_bytes(serialization.Encoding.PEM)
    )
    context = MALLORY.client_context(PINNED)
    context.load_cert_chain(path)
    return context
