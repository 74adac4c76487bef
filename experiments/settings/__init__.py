"""Hyperparameters: their flags, what they resolve to, hps.json, and the paper's rows."""

from experiments.settings.hyperparameters import (
    Hyperparameters,
    define_flags,
    given_flags,
    glow_config,
    resolve,
    warning,
)

__all__ = ["Hyperparameters", "define_flags", "given_flags", "glow_config", "resolve", "warning"]
