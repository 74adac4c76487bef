"""Tests of the kernels, against the textbook."""
