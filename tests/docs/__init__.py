"""Tests of the documents: each is run as it is written."""
