"""Results as one self-contained HTML page and as JSON beside it."""
