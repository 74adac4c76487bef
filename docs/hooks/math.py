"""MkDocs hook: formulas become MathML while the pages are built, so that reading them takes no script."""

import html
import re

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content, **kwargs):
    """Returns the page's HTML with the formulas of `pymdownx.arithmatex` replaced."""
    del kwargs

    def mathml(match):
        tag, formula = match.groups()
        return convert(html.unescape(formula), display="block" if tag == "div" else "inline")

    return _FORMULA.sub(mathml, content)
