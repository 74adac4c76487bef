"""The tab that explains an image: its bits per dimension, and what each level of the latents holds."""

import gradio as gr
import numpy as np

from experiments.demo import drawing, events, picker
from experiments.demo.page_data import PageData
from experiments.demo.served_model import ServedModel

REDRAWN = 5
_TEMPERATURE = 0.7


def build(model: ServedModel, data: PageData) -> None:
    """A choice of an image, its bits among those of the test set, and its levels kept one after the other."""

    def bits_view(image, labels):
        bits = float(model.bits_per_dim(image[None], labels)[0])
        fewer = np.mean(data.bits < bits)
        sentence = (
            f"The model needs <b>{bits:.3f} bits per dimension</b> for this image; "
            f"{fewer:.0%} of the {len(data.bits)} test images need fewer."
        )
        return drawing.shown(f"<p>{sentence}</p>", drawing.histogram(data.bits, bits))

    def levels_view(image, labels):
        levels = [level[0] for level in model.encode(image[None], labels)]
        rows = [kept_and_redrawn(levels, kept) for kept in range(len(levels) + 1)]
        flat = [np.concatenate(column) for column in zip(*rows, strict=True)]
        n = len(flat[0])
        images = model.decode(flat, None if labels is None else np.repeat(labels, n))
        table = images.reshape(len(rows), 1 + REDRAWN, *image.shape)
        cells = ["Kept of the image", "Rest at its mean", f"Rest drawn at random, temperature {_TEMPERATURE}"]
        parts = [f'<div class="head">{cell}</div>' for cell in cells]
        for kept, row in enumerate(table):
            parts += _row(levels, kept, row, table[-1, 0])
        link = drawing.save_link(images, "levels.png")
        return drawing.shown(
            f"<h3>What each level holds</h3><div class='levels'>{''.join(parts)}</div>", link
        )

    def view(picked, label):
        labels = np.int32([int(label)]) if model.n_y else None
        return bits_view(picked.image, labels), levels_view(picked.image, labels)

    def view_of_new(picked):
        label = str(picked.label) if model.n_y else None
        return label, *view(picked, label)

    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            chosen = picker.Picker(model, data, 0)
            label = gr.Dropdown(
                [str(y) for y in range(model.n_y)],
                value=str(chosen.start.label) if model.n_y else None,
                label="The model takes this for a",
                visible=bool(model.n_y),
                filterable=False,
            )
        with gr.Column(scale=3, min_width=320):
            bits = gr.HTML(elem_id="explain-bits")
            levels = gr.HTML(elem_id="explain-levels")
    _, bits.value, levels.value = view_of_new(chosen.start)
    events.on(label.input, view, [chosen.picked, label], [bits, levels])
    chosen.on_pick(view_of_new, [], [label, bits, levels])


def kept_and_redrawn(levels: list[np.ndarray], kept: int) -> list[np.ndarray]:
    """Returns the top `kept` levels, and others instead of the rest: by level, [1 + REDRAWN, h, w, c] each.

    In row 0 the others are zeros, which are the means of the priors; in the further rows random numbers,
    the same for every image, so that what changes is the image's doing.
    """
    dropped = len(levels) - kept
    answer = []
    for i, level in enumerate(levels):
        if i >= dropped:
            answer.append(np.stack([level] * (1 + REDRAWN)))
            continue
        noise = np.random.default_rng(i).normal(0, _TEMPERATURE, (REDRAWN, *level.shape))
        answer.append(np.concatenate([np.zeros((1, *level.shape)), noise]).astype(np.float32))
    return answer


def _row(levels, kept, images, whole):
    n_kept = sum(level.size for level in levels[len(levels) - kept :])
    n_all = sum(level.size for level in levels)
    if kept == len(levels):
        title, about = "All levels", "the image itself"
    else:
        title = ("Nothing", "The top level")[kept] if kept < 2 else f"The top {kept} levels"
        about = f"off by {np.abs(images[0].astype(int) - whole).mean() / 255:.1%}"
    text = f"{n_kept} of {n_all} numbers, {about}"
    figures = [drawing.figure(image, f"{title} kept, the rest drawn at random") for image in images[1:]]
    return [
        f"<div><b>{title}</b><br><small>{text}</small></div>",
        drawing.figure(images[0], f"{title} kept, the rest at its mean"),
        drawing.strip(figures),
    ]
