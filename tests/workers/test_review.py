"""What the block list finds, what it leaves alone, and how a refusal ends."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genfarm_shared.drill import answer
from genfarm_shared.errors import InvalidSetting
from genfarm_shared.tasks import Claim, State
from genfarm_workers.catalog import ModelEntry, read_catalog
from genfarm_workers.engines import Output
from genfarm_workers.review.blocklist import BlockList, read_block_list
from genfarm_workers.review.folding import fold
from genfarm_workers.review.gates import Gates, texts_asked
from tests.waiting import until
from tests.yard import Yard

LIST = BlockList(["bad", "ass", "kill  bill", "scam*", "плохо", "自杀", "88", "naïve"])
FOUND = [
    *("bad", "BAD!", "so bad.", "„bad“", "bad-tempered", "bad_word"),
    *("b.a.d", "b-a-d", "b_a_d", "b a d", "b . a . d", "b\u200ba\u200bd", "b\u00ada\u00add"),
    *("b4d", "b@d", "8ad", "a$$", "a55", "@ss", "ﬁne but ｂａｄ", "𝐛𝐚𝐝", "ⓑⓐⓓ", "🇧🇦🇩"),
    *("bád", "b̷̢a̴d̵", "ьad", "bаd", "βαd", "ᴀss", "as\u0455", "ʙᴀᴅ"),
    *("kill bill", "Kill, Bill", "kill\n\tBILL", "k.i.l.l b.i.l.l", "kill-bill"),
    *("scam", "scammer", "a scаmming"),
    *("очень плохо", "ПЛОХО", "他自杀了", "the 88 of", "naive", "NAI\u0308VE"),
]
LEFT = [
    *("classic", "badge", "Assembly of brass", "as so", "a ss", "passes", "bandage", "b ad"),
    *("", "...", "455", "a 55 b", "845", "188", "kill the bill", "skill bill", "kill billions"),
    *("escam", "scan", "hopelessly good", "хорошо", "自由", "naively", "\u200b", "!!!", "@"),
]


@pytest.mark.parametrize("text", FOUND)
def test_a_word_is_found_however_it_is_spelt(text: str) -> None:
    found = LIST.find(text)
    assert found is not None, [hex(ord(char)) for char in fold(text)]
    assert found.gate == "block_list"
    assert len(found.rule) == 12


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_so_is_left_alone(text: str) -> None:
    assert LIST.find(text) is None


def test_a_rule_is_named_by_its_own_hash_and_by_no_word() -> None:
    rules = {text: found.rule for text in ("bad", "b4d", "ass") if (found := LIST.find(text))}
    assert rules["bad"] == rules["b4d"] != rules["ass"]


@pytest.mark.parametrize("char", ["b", "!", ".", "a.", "b.", "@$", "ba ", " ", "\u0300", "8"])
def test_no_prompt_takes_longer_than_its_length_allows(char: str) -> None:
    """32,768 characters, the longest there is; a quadratic search would take minutes."""
    long = BlockList(
        ["bbbbbbbbbbbbbbbbbbbc", "b b b b b b b b b c", "aaaaaaaaaaaaaaaac", "iiiiiii$$$"]
    )
    began = time.process_time()
    long.find(char * (32_768 // len(char)))
    assert time.process_time() - began < 10


@pytest.mark.parametrize("text", ["1 ", "i."])
def test_entries_that_begin_alike_are_looked_for_together(text: str) -> None:
    """One by one, 516 of them took 4 to 20 seconds, in which no other thread of a worker ran."""
    ends = [f"{number:09b}".translate(str.maketrans("01", "il")) for number in range(258)]
    alike = BlockList(f"{'i' * begin}{end}x" for begin in (2, 6) for end in ends)
    began = time.process_time()
    assert alike.find(text * (32_768 // len(text))) is None
    assert alike.find(f"{'1 ' * 99}{'1.' * 11}x") is not None
    assert time.process_time() - began < 3


def test_a_refusal_of_a_long_list_takes_no_longer_than_a_pass() -> None:
    words = [f"word{number:04d}" for number in range(3000)]
    long = BlockList(words)
    began = time.process_time()
    assert all(long.find(f"a {word} here") is not None for word in words[-100:])
    assert time.process_time() - began < 1


def test_a_list_file_has_comments_and_one_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "blocked.txt"
    path.write_text("# bad is a comment here\n\nworse\n", encoding="utf-8")
    found = read_block_list(str(path))
    assert found.find("bad") is None
    assert found.find("worse") is not None
    with pytest.raises(InvalidSetting, match=r"none\.txt cannot be read.*block_list"):
        read_block_list(str(tmp_path / "none.txt"))


def judge(text: str, where: str, about: Mapping[str, Any]) -> str | None:
    """A user's own hook."""
    if text == "break":
        raise ValueError(text)
    if text == "leave":
        sys.exit(text)
    return "too long" if len(text) > 20 and where == "prompt" and about["kind"] == "drill" else None


