"""Options are read from dataclasses, with all that is said about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from wherry.plugin import Duration, Size, option
from wherry.plugin.options import exact_size, options_of


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    text: str = option("x", help="a")
    whole: int = option(1, help="b", minimum=0, maximum=9)
    real: float = option(1.5, help="c")
    flag: bool = option(False, help="d")
    size: Size = option(Size(1 << 20), help="e", minimum=1024)
    wait: Duration = option(Duration(1.5), help="f")
    place: Path | None = option(None, help="g")
    mode: Literal["a", "b"] = option("a", help="h")
    names: tuple[str, ...] = option(("x", "y"), help="i", choices=("x", "y", "z"))
    sizes: tuple[Size, ...] = option((), help="j")
    token: str | None = option(None, help="k", secret=True, env="TOKEN")


def read(name):
    return next(one for one in options_of(All) if one.name == name)


def test_forms():
    assert [(one.name, one.form, one.many, one.optional) for one in options_of(All)] == [
        ("text", "text", False, False),
        ("whole", "integer", False, False),
        ("real", "number", False, False),
        ("flag", "boolean", False, False),
        ("size", "size", False, False),
        ("wait", "duration", False, False),
        ("place", "path", False, True),
        ("mode", "text", False, False),
        ("names", "text", True, False),
        ("sizes", "size", True, False),
        ("token", "text", False, True),
    ]


def test_notes():
    assert read("mode").choices == ("a", "b")
    assert read("names").choices == ("x", "y", "z")
    assert (read("whole").minimum, read("whole").maximum) == (0, 9)
    assert (read("token").secret, read("token").env) == (True, "TOKEN")
    assert read("size").default == 1 << 20
    assert All() == All(text="x")


def test_what_is_expected_in_words():
    assert read("whole").expected == "a whole number, at least 0, at most 9"
    assert read("size").expected == 'a size such as "4 MiB", at least 1 KiB'
    assert read("mode").expected == "one of 'a', 'b'"
    assert read("names").expected == "a list, each one of 'x', 'y', 'z'"


def test_values_in_words():
    texts = {one.name: one.text(one.default) for one in options_of(All)}
    assert texts == {
        "text": "x", "whole": "1", "real": "1.5", "flag": "false", "size": "1 MiB", "wait": "1.5s", "place": "not set",
        "mode": "a", "names": "x, y", "sizes": "none", "token": "not set",
    }  # fmt: skip
    assert read("token").text("hush") == "<secret>"


def test_secrets_are_not_in_the_repr():
    assert "hush" not in repr(All(token="hush"))


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1, "1"), (1000, "1000"), (1024, "1 KiB"), (10 << 30, "10 GiB"), ((1 << 20) + 1, "1048577"), (3 << 40, "3 TiB")],
)
def test_sizes_are_written_exactly(count, text):
    assert exact_size(count) == text


def bad(annotation, **more):
    return dataclass(frozen=True)(type("Bad", (), {"__annotations__": {"x": annotation}, "x": option(None, help="x", **more)}))


@pytest.mark.parametrize(
    "annotation",
    [
        dict,
        list,
        list[str],
        tuple[str, int],
        tuple[tuple[str, ...], ...],
        tuple[str | None, ...],
        str | int,
        bytes,
        Literal[1, 2],
    ],
)
def test_other_types_are_refused(annotation):
    with pytest.raises(TypeError, match="no type of an option"):
        options_of(bad(annotation))


def test_a_secret_is_text():
    with pytest.raises(TypeError, match="secret"):
        options_of(bad(int, secret=True))


def test_types_that_cannot_be_found_are_told():
    with pytest.raises(TypeError, match="TYPE_CHECKING"):
        options_of(bad("Nowhere"))
