"""One reader per data set: files in its own form -> typed ``Record``s (docs/data.md).

``catalogue.open_reader`` tells the form of a path and opens it.
"""