def entry(**review: object) -> ModelEntry:
    made = {"key": "drill", "kind": "drill", "engine": "drill", "review": review}
    return ModelEntry.model_validate(made)


def claim(text: str) -> Claim:
    return Claim("j-0", "j", 1, "drill", "drill", "drill", 1, {"text": text}, 0)


def test_a_hook_is_asked_and_one_that_breaks_refuses(caplog: pytest.LogCaptureFixture) -> None:
    gates = Gates({"drill": entry(hook="tests.workers.test_review:judge")})
    assert gates.refuse([claim("short")]) == {}
    (failure,) = gates.refuse([claim("x" * 21)]).values()
    assert (failure.code, failure.retryable) == ("content_filtered", False)
    assert "gate hook, rule too long" in failure.message
    (failure,) = gates.refuse([claim("break")]).values()
    assert (failure.code, "raised ValueError" in failure.message) == ("internal", True)
    assert "break" not in caplog.text
    (failure,) = gates.refuse([claim("leave")]).values()
    assert "raised SystemExit" in failure.message
    for wrong in ("no.such.module:judge", "tests.workers.test_review:nothing"):
        with pytest.raises(InvalidSetting, match="cannot be imported"):
            Gates({"drill": entry(hook=wrong)})


def test_a_negative_prompt_may_name_what_shall_not_be() -> None:
    assert [*texts_asked({"prompt": "a king", "negative_prompt": "bad", "text": None})] == [
        "a king"
    ]


def test_an_output_text_is_judged_and_a_pass_is_noted() -> None:
    gates = Gates({"drill": entry(block_list=["bad"], prompts=False)})
    assert gates.refuse([claim("bad")]) == {}
    failure = gates.judge(claim(""), Output("j-0", {"texts": ["good", "b.a.d"]})).failure
    assert failure is not None
    assert "the output was refused by the gate block_list" in failure.message
    passed = gates.judge(claim(""), Output("j-0", {"texts": ["good"]}, metrics={"batch_size": 2}))
    verdict = {"verdict": "pass", "gates": ["block_list"]}
    assert passed.metrics == {"batch_size": 2, "review": verdict}


@pytest.mark.parametrize("texts", [None, "bad", {"bad": 1}, 7])
def test_texts_that_cannot_be_judged_do_not_pass_and_end_nothing_else(texts: object) -> None:
    gates = Gates({"drill": entry(block_list=["bad"])})
    failure = gates.judge(claim(""), Output("j-0", {"texts": texts})).failure
    assert failure is not None
    assert (failure.code, "raised TypeError" in failure.message) == ("internal", True)


def test_without_review_nothing_is_looked_at() -> None:
    gates = Gates(read_catalog())
    output = Output("j-0", {"texts": ["bad"]})
    assert gates.judge(claim("bad"), output) is output
    assert gates.refuse([claim("bad")]) == {}
    assert not gates.are_any()


def test_the_registry_finds_lists_beside_itself_and_classifiers_by_key(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(
        "[models.mine]\nkind = 'text-generation'\nengine = 'text'\nsource = 'zoo:stories'\n"
        "[models.mine.review]\nblock_list = 'blocked.txt'\n"
        "[models.mine.review.classifier]\nsource = 'stories'\nlabels = ['x']\n"
    )
    review = read_catalog(path)["mine"].review
    assert review is not None
    assert review.classifier is not None
    assert review.block_list == str(tmp_path / "blocked.txt")
    assert review.classifier.source == "zoo:stories"
    path.write_text(path.read_text().replace("block_list", "blocklist"))
    with pytest.raises(InvalidSetting, match=r"'mine': review\.blocklist"):
        read_catalog(path)


def test_a_real_worker_refuses_a_prompt_and_a_text_and_runs_the_rest(yard: Yard) -> None:
    registry = Path(yard.settings.registry)
    said = answer(2, "speak")[:6]
    review = f"[models.drill.review]\nblock_list = ['bad', '{said}*']\n"
    registry.write_text(registry.read_text() + review)
    yard.start_worker("drill")
    texts = ["all is well", "this is b.a.d", "speak"]
    job = yard.submit("drill", *({"text": text, "aloud": True} for text in texts), model="drill")
    until(lambda: yard.finished(job))
    rows = yard.store.read_after(job, -1, 5)
    assert rows[0].metrics["review"]["verdict"] == "pass"
    refused = (State.FAILED, "content_filtered", 1)
    assert [(row.state, row.reason_code, row.attempt) for row in rows[1:]] == [refused] * 2
    assert [str(row.reason).split()[1] for row in rows[1:]] == ["prompt", "output"]
    assert not any(text in str(row.reason) for row in rows[1:] for text in (*texts, said))
