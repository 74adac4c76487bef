"""Tests of the hyperparameters."""
