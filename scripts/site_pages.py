"""Gather the pages of the site: docs/, and what stands elsewhere in the repository and is linked to from there.

    python scripts/site_pages.py    # makes .site/pages, which `zensical build` reads

Pages link to each other as they lie in the repository, so that links work there. Those to pages that move are
rewritten; a link to a file that the site does not have becomes its name.
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / ".site" / "pages"

ELSEWHERE = {
    "CHANGELOG.md": "about/changelog.md",
    "CONTRIBUTING.md": "about/contributing.md",
    "RELEASE.md": "about/release.md",
    "SECURITY.md": "about/security.md",
    "results/README.md": "about/results.md",
    "examples/browser/README.md": "about/browser.md",
    "src/blockskim/default_model/README.md": "about/model-card.md",
    # What stands there stands on these pages.
    "README.md": "index.md",
}
"""Pages outside of docs/, and where the site has them."""

FIGURES = (".png", ".svg")

LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
FENCE = re.compile(r"^( *)(```+).*?^\1\2 *$", re.DOTALL | re.MULTILINE)


def main() -> None:
    """Make the folder of pages anew."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    pages = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "docs").rglob("*.md"))}
    pages |= {name: ROOT / name for name in ELSEWHERE if name != "README.md"}
    for name, path in pages.items():
        place = OUTPUT / new_place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(rewritten(path.read_text(encoding="utf-8"), name), encoding="utf-8")
    for path in (ROOT / "docs").rglob("*"):
        if path.suffix in FIGURES:
            place = OUTPUT / path.relative_to(ROOT / "docs")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    sys.stderr.write(f"{len(pages)} pages in {OUTPUT.relative_to(ROOT)}\n")


def new_place(name: str) -> str:
    """Where the site has a file of the repository; "" where it has none."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    return name.removeprefix("docs/") if name.startswith("docs/") and (ROOT / name).is_file() else ""


def rewritten(text: str, name: str) -> str:
    """A page with the links that it has on the site.

    Args:
        text: the page.
        name: its path in the repository.
    """
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # the model card's metadata
    parts, shown = [], 0
    for fence in FENCE.finditer(text):
        parts += [_links(text[shown : fence.start()], name), fence[0]]
        shown = fence.end()
    return "".join([*parts, _links(text[shown:], name)])


def _links(prose: str, name: str) -> str:
    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if re.match(r"[a-z][a-z+.-]*:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        there = os.path.normpath(Path(name).parent / path)
        place = new_place(there)
        text = _links(match["text"], name)
        if not place:
            # A figure that was not drawn yet leaves nothing behind.
            return "" if match["image"] else text if text.startswith("`") else f"{text} (`{there}`)"
        # README.md has no headings of its own on the site.
        anchor = f"#{anchor}" if anchor and there != "README.md" else ""
        return f"{match['image']}[{text}]({os.path.relpath(place, Path(new_place(name)).parent)}{anchor})"

    return LINK.sub(link, prose)


if __name__ == "__main__":
    main()
