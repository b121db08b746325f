"""Data sets of others as recordings: the same samples and ground truth as a bag gives."""
