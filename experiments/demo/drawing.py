"""The page's pictures as HTML: images inside the answer itself, so that one answer is one request.

Nothing is written to a disk, each image has a text for those who can't see it, and small images are
enlarged by the browser without smoothing. Its classes are those of style.css.
"""

import base64
import html
import io

import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image

from experiments import pictures

_SMALL = 64  # Images below this height are shown with hard pixels.
_GRID_COLUMNS = 10


def shown(*parts: str) -> str:
    """Returns the parts as one block, which is what a component of the page holds."""
    return f'<div class="shown">{"".join(parts)}</div>'


def figure(image, text: str, caption: str = "") -> str:
    """Returns an image, uint8 [H, W, C], with its text and, below, its caption."""
    kind = "small" if image.shape[0] < _SMALL else "large"
    caption = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img class="{kind}" alt="{html.escape(text)}" src="{_url(image)}">{caption}</figure>'


def tiles(figures, minimum: int) -> str:
    """Returns figures in rows that fit the page, each at least `minimum` pixels wide."""
    return f'<div class="tiles" style="--tile: {minimum}px">{"".join(figures)}</div>'


def strip(figures) -> str:
    """Returns figures in one row."""
    return f'<div class="strip" style="--columns: {len(figures)}">{"".join(figures)}</div>'


def side_by_side(figures) -> str:
    """Returns a few large figures."""
    return f'<div class="side-by-side">{"".join(figures)}</div>'


def save_link(images, name: str) -> str:
    """Returns a link that saves images, uint8 [N, H, W, C], as one picture in rows of ten."""
    images = np.asarray(images)
    columns = min(_GRID_COLUMNS, len(images))
    black = np.zeros((-len(images) % columns, *images.shape[1:]), np.uint8)
    url = _url(pictures.grid(np.concatenate([images, black]), columns))
    return f'<a class="save" download="{name}" href="{url}">Save as PNG</a>'


def note(sentence: str, bad: bool = False) -> str:
    """Returns a sentence that screen readers speak when it changes."""
    kind, role = ("note bad", "alert") if bad else ("note", "status")
    return f'<div class="{kind}" role="{role}">{html.escape(sentence)}</div>'


def histogram(values, here: float, width=720, height=190, n_bins=36) -> str:
    """Returns a histogram as SVG, with one value marked.

    Args:
        values: floats [N].
        here: the value to mark; beyond the values the axis reaches as far.
        width: int, of the picture's own coordinates, as is `height`.
        height: int.
        n_bins: int, from the smallest to the largest value.
    """
    counts, edges = np.histogram(values, n_bins)
    low, high = min(edges[0], here), max(edges[-1], here)
    margin = 24.0
    x = lambda value: margin + (width - 2 * margin) * (value - low) / (high - low)
    base, top = height - 26.0, 26.0
    bars = []
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        bar = (base - top) * count / counts.max()
        kind = "here" if left <= here < right else "bar"
        bars.append(
            f'<rect class="{kind}" x="{x(left):.1f}" y="{base - bar:.1f}" '
            f'width="{max(1.0, x(right) - x(left) - 1):.1f}" height="{bar:.1f}"/>'
        )
    ticks = "".join(
        f'<text x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle">{tick:g}</text>'
        for tick in MaxNLocator(7).tick_values(low, high)
        if low <= tick <= high
    )
    anchor = "start" if x(here) < width / 4 else "end" if x(here) > 3 * width / 4 else "middle"
    marker = (
        f'<g class="marker"><line x1="{x(here):.1f}" x2="{x(here):.1f}" y1="{top - 4}" y2="{base}"/>'
        f'<text x="{x(here):.1f}" y="14" text-anchor="{anchor}">this image: {here:.2f}</text></g>'
    )
    axis = f'<line x1="{margin}" x2="{width - margin}" y1="{base}" y2="{base}"/>'
    text = f"Bits per dimension of {len(values)} test images; this image needs {here:.2f}."
    return (
        f'<svg class="histogram" role="img" aria-label="{text}" viewBox="0 0 {width} {height}">'
        f"{''.join(bars)}{axis}{ticks}{marker}</svg>"
    )


def _url(image):
    with io.BytesIO() as file:
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
