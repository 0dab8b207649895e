"""The page to try the service: one file, and headers under which a browser runs nothing but what is in it."""

import base64
import hashlib
import re
from importlib import resources


def read_page() -> tuple[str, dict[str, str]]:
    """The page and its headers: its own script and style are known by their digests, and all else is shut out."""
    page = resources.files("blockskim.serving.http").joinpath("page.html").read_text(encoding="utf-8")
    script, style = (_digests(page, tag) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _digests(page: str, tag: str) -> str:
    """The digests of what stands between tags, as a policy names them."""
    found = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
