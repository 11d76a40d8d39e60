"""One spelling for the many that a reader takes for the same word.

Compatibility forms (full-width, circled, mathematical letters), case, accents, invisible
characters, and letters of other scripts that look like Latin ones. A text in Cyrillic or Greek is
folded alike on both sides of a comparison, so its own words are still found.

Confusables after Unicode TR 39: https://www.unicode.org/reports/tr39/
"""

import unicodedata

#: Look-alikes that no normal form brings together; the pairs as they are folded, in lower case.
_LOOKS = {
    # Cyrillic
    **dict(zip("авгекмнорстухһԁԛԝѕіјєӏьпи", "abrekmhopctyxhdqwsijelbnu", strict=True)),
    # Greek
    **dict(zip("αβεηικνορτυχωγμσς", "abenikvoptuxwyuoc", strict=True)),
    # Latin beyond its alphabet: strokes, dotless letters, small capitals
    **dict(zip("ıłøđħŧƀɨʉɡɑɩ", "ilodhtbiugai", strict=True)),
    **dict(zip("ʟɪᴀʙᴄᴅᴇɢʜᴊᴋᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢꜱ", "liabcdeghjkmnoprtuvwyzs", strict=True)),
    # Armenian that passes for Latin
    **dict(zip("օսհցո", "ouhgn", strict=True)),
    "æ": "ae",
    "œ": "oe",
}
_REGIONAL_A = 0x1F1E6
_TABLE = {ord(look): letter for look, letter in _LOOKS.items()} | {
    _REGIONAL_A + place: chr(ord("a") + place) for place in range(26)
}
#: Categories that take no place on paper: marks, formats, controls but for white space.
_UNSEEN = frozenset(("Mn", "Me", "Cf", "Cc", "Cs", "Co", "Cn"))
#: Letters without ink.
_BLANKS = frozenset("ㅤᅟᅠﾠ⠀")


def fold(text: str) -> str:
    """The text in its one spelling; as many words as before."""
    if text.isascii():
        return _visible(text.casefold()) if not text.isprintable() else text.casefold()
    folded = unicodedata.normalize("NFKC", text).casefold()
    spread = unicodedata.normalize("NFKD", folded.translate(_TABLE))
    return unicodedata.normalize("NFKC", _visible(spread).translate(_TABLE))


def _visible(text: str) -> str:
    return "".join(
        char
        for char in text
        if char.isspace() or (unicodedata.category(char) not in _UNSEEN and char not in _BLANKS)
    )
