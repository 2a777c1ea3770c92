"""``docs/limits.md`` names every limit that is a setting, with its default, and the codes that the server answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connectome import config
from connectome.config import Settings
from connectome.web.openapi import BOUNDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
SOURCES = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "connectome").rglob("*.py")))
LIMITS = [name for name, _ in config.described() if config.is_limit(name)]
# A row of a table: the variable, and the default.
ROWS = dict(re.findall(r"^\| `CONNECTOME_([A-Z_]+)` \| ([^|]+?) \|", PAGE, re.MULTILINE))
CODES = sorted(
    {each for each in re.findall(r"^\|.*`([A-Z]\w+)`", PAGE, re.MULTILINE) if not each.startswith("CONNECTOME_")}
)


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_stands_there(name):
    """With the default that it has."""
    default = getattr(Settings, name)

    assert ROWS[name.upper()].startswith(f"`{default}`" if default != "" else "none")


def test_no_other_does():
    """A limit that is gone is gone from the page."""
    assert {name.lower() for name in ROWS} == {*LIMITS}


@pytest.mark.parametrize("of", BOUNDS)
def test_the_bounds_of_the_language_do(of):
    """As the reference of the API has them."""
    most, codes = BOUNDS[of]

    assert f"| {of} | {most} | 400 {codes} |\n" in PAGE


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_one_that_is_answered(code):
    """By that name."""
    assert code in SOURCES or code == "RequestHeaderFieldsTooLarge"  # which is waitress's
