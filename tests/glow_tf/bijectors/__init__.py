"""Tests of the bijectors."""
