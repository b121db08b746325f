"""The site that mkdocs builds has every page and every module that it names."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages(nav: Any = SITE["nav"]) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for item in nav.values() if isinstance(nav, dict) else nav:
            yield from pages(item)


def test_the_navigation_names_every_page_once() -> None:
    there = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
    assert sorted(pages()) == there, "add the page to nav in mkdocs.yml"


@pytest.mark.parametrize("page", sorted((DOCS / "api").glob("*.md")), ids=lambda page: page.stem)
def test_an_api_page_names_modules_that_exist(page: Path) -> None:
    modules = re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    assert modules
    assert len(set(modules)) == len(modules)
    for module in modules:
        assert importlib.util.find_spec(module) is not None, module
