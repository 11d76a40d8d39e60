"""What a media type is taken for: of all that the farm writes, and of what it does not know."""

from genfarm_shared.artifacts import SUFFIXES
from genfarm_shared.mediatypes import sort_of


def test_every_type_that_the_farm_keeps_has_its_sort() -> None:
    sorts = {media_type: sort_of(media_type) for media_type in SUFFIXES}
    assert {name for name, sort in sorts.items() if sort == "clip"} == {"image/gif", "video/mp4"}
    assert {name for name, sort in sorts.items() if sort == "sound"} == {"audio/wav", "audio/flac"}
    assert [sorts[f"image/{name}"] for name in ("png", "jpeg", "webp")] == ["picture"] * 3
    assert (sorts["text/plain"], sorts["application/json"]) == ("text", "other")
