"""A big model is calibrated and quantised without its weights ever being in memory together."""

from pathlib import Path

import pytest

from tests.engine.quantisation_samples import written_set
from tests.engine.test_export_memory import EXPORT, MOST, used_bytes, weight_bytes

_QUANTISE = """
import json, sys
from pathlib import Path
from calibration.quantisation_set import read_set
from engine.export.quantised_directory import quantise_directory
from engine.runtime.manifest import read_manifest

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

before = kilobytes("VmRSS")
source, samples, precision, out = sys.argv[1:]
Path(out).mkdir()
quantise_directory(read_manifest(Path(source)), read_set(Path(samples)), precision, Path(out))
print(json.dumps({"used": 1024 * (kilobytes("VmHWM") - before)}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_quantising_takes_at_most_one_and_a_half_times_the_weights(tmp_path: Path) -> None:
    """Calibration included, which runs the model in fp32; weights are those stored, in bf16."""
    source, samples = tmp_path / "big", tmp_path / "set"
    used_bytes(EXPORT, str(source), "fp32")
    weights = weight_bytes(source)
    assert weights > 250e6
    written_set(samples, (84, 84))
    for precision, share in (("int8", 0.55), ("int4", 0.35)):
        out = tmp_path / precision
        used = used_bytes(_QUANTISE, str(source), str(samples), precision, str(out))
        said = f"{precision}: {used / 1e6:.0f} MB for weights of {weights / 1e6:.0f} MB"
        assert used <= MOST * weights, said
        language = [(each / "language.weights").stat().st_size for each in (out, source)]
        assert language[0] <= share * language[1]
