"""How terms and states are told apart: by colours that colour-blind people tell apart, and by patterns that survive greyscale."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = ("#0072b2", "#b85400", "#00795a", "#a8457f", "#5b5f97", "#6b6100")
"""After Okabe and Ito, darkened until white text on them has a contrast of 4.5."""
_LINE = 'stroke="#fff" stroke-opacity=".42"'
_OVER = (
    "",
    f'<path d="M0 10 L10 0 M-2 2 L2 -2 M8 12 L12 8" {_LINE} stroke-width="2.5"/>',
    f'<path d="M0 5 H10" {_LINE} stroke-width="3"/>',
    f'<path d="M5 0 V10" {_LINE} stroke-width="3"/>',
    f'<path d="M0 0 L10 10 M-2 8 L2 12 M8 -2 L12 2 M0 10 L10 0" {_LINE} stroke-width="1.6"/>',
    '<circle cx="5" cy="5" r="2.3" fill="#fff" fill-opacity=".45"/>',
)
"""Over a term's colour; the first one is plain. The same place in both lists belongs together."""


def definitions() -> str:
    """The `defs` of a drawing, once in a document."""
    terms = "".join(
        f'<pattern id="term{number}" width="10" height="10" patternUnits="userSpaceOnUse">{over}</pattern>'
        for number, over in enumerate(_OVER)
        if over
    )
    return f"""<defs>{terms}
<pattern id="silent" width="8" height="8" patternUnits="userSpaceOnUse"><rect width="8" height="8" class="ground"/>
<path d="M0 0 L8 8 M8 0 L0 8" class="grain"/></pattern>
<pattern id="unknown" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="8" height="8" class="ground"/><path d="M2 0 V8" class="grain strong"/></pattern>
<pattern id="other" width="8" height="8" patternUnits="userSpaceOnUse"><rect width="8" height="8" class="ground"/>
<circle cx="4" cy="4" r="1.4" class="dot"/></pattern>
<pattern id="doubt" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<path d="M1.75 0 V7" class="gap"/></pattern>
<pattern id="fault" width="9" height="9" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">
<path d="M1 0 V9" class="fault-grain"/></pattern>
</defs>"""


def numbers(tokens: Iterable[int]) -> dict[int, int]:
    """By token, its place in the lists above: terms that follow each other never look the same."""
    return {token: number % len(COLOURS) for number, token in enumerate(sorted(set(tokens)))}


def bar(place: int, at: str) -> str:
    """A rectangle in a term's colour and pattern; `at` has its place and size."""
    over = f'<rect {at} fill="url(#term{place})"/>' if _OVER[place] else ""
    return f'<rect {at} fill="{COLOURS[place]}"/>{over}'
