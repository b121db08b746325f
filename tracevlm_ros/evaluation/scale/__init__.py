"""Thousands of recordings: jobs that can be resumed, results as Parquet, workers through Ray."""
