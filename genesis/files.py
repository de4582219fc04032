"""Files that people exchange. One law: bounded when read, and never overwritten when written."""

from __future__ import annotations

import os
from pathlib import Path

from genesis.reading import FaultsError


class FileExistsAlreadyError(OSError):
    """The file is there; nothing was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists; name another file with --out, or remove it first")
        self.path = path


def read_text(path: Path, *, bytes_max: int) -> str:
    """Return a file's text.

    Raises:
        FaultsError: it cannot be read, is too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise FaultsError(str(path), [f"larger than {bytes_max} bytes"])
        return content.decode("utf-8")
    except OSError as error:
        raise FaultsError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise FaultsError(str(path), [f"not UTF-8: {error}"]) from error


def write_new(path: Path, text: str) -> None:
    """Create a file, whole or not at all.

    Raises:
        FileExistsAlreadyError: it is there already.
        OSError: it cannot be written.
    """
    if path.exists():
        raise FileExistsAlreadyError(path)
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
