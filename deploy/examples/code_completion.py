"""Continues beginnings of Python several times each, and keeps what Python can parse."""

import ast

from genfarm import Farm

BEGINNINGS = ("import os\n\ndef main(", "class Reader", "for line in")


def first_lines(text: str) -> str:
    """As much of the text as parses, by whole lines."""
    lines = text.splitlines(keepends=True)[:-1]
    while lines:
        try:
            ast.parse("".join(lines))
        except SyntaxError:
            lines.pop()
        else:
            break
    return "".join(lines)


def main() -> None:
    options = {"n": 4, "max_new_tokens": 64, "temperature": 0.7}
    with Farm.local(progress=False) as farm:
        results = farm.map("text-generation", BEGINNINGS, model="code", params=options)
        for beginning, result in zip(BEGINNINGS, results, strict=True):
            texts = [beginning + text for text in result.texts]
            best = max((first_lines(text) for text in texts), key=len)
            print(f"{beginning!r}: of {len(texts)} texts the longest that parses:")
            print(best or "(none does)")


if __name__ == "__main__":
    main()
