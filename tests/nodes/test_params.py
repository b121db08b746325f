from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import from_mapping
from tracevlm_ros.nodes import params
from tracevlm_ros.nodes.gaze_caption import SCHEMA
from tracevlm_ros.nodes.parameter_table import all_tables, table, updated
from tracevlm_ros.nodes.pipeline_parameters import pipeline_config, pipeline_specs

ROOT = Path(__file__).parents[2]
SCHEMAS = sorted(SCHEMA.parent.glob("*.yaml"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_default_fits_its_own_range_and_choices(path: Path) -> None:
    for spec in params.load_schema(path):
        if spec.range is not None:
            assert spec.range[0] <= spec.default <= spec.range[1], spec.name
        if spec.choices is not None:
            assert spec.default in spec.choices, spec.name
        assert spec.description.endswith("."), spec.name


def test_every_setting_of_the_pipeline_is_described_and_every_number_has_a_range() -> None:
    for spec in pipeline_specs():
        assert spec.description.endswith("."), spec.name
        assert len(spec.description.split()) > 1, spec.name
        if spec.type in (int, float):
            assert spec.range is not None, spec.name
            assert spec.range[0] <= spec.default <= spec.range[1], spec.name
            assert {type(bound) for bound in spec.range} == {spec.type}, spec.name
        if spec.type is str:
            assert spec.choices is not None, spec.name
            assert spec.default in spec.choices, spec.name


def test_a_schema_entry_with_an_unknown_key_or_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text("speed: {type: int, default: 1, description: x, unit: m}")
    with pytest.raises(ConfigError, match="speed"):
        params.load_schema(path)
    path.write_text("speed: {type: complex, default: 1, description: x}")
    with pytest.raises(ConfigError, match="complex"):
        params.load_schema(path)


def test_every_setting_of_the_pipeline_is_a_parameter_and_comes_back() -> None:
    specs = pipeline_specs()
    values = {spec.name: spec.default for spec in specs}
    assert pipeline_config(values) == PipelineConfig()
    values["pipeline.live.max_traces"] = 7
    assert pipeline_config(values).live.max_traces == 7


def test_nested_builds_sections_and_leaves_other_names_out() -> None:
    values = {"p.a.b": 1, "p.c": 2, "model": "nano"}
    assert params.nested(values, "p") == {"a": {"b": 1}, "c": 2}


def test_the_shipped_parameter_file_holds_the_defaults() -> None:
    document = yaml.safe_load((ROOT / "config" / "gaze_caption.yaml").read_text())
    values = document["/**"]["ros__parameters"]
    defaults = {spec.name: spec.default for spec in params.load_schema(SCHEMA)}
    assert from_mapping(PipelineConfig, values.pop("pipeline")) == PipelineConfig()
    assert values == {name: defaults[name] for name in values}


def test_every_node_that_a_user_starts_has_its_table() -> None:
    tables = all_tables()
    for path in SCHEMAS:
        if path.name != "bench_source.yaml":
            for spec in params.load_schema(path):
                assert params_row(spec) in tables, f"{path.name}: {spec.name}"
    for spec in pipeline_specs():
        assert params_row(spec) in tables, spec.name


def params_row(spec: params.ParameterSpec) -> str:
    return table([spec]).splitlines()[-1]


def test_the_documented_tables_are_those_of_the_schemas() -> None:
    text = (ROOT / "docs" / "ros.md").read_text(encoding="utf-8")
    assert updated(text) == text, "run: python -m tracevlm_ros.nodes.parameter_table docs/ros.md"
