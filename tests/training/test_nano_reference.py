"""Modules that the Qwen backbones share with the nano network must not change the latter."""

import numpy as np
import pytest

from tests.training.nano_reference import PATH, configs, filled_model, outputs, shapes


@pytest.mark.parametrize("name", ["options", "paper"])
def test_nano_keeps_its_parameter_names_and_outputs(name: str) -> None:
    saved = np.load(PATH)
    model = filled_model(configs()[name])
    assert shapes(model) == saved[f"{name}.shapes"].tolist()
    for key, value in outputs(model).items():
        wanted = saved[f"{name}.{key}"]
        assert np.abs(wanted).max() > 1e-3
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5, err_msg=key)
