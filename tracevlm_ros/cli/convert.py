"""Turn a recording of an eye tracker, or a narrative, into a rosbag2 bag.

RECORDING is a Neon folder, a Pupil Core export (gaze_positions.csv), Tobii Glasses 2 live data, a
gaze table, or a file of (Video) Localized Narratives; its form is recognised. Gaze takes its scene
--video (or the --size of the scene without one), a narrative the folder of its --images.
"""

import argparse
import json
from pathlib import Path

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.ingest.bag_writer import STORAGES
from tracevlm_ros.ingest.localized_narratives import is_narratives
from tracevlm_ros.ingest.recording_bag import (
    BagSettings,
    RecordingBag,
    write_gaze_bag,
    write_narrative_bag,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = BagSettings()
    parser.add_argument("recording", type=Path, help="file or folder")
    parser.add_argument("out", type=Path, metavar="BAG", help="folder of the new bag")
    parser.add_argument("--video", type=Path, help="scene video of a gaze recording")
    parser.add_argument("--size", metavar="WxH", help="of the scene, where there is no video")
    parser.add_argument("--images", type=Path, help="folder of a narrative's pictures")
    parser.add_argument("--narrative", type=int, default=0, help="which one of the file, from 0")
    parser.add_argument(
        "--gaze-offset-ms", type=float, default=0.0, help="added to the stamps of gaze"
    )
    parser.add_argument("--jpeg-quality", type=int, default=default.jpeg_quality)
    parser.add_argument("--picture-rate", type=float, default=default.picture_hz,
                        help="a narrative's pictures a second, default %(default)s")  # fmt: skip
    parser.add_argument("--frame-id", default=default.frame_id, help="default %(default)s")
    parser.add_argument("--storage", choices=STORAGES, default=default.storage)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the bag and tell what is in it."""
    settings = BagSettings(
        storage=arguments.storage,
        frame_id=arguments.frame_id,
        jpeg_quality=arguments.jpeg_quality,
        gaze_offset_ms=arguments.gaze_offset_ms,
        picture_hz=arguments.picture_rate,
    )
    made = _convert(arguments, settings)
    if arguments.json:
        print(json.dumps({**made._asdict(), "path": str(made.path)}))
        return 0
    topics = ", ".join(f"{count} on {topic}" for topic, count in sorted(made.counts.items()))
    print(f"{made.path}: {made.form}, {made.seconds:.1f} s, {topics}; one clock by {made.tied_by}")
    return 0


def _convert(arguments: argparse.Namespace, settings: BagSettings) -> RecordingBag:
    if is_narratives(arguments.recording):
        if arguments.images is None:
            raise ConfigError("a narrative needs --images, the folder of its pictures")
        if arguments.narrative < 0:
            raise ConfigError(f"--narrative is {arguments.narrative}; it must be at least 0")
        return write_narrative_bag(
            arguments.recording, arguments.narrative, arguments.images, arguments.out, settings
        )
    size_hw = None if arguments.size is None else _size(arguments.size)
    return write_gaze_bag(arguments.recording, arguments.out, settings, arguments.video, size_hw)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ConfigError(f"--size is {text!r}; it must be WxH, for example 1280x720")
    return int(height), int(width)
