"""The settings of the pipeline as node parameters, ``pipeline.*``."""

from collections.abc import Mapping
from typing import Any

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.settings import from_mapping
from tracevlm_ros.nodes.params import ParameterSpec, dataclass_specs, nested

_PREFIX = "pipeline"


def pipeline_specs() -> tuple[ParameterSpec, ...]:
    """One parameter for every setting, with the pipeline's defaults."""
    return dataclass_specs(PipelineConfig(), _PREFIX)


def pipeline_config(values: Mapping[str, Any]) -> PipelineConfig:
    """The parameters ``pipeline.*`` as settings; ConfigError where they do not fit together."""
    return from_mapping(PipelineConfig, nested(values, _PREFIX))


def judge_pipeline(values: Mapping[str, Any]) -> None:
    """For NodeParameters: refuses values that PipelineConfig refuses."""
    pipeline_config(values)
