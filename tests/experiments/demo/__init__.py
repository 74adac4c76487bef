"""Tests of the demo page; those of the page itself need a browser, see CONTRIBUTING.md."""
