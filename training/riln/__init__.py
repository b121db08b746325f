"""Reasoning-based Interactive Localized Narratives: dialogues about traces, from narratives."""
