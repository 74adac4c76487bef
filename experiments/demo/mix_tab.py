"""The tab that mixes two images."""

import gradio as gr
import numpy as np

from experiments.demo import answers, drawing, picker
from experiments.demo.exhibits import Exhibits
from experiments.demo.served_model import ServedModel

POINTS = 9


def build(model: ServedModel, exhibits: Exhibits) -> None:
    """Makes the tab's components in the current block."""

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
            first = picker.Picker(model, exhibits, 2, "First")
        with gr.Column(min_width=200), gr.Group():
            result = gr.HTML(elem_id="mix-result", elem_classes="framed")
            percent = gr.Slider(0, 100, 50, step=1, label="From first to second, %", buttons=[])
        with gr.Column(min_width=200):
            second = picker.Picker(model, exhibits, 5, "Second")
    strip = gr.HTML(elem_id="mix-strip")
    result.value, strip.value = view(first.start, second.start, 50)
    answers.on(percent.input, mixed, [first.picked, second.picked, percent], result)
    picker.connect([first, second], view, [percent], [result, strip])
