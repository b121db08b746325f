"""The ``tracevlm`` command."""
