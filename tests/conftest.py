import tracevlm_ros  # noqa: F401  before numpy, whose threads it sets
