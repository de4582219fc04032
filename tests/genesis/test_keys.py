"""Key files: what others may read is refused, and nothing in an error tells a secret."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from genesis import keys
from genesis.keys import KeyFileError, new_key, public_key_in, read_key, write_key


def test_a_written_key_is_read_back(tmp_path: Path) -> None:
    key = new_key()
    write_key(tmp_path / "a" / "x.key", key, owner="x")
    assert read_key(tmp_path / "a" / "x.key").seed == key.seed
    assert public_key_in(tmp_path / "a" / "x.key") == key.public_key


def test_only_the_owner_may_read_a_new_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_key(tmp_path / "x.key", new_key(), owner="x")
    finally:
        os.umask(before)
    assert (tmp_path / "x.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x.key"
    write_key(path, new_key(), owner="x")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key(path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key = new_key()
    write_key(tmp_path / "x.key", key, owner="x")
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_key(tmp_path / "x.key", new_key(), owner="x")
    assert read_key(tmp_path / "x.key").seed == key.seed


def test_a_sealed_key_needs_its_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_OPS", 1)
    monkeypatch.setattr(keys, "_MEMORY_BYTES", 8192)
    monkeypatch.delenv("FOEDUS_PASSPHRASE", raising=False)
    key, path = new_key(), tmp_path / "x.key"
    write_key(path, key, owner="x", passphrase="correct horse")
    assert key.seed.hex() not in path.read_text()
    assert read_key(path, passphrase="correct horse").seed == key.seed
    with pytest.raises(KeyFileError, match="does not open"):
        read_key(path, passphrase="wrong")
    with pytest.raises(KeyFileError, match="FOEDUS_PASSPHRASE"):
        read_key(path)
    monkeypatch.setenv("FOEDUS_PASSPHRASE", "correct horse")
    assert read_key(path).seed == key.seed


def test_a_seed_of_another_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    write_key(path, new_key(), owner="x")
    content = json.loads(path.read_text())
    content["seed"] = new_key().seed.hex()
    path.write_text(json.dumps(content))
    with pytest.raises(KeyFileError, match="its seed gives"):
        read_key(path)


def test_an_error_never_quotes_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    key = new_key()
    write_key(path, key, owner="x")
    path.write_text(path.read_text().replace('"seed": "', '"seed": "00'))
    with pytest.raises(KeyFileError) as caught:
        read_key(path)
    assert key.seed.hex()[:16] not in str(caught.value)
    assert "seed: malformed" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", "x" * 5000, '{"kind": "foedus-key/1"}'])
def test_what_is_no_key_file_is_a_typed_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.key"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(KeyFileError):
        read_key(path)


def test_a_missing_key_file_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no such key file"):
        read_key(tmp_path / "x.key")
