"""Write the pages of docs/reference that follow from the code, or tell which are out of date.

python scripts/reference.py            # write them
python scripts/reference.py --check    # tell, and exit with 1
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from reference_api import api_page
from reference_commands import commands_page
from reference_recipe import recipe_page
from reference_server import server_page

from blockskim.atomic import write_whole

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

PAGES: Mapping[str, Callable[[], str]] = {
    "api.md": api_page,
    "cli.md": commands_page,
    "recipe.md": recipe_page,
    "server.md": server_page,
}
"""What writes each page."""


def main() -> int:
    """Write or check all pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = outdated()
    for name, text in stale.items():
        if check:
            sys.stderr.write(f"docs/reference/{name} is not what the code says; run scripts/reference.py\n")
        else:
            write_whole(FOLDER / name, text)
    return int(check and bool(stale))


def outdated() -> dict[str, str]:
    """The text of every page that is not there or says something else."""
    pages = {name: write() for name, write in PAGES.items()}
    return {
        name: text
        for name, text in pages.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text
    }


if __name__ == "__main__":
    sys.exit(main())
