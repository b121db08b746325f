"""One metric a file; pure functions of arrays and words, golden-tested where a reference exists."""
