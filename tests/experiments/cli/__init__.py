"""Tests of experiments/cli/."""
