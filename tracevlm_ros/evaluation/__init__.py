"""Bags in, scores out: replay through the live pipeline, metrics, one report."""
