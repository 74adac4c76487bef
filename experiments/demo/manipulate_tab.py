"""The tab that moves an image along attribute directions (section 6.3 of the paper)."""

import gradio as gr
import numpy as np

from experiments.demo import drawing, events, picker
from experiments.demo.page_data import PageData
from experiments.demo.served_model import ServedModel

STEPS = 7
LEAST, MOST = -1.0, 3.0
_PULL = 2.0  # Of the slider that isn't 0 at the start, so that the page shows what sliders do.


def directions_from(data: PageData, label: int | None) -> np.ndarray:
    """Returns a direction for each attribute, float32 [A, M].

    Where attributes are classes, from the class of the image to each; to its own class, from the mean of
    all images.
    """
    if not data.classes:
        return data.directions.vectors
    offsets = data.class_offsets()
    names = list(data.directions.names)
    if label is None or str(label) not in names:
        return offsets
    own = names.index(str(label))
    moved = offsets - offsets[own]
    moved[own] = offsets[own]
    return moved


def build(model: ServedModel, data: PageData) -> None:
    """A choice of an image, a slider for each attribute, the image moved, and the way there."""
    names = [str(name) for name in data.directions.names]
    titles = [f"Towards {name}" for name in names] if data.classes else names

    def move(picked, *amounts):
        direction = np.float32(amounts) @ directions_from(data, picked.label)
        # One more than is in the strip: the rebuilt image is the first of them.
        images = model.manipulate(picked.image, direction, np.linspace(0, 1, STEPS))
        moved = [f"{title}: {amount:g}" for title, amount in zip(titles, amounts, strict=True) if amount]
        caption = ", ".join(moved).lower() or "no slider is moved"
        large = drawing.figure(images[-1], f"The image, moved: {caption}", caption)
        figures = [
            drawing.figure(image, f"{share:.0%} of the way", f"{share:.0%}")
            for image, share in zip(images, np.linspace(0, 1, STEPS), strict=True)
        ]
        link = drawing.save_link(images, "manipulation.png")
        return drawing.shown(large), drawing.shown("<h3>The way there</h3>", drawing.strip(figures), link)

    def reset(picked):
        zeros = [0.0] * len(names)
        return *zeros, *move(picked, *zeros)

    with gr.Row():
        with gr.Column(scale=3, min_width=200):
            chosen = picker.Picker(model, data, 7)
        with gr.Column(scale=3, min_width=200), gr.Group():
            result = gr.HTML(elem_id="manipulate-result", elem_classes="framed")
        with gr.Column(scale=5, min_width=320):
            start = [0.0] * len(names)
            start[_first_other(names, chosen.start.label)] = _PULL
            sliders = _sliders(titles, start)
            button = gr.Button("Reset", elem_id="manipulate-reset")
    strip = gr.HTML(elem_id="manipulate-strip")
    result.value, strip.value = move(chosen.start, *start)
    events.on([s.input for s in sliders], move, [chosen.picked, *sliders], [result, strip])
    events.on(button.click, reset, [chosen.picked], [*sliders, result, strip])
    chosen.on_pick(move, sliders, [result, strip])


def _first_other(names, label):
    others = [i for i, name in enumerate(names) if name != str(label)]
    return others[-1] if others else 0


def _sliders(titles, values):
    """Two columns, read downwards."""
    half = -(-len(titles) // 2)
    sliders = []
    with gr.Row():
        for start in (0, half):
            with gr.Column(min_width=150):
                for title, value in zip(
                    titles[start : start + half], values[start : start + half], strict=True
                ):
                    sliders.append(gr.Slider(LEAST, MOST, value, step=0.05, label=title, buttons=[]))
    return sliders
