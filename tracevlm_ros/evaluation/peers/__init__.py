"""What needs no training: the answers that a learned mask must beat."""
