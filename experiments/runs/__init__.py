"""A run: its model, its checkpoints and logs, what interrupts it, and the devices that make it."""

from experiments.runs.run import Run, define_flags, define_inference_flags, load, load_for_inference

__all__ = ["Run", "define_flags", "define_inference_flags", "load", "load_for_inference"]
