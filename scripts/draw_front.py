"""Draw the front that calibration found for the shipped model: F1 against arithmetic saved, and the points on it.

python scripts/draw_front.py    # writes docs/figures/front.svg from the model's calibration.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole
from blockskim.inference.shipped import shipped_model

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "figures" / "front.svg"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 400, 70, 30, 46, 56


def main() -> None:
    """Draw the figure."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    write_whole(FIGURE, drawing(read_calibration()))
    sys.stderr.write(f"{FIGURE.relative_to(ROOT)}\n")


def read_calibration() -> dict[str, Any]:
    """What calibration wrote beside the shipped model."""
    found: dict[str, Any] = json.loads((shipped_model() / "calibration.json").read_text(encoding="utf-8"))
    return found


def drawing(calibration: dict[str, Any]) -> str:
    """The figure as SVG: of every confirmed point the F1 lost as measured, with its error, and the F1 at risk."""
    front = sorted(calibration["front"], key=lambda point: point["flops_speedup"])
    dense = calibration["dense"]["f1"]
    speeds = [point["flops_speedup"] for point in front]
    lost = [dense - point["f1"] for point in front]
    risk = [point["f1_at_risk"] for point in front]
    errors = [point["error"] or 0.0 for point in front]
    low = min(0.0, *(value - error for value, error in zip(lost, errors, strict=True)))
    high = max(*risk, *(value + error for value, error in zip(lost, errors, strict=True)))
    most = max(speeds)

    def x(speed: float) -> float:
        return round(LEFT + (speed - 1) / (most - 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    parts = [_axes(x, y, most, low, high)]
    for speed, value, error in zip(speeds, lost, errors, strict=True):
        parts.append(
            f'<line class="error" x1="{x(speed)}" x2="{x(speed)}" y1="{y(value - error)}" y2="{y(value + error)}"/>'
        )
    parts.append(_curve("risk", [(x(speed), y(value)) for speed, value in zip(speeds, risk, strict=True)]))
    parts.append(_curve("lost", [(x(speed), y(value)) for speed, value in zip(speeds, lost, strict=True)]))
    for name, point in calibration["points"].items():
        chosen = point["chosen"]
        here, there = x(chosen["flops_speedup"]), y(dense - chosen["f1"])
        parts.append(f'<circle class="point" cx="{here}" cy="{there}" r="7"/>')
        parts.append(f'<text class="name" x="{here}" y="{there - 13}">{name}</text>')
    about = (
        f"F1 lost against FLOPs speed-up on {calibration['examples']:,} held-out questions: every point that "
        "calibration confirmed by really skimming, and the operating points that it chose"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t">\n'
        f'<title id="t">{about}</title>\n<style>{STYLE}</style>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


STYLE = (
    "text{font:13px Helvetica,Arial,sans-serif;fill:#33383d}.axis{stroke:#33383d;fill:none}.grid{stroke:#e1e4e8}"
    ".lost{stroke:#0b6e4f;fill:none;stroke-width:2}.risk{stroke:#c0504d;fill:none;stroke-width:2;stroke-dasharray:6 4}"
    ".error{stroke:#0b6e4f;opacity:.35}.point{fill:#ffe34d;stroke:#16191d;stroke-width:1.5}"
    "circle.risk{stroke-dasharray:none}.name{font-weight:bold;text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:4}.mid{text-anchor:middle}.end{text-anchor:end}"
)


def _curve(kind: str, places: Sequence[tuple[float, float]]) -> str:
    dots = "".join(f'<circle class="{kind}" cx="{x}" cy="{y}" r="2.5"/>' for x, y in places)
    return f'<polyline class="{kind}" points="{" ".join(f"{x},{y}" for x, y in places)}"/>{dots}'


def _axes(x: Any, y: Any, most: float, low: float, high: float) -> str:
    left, right, bottom = x(1.0), x(most), HEIGHT - BOTTOM
    parts = []
    for tenth in range(10, int(most * 10) + 1, 2):
        speed = tenth / 10
        parts.append(f'<line class="grid" x1="{x(speed)}" x2="{x(speed)}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="mid" x="{x(speed)}" y="{bottom + 20}">{speed:.1f}×</text>')
    for half in range(int(low * 2) - 1, int(high * 2) + 1):
        value = half / 2
        if low <= value <= high:
            parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(value)}" y2="{y(value)}"/>')
            parts.append(f'<text class="end" x="{left - 8}" y="{y(value) + 4}">{-value + 0:+.1f}</text>')
    parts.append(f'<path class="axis" d="M{left} {TOP}V{bottom}H{right}"/>')
    parts.append(
        f'<text class="mid" x="{(left + right) / 2}" y="{HEIGHT - 12}">FLOPs speed-up over dense, unpadded</text>'
    )
    parts.append(f'<text x="{left}" y="24">F1 against dense, in points: </text>')
    parts.append(
        f'<path class="lost" d="M{left + 190} 20h34"/><text x="{left + 230}" y="24">measured, with its error</text>'
    )
    parts.append(f'<path class="risk" d="M{left + 400} 20h34"/><text x="{left + 440}" y="24">at risk</text>')
    return "\n".join(parts)


if __name__ == "__main__":
    main()
