"""The key by which a farm vouches for what it made: Ed25519 (RFC 8032), as PKCS #8 in a PEM file.

One key for all workers of a farm: a signature is part of a file's bytes, and those may not
depend on the worker. Knows no file format and no store.
"""

import contextlib
import os
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genfarm_shared.errors import InvalidSetting
from genfarm_shared.settings import PRIVATE

if TYPE_CHECKING:  # it takes a tenth of a second to load
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: How a public key, and how a signature is spelt: in one way only, so that every changed
#: character is seen.
KEY = re.compile(r"[0-9a-f]{64}")
SIGNATURE = re.compile(r"[0-9a-f]{128}")
#: What makes such a file by hand.
ADVICE = "`openssl genpkey -algorithm ed25519 -out FILE` makes one"


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that can sign. Safe for many threads."""

    _private: "Ed25519PrivateKey"
    #: Its public half, 64 hexadecimal digits.
    key: str

    def sign(self, message: bytes) -> str:
        """128 hexadecimal digits; the same for the same message at any time."""
        return self._private.sign(message).hex()


def read_signer(path: Path) -> Signer:
    """The key in that file. Raises InvalidSetting."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidSetting(
            f"the signing key {path} cannot be read: {error}. {ADVICE}, and GENFARM_SIGNING_KEY "
            "names it on every host of the farm"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise InvalidSetting(f"the signing key {path} is not an Ed25519 key. {ADVICE}")
    return Signer(private, private.public_key().public_bytes_raw().hex())


def ensure_signer(path: Path) -> Signer:
    """The key in that file, made if there is none; of several makers at once, one's stands."""
    if not path.exists():
        path.parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(_new_pem())
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(aside)
        finally:
            aside.unlink(missing_ok=True)
    return read_signer(path)


def is_signed(key: str, signature: str, message: bytes) -> bool:
    """Whether the owner of that public key signed that message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not (KEY.fullmatch(key) and SIGNATURE.fullmatch(signature)):
        return False
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_open(path: Path) -> bool:
    """Whether other users of this computer may read that file."""
    return sys.platform != "win32" and path.exists() and bool(path.stat().st_mode & 0o077)


def _new_pem() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
