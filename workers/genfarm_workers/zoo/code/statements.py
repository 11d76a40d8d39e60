"""How much of a text that breaks off is whole Python."""

import ast
import codeop
import warnings


def whole_statements(text: str) -> str | None:
    """The text up to the end of its last complete statement; None when none is complete, or
    when anything before the end is no Python.

    The last line counts as cut off, and so does a statement that only lacks its end.
    """
    lines = text.splitlines(keepends=True)[:-1]
    while lines:
        so_far = "".join(lines)
        try:
            _parse(so_far)
        except SyntaxError as error:
            # In the words of the parser, for a text that may yet become Python.
            if error.msg != "incomplete input":
                return None
            lines.pop()
        except (ValueError, MemoryError, RecursionError):
            return None
        else:
            return so_far if so_far.strip() else None
    return None


def _parse(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except SyntaxError:
            # Not in the stubs of the standard library.
            incomplete = codeop.PyCF_ALLOW_INCOMPLETE_INPUT  # type: ignore[attr-defined]
            compile(text, "<text>", "exec", ast.PyCF_ONLY_AST | incomplete)
            raise
