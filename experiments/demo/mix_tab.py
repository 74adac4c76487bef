"""The tab that mixes two images."""

import gradio as gr
import numpy as np

from experiments.demo import drawing, events, picker
from experiments.demo.page_data import PageData
from experiments.demo.served_model import ServedModel

POINTS = 9


def build(model: ServedModel, data: PageData) -> None:
    """Two choices of an image, the one between them, and the line from one to the other."""

    def mixed(first, second, percent):
        image = model.interpolate(first.image, second.image, [percent / 100])[0]
        text = f"{100 - percent:g}% first, {percent:g}% second"
        return drawing.shown(drawing.figure(image, text, text))

    def between(first, second):
        points = np.linspace(0, 1, POINTS)
        images = model.interpolate(first.image, second.image, points)
        figures = [
            drawing.figure(image, f"{percent:.0f}% the second image", f"{percent:.0f}%")
            for image, percent in zip(images, 100 * points, strict=True)
        ]
        link = drawing.save_link(images, "mix.png")
        return drawing.shown("<h3>All the way</h3>", drawing.strip(figures), link)

    def view(first, second, percent):
        return mixed(first, second, percent), between(first, second)

    with gr.Row():
        with gr.Column(min_width=200):
            first = picker.Picker(model, data, 2, "First")
        with gr.Column(min_width=200), gr.Group():
            result = gr.HTML(elem_id="mix-result", elem_classes="framed")
            percent = gr.Slider(0, 100, 50, step=1, label="From first to second, %", buttons=[])
        with gr.Column(min_width=200):
            second = picker.Picker(model, data, 5, "Second")
    strip = gr.HTML(elem_id="mix-strip")
    result.value, strip.value = view(first.start, second.start, 50)
    events.on(percent.input, mixed, [first.picked, second.picked, percent], result)
    first.on_pick(view, [second.picked, percent], [result, strip])
    second.on_pick(
        lambda two, one, percent: view(one, two, percent), [first.picked, percent], [result, strip]
    )
