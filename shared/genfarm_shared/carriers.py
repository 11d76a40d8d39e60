"""Where a note lies in a PNG, WAV or GIF, so that other programs pass over it.

    PNG   an iTXt chunk `genfarm`, right behind IHDR
    WAV   a LIST/INFO chunk with a comment (ICMT), the last of the file
    GIF   a comment extension, right behind the global colour table

Each place and spelling is the only one: a note is taken out only of a file that putting it back
in gives byte for byte. So no byte of the wrapping can change unseen. A note is ASCII.

https://www.w3.org/TR/png-3/  https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

#: Keyword of the PNG chunk.
KEYWORD = b"genfarm"
#: Bytes before the first chunk that may be ours: the signature and IHDR.
_PNG_HEAD = 33
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: What stands before the text in iTXt: no compression, no language, no translated keyword.
_ITXT_HEAD = KEYWORD + b"\0\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Parted:
    """A file that carried a note."""

    #: The file without it.
    bare: bytes
    note: bytes


class Carrier(Protocol):
    """One file format."""

    def can_carry(self, bare: bytes) -> bool: ...

    def insert(self, bare: bytes, note: bytes) -> bytes: ...

    def find(self, data: bytes) -> Parted | None:
        """The parts of a file that seems to carry a note. May raise for a broken file."""


class _Png:
    def can_carry(self, bare: bytes) -> bool:
        return bare.startswith(_PNG_SIGNATURE)

    def insert(self, bare: bytes, note: bytes) -> bytes:
        return bare[:_PNG_HEAD] + png_chunk(b"iTXt", _ITXT_HEAD + note) + bare[_PNG_HEAD:]

    def find(self, data: bytes) -> Parted | None:
        name, content, end = _png_chunk_at(data, _PNG_HEAD)
        if name != b"iTXt" or not content.startswith(_ITXT_HEAD):
            return None
        return Parted(data[:_PNG_HEAD] + data[end:], content[len(_ITXT_HEAD) :])


class _Wav:
    def can_carry(self, bare: bytes) -> bool:
        is_wav = bare[:4] == b"RIFF" and bare[8:12] == b"WAVE"
        return is_wav and struct.unpack("<I", bare[4:8])[0] == len(bare) - 8 and not len(bare) % 2

    def insert(self, bare: bytes, note: bytes) -> bytes:
        text = note + b"\0"  # a string of INFO ends so
        info = b"INFO" + _riff_chunk(b"ICMT", text)
        whole = bare[8:] + _riff_chunk(b"LIST", info)
        return b"RIFF" + struct.pack("<I", len(whole)) + whole

    def find(self, data: bytes) -> Parted | None:
        start = last = 12
        name = b""
        while start + 8 <= len(data):
            last, name = start, data[start : start + 4]
            (size,) = struct.unpack("<I", data[start + 4 : start + 8])
            start += 8 + size + size % 2
        if name != b"LIST" or data[last + 8 : last + 16] != b"INFOICMT":
            return None
        (length,) = struct.unpack("<I", data[last + 16 : last + 20])
        note = data[last + 20 : last + 20 + length - 1]
        return Parted(b"RIFF" + struct.pack("<I", last - 8) + data[8:last], note)


class _Gif:
    def can_carry(self, bare: bytes) -> bool:
        return bare.startswith(b"GIF89a") and len(bare) > _gif_head(bare)

    def insert(self, bare: bytes, note: bytes) -> bytes:
        parts = (note[start : start + 255] for start in range(0, len(note), 255))
        blocks = b"".join(bytes([len(part)]) + part for part in parts)
        head = _gif_head(bare)
        return bare[:head] + b"\x21\xfe" + blocks + b"\0" + bare[head:]

    def find(self, data: bytes) -> Parted | None:
        head = _gif_head(data)
        if data[head : head + 2] != b"\x21\xfe":
            return None
        blocks = list(_gif_blocks(data, head + 2))
        end = head + 2 + sum(len(block) + 1 for block in blocks) + 1
        return Parted(data[:head] + data[end:], b"".join(blocks))


CARRIERS: Mapping[str, Carrier] = {
    "image/png": _Png(),
    "audio/wav": _Wav(),
    "image/gif": _Gif(),
}


def part(data: bytes) -> Parted | None:
    """The file and its note; None where there is none, or not as `insert` puts it."""
    for carrier in CARRIERS.values():
        try:
            if not carrier.can_carry(data):
                continue
            found = carrier.find(data)
            if found and found.note.isascii() and carrier.insert(found.bare, found.note) == data:
                return found
        except (IndexError, ValueError, struct.error):  # broken within: no note of ours
            continue
    return None


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def put_png_text(bare: bytes, keyword: str, text: str) -> bytes:
    """A PNG with one more text: tEXt where Latin-1 can spell it, else iTXt."""
    try:
        content = text.encode("latin-1")
        chunk = png_chunk(b"tEXt", keyword.encode() + b"\0" + content)
    except UnicodeEncodeError:
        content = keyword.encode() + b"\0\0\0\0\0" + text.encode(errors="replace")
        chunk = png_chunk(b"iTXt", content)
    return bare[:_PNG_HEAD] + chunk + bare[_PNG_HEAD:]


def drop_png_text(data: bytes, keyword: str) -> bytes:
    """The PNG as it was before `put_png_text`."""
    name, content, end = _png_chunk_at(data, _PNG_HEAD)
    is_ours = name in (b"tEXt", b"iTXt") and content.startswith(keyword.encode() + b"\0")
    return data[:_PNG_HEAD] + data[end:] if is_ours else data


def _png_chunk_at(data: bytes, start: int) -> tuple[bytes, bytes, int]:
    """Name, content and end of the chunk that begins there."""
    length, name = struct.unpack(">I4s", data[start : start + 8])
    return name, data[start + 8 : start + 8 + length], start + 12 + length


def _riff_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _gif_head(data: bytes) -> int:
    """Where the global colour table ends."""
    flags = data[10]
    return 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)


def _gif_blocks(data: bytes, start: int) -> Iterator[bytes]:
    while size := data[start]:
        yield data[start + 1 : start + 1 + size]
        start += 1 + size
