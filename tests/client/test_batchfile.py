"""Files and tables as inputs, the crooked ones too."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from genfarm import Farm, InvalidTask
from genfarm.batchfile import Given, open_source
from genfarm_shared.kinds import find_kind

GEN = find_kind("gen")


def _read(path: object, kind: str = "gen") -> list[Given]:
    return list(open_source(find_kind(kind), path).read())


def _values(path: object, kind: str = "gen") -> list[dict[str, Any]]:
    return [dict(given.values) for given in _read(path, kind)]


def test_a_text_file_is_a_prompt_per_line_without_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffa fox\r\n\r\n  \nein Bär\n".encode())
    assert [(g.line, g.values) for g in _read(path)] == [
        (1, {"prompt": "a fox"}),
        (4, {"prompt": "ein Bär"}),
    ]


def test_a_json_line_is_an_object_or_a_string(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes('\ufeff{"prompt": "a", "seed": 3, "id": 7}\r\n\n"b"\r\n'.encode())
    first, second = _read(str(path))
    assert (first.values, first.custom_id) == ({"prompt": "a", "seed": 3}, "7")
    assert (second.values, second.custom_id, second.line) == ({"prompt": "b"}, None, 3)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a"', r"prompts.jsonl line 2: not JSON .*delimiter"),
        ("[1, 2]", r"prompts.jsonl line 2: expected a JSON object or string, got list"),
        ("null", r"line 2: expected a JSON object or string, got NoneType"),
        ("[" * 100_000, r"prompts.jsonl line 2: not JSON"),
    ],
)
def test_a_malformed_json_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'"fine"\n{line}\n')
    with pytest.raises(InvalidTask, match=said):
        _read(path)


def test_csv_cells_take_the_type_of_their_parameter(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_bytes(
        b"\xef\xbb\xbfcustom_id,prompt,temperature,top_k,stop\r\n"
        b'x,"12, or so",0.5,3,"[""."", ""!""]"\r\ny,007,,,\r\n'
    )
    first, second = _read(path)
    assert first.values == {
        "prompt": "12, or so",
        "temperature": 0.5,
        "top_k": 3,
        "stop": [".", "!"],
    }
    assert (second.custom_id, second.values) == ("y", {"prompt": "007"})


def test_an_unknown_column_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,temprature\na,1\n")
    with pytest.raises(InvalidTask, match=r"prompts.csv: column 'temprature' .* temperature"):
        _read(path)


def test_a_fault_in_a_file_names_its_line_and_writes_nothing(farm: Farm, tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,top_k\na,1\nb,many\n")
    with pytest.raises(InvalidTask, match=r"prompts.csv line 3: top_k='many'"):
        farm.submit_many("gen", path, model="echo")
    path = tmp_path / "twice.jsonl"
    path.write_text('{"prompt": "a", "id": "x"}\n\n{"prompt": "b", "id": "x"}\n')
    with pytest.raises(
        InvalidTask, match=r"twice.jsonl line 3: .*'x' is taken by twice.jsonl line 1"
    ):
        farm.submit_many("gen", path, model="echo")
    assert farm.jobs() == []


def test_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidTask, match="no such file"):
        _read(tmp_path / "none.txt")
    with pytest.raises(InvalidTask, match=r"unknown kind of file '.xml'"):
        _read(tmp_path / "a.xml")
    (tmp_path / "latin.txt").write_bytes("Bär".encode("latin-1"))
    with pytest.raises(InvalidTask, match=r"latin.txt: byte 1 is not UTF-8"):
        _read(tmp_path / "latin.txt")


def test_an_empty_file_is_refused(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InvalidTask, match=r"empty.txt holds no input"):
        farm.submit_many("gen", tmp_path / "empty.txt", model="echo")


def test_a_file_given_twice_is_one_job(farm: Farm, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a\nb\n")
    job = farm.submit_many("gen", path, model="echo")
    assert farm.submit_many("gen", str(path), model="echo").id == job.id
    assert farm.submit_many("gen", ["a", "b"], model="echo").id == job.id


class Frame:
    """What of a DataFrame is used."""

    def __init__(self, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        self.columns = columns
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def itertuples(self, *, index: bool, name: str | None) -> Iterator[tuple[Any, ...]]:
        assert (index, name) == (False, None)
        return iter(self._rows)


class Dataset(list[dict[str, Any]]):
    """What of a datasets.Dataset is used."""

    column_names = ("prompt", "top_k")


class Scalar:
    """What of a numpy scalar is used."""

    def tolist(self) -> int:
        return 4


def test_tables_are_read_by_row_without_empty_cells() -> None:
    rows = [("a", 3), ("b", float("nan"))]
    expected = [{"prompt": "a", "top_k": 3}, {"prompt": "b"}]
    assert _values(Frame(["prompt", "top_k"], rows)) == expected
    dataset = Dataset([{"prompt": "a", "top_k": 3}, {"prompt": "b", "top_k": None}])
    assert _values(dataset) == expected
    assert open_source(GEN, dataset).is_repeatable
    with pytest.raises(InvalidTask, match="the table: column 'heat'"):
        _values(Frame(["prompt", "heat"], []))


def test_numpy_values_become_plain_ones() -> None:
    assert _values([{"prompt": "a", "top_k": Scalar()}]) == [{"prompt": "a", "top_k": 4}]


def test_ids_come_from_a_key_or_a_function() -> None:
    rows = [{"prompt": "a", "sku": "k1"}]
    by_key = open_source(GEN, rows, "sku").read()
    assert [(g.custom_id, g.values) for g in by_key] == [("k1", {"prompt": "a"})]
    by_function = open_source(GEN, ["a"], lambda prompt: f"id-{prompt}").read()
    assert [g.custom_id for g in by_function] == ["id-a"]


def test_an_id_that_is_no_text_becomes_one_and_none_is_no_id() -> None:
    numbers: Any = {"a": 7, "b": None}.get
    assert [g.custom_id for g in open_source(GEN, ["a", "b"], numbers).read()] == ["7", None]


def test_a_function_of_ids_that_fails_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("\na\n")
    with pytest.raises(InvalidTask, match=r"prompts.txt line 2: id_from failed: KeyError"):
        list(open_source(GEN, path, {}.__getitem__).read())
