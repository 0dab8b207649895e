"""Relative links of every page lead somewhere: to a file that is there, and to a heading that it has."""

import os
import re
from pathlib import Path

import pytest
from site_pages import new_place

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "examples", "results", "benchmarks", "src", "tests")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(file for name in FOLDERS for file in (ROOT / name).rglob("*.md") if "node_modules" not in file.parts),
    ]
)
LINK = re.compile(r"(?<!\\)\]\(<?([^()\s>]+)>?\)|<img [^>]*src=\"([^\"]+)\"")


def prose(page):
    """A page without its code, in which brackets are no links."""
    text = re.sub(r"^( *)(```+|~~~+).*?^\1\2 *$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "`code`", text)


def anchors(page):
    """The names under which headings are linked to, as GitHub and the site make them."""
    text = re.sub(r"^( *)(```+).*?^\1\2 *$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found, seen = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text)), {}
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page):
    wrong = []
    for link in (first or second for first, second in LINK.findall(prose(page))):
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        # Generated headings have anchors of their own, which the build of the site checks.
        known = not anchor or target.suffix != ".md" or anchor in anchors(target) or anchor.startswith("blockskim.")
        if not target.exists():
            wrong.append(f"{link}: there is no such file")
        elif not known:
            wrong.append(f"{link}: there is no such heading")
    assert not wrong


def test_there_are_pages_and_links():
    assert len(PAGES) > 40
    assert sum(len(LINK.findall(prose(page))) for page in PAGES) > 150


def listed():
    """The pages of the site, in its order."""
    return re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1])


def test_the_site_has_every_page_of_the_docs():
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(listed())


def test_the_first_page_links_all_others_in_the_order_of_the_site():
    index = ROOT / "docs" / "index.md"
    section = index.read_text(encoding="utf-8").split("\n## All pages\n")[1].split("\n## ")[0]
    found = [os.path.relpath((index.parent / link).resolve(), ROOT) for link, _ in LINK.findall(section)]
    assert ["index.md", *map(new_place, found)] == listed()
