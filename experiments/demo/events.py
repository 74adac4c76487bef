"""How an event of the page is answered: in the queue, and a refusal as a sentence."""

import functools

import gradio as gr

from experiments.served import ServerError


def on(triggers, answer, inputs, outputs) -> None:
    """Answers events by a function.

    While one answer is on its way, of the events that follow only the last is answered: a slider that is
    dragged asks as often as the model can follow.

    Args:
        triggers: an event of a component, or a list of them.
        answer: callable, values of `inputs` -> values of `outputs`.
        inputs: components.
        outputs: components.
    """

    @functools.wraps(answer)
    def answered(*values):
        try:
            return answer(*values)
        except ServerError as error:
            raise gr.Error(f"The model gave no answer. {error}", print_exception=False) from error

    gr.on(
        triggers,
        answered,
        inputs,
        outputs,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
