"""Make a bag of moving objects with a gaze that visits them and with ground truth.

The same arguments give the same bytes. Topics: /camera/image/compressed, /camera/camera_info,
/gaze, /ground_truth/masks and /ground_truth/captions.
"""

import argparse
import json
import sys

from tracevlm_ros.ingest.bag_writer import STORAGES
from tracevlm_ros.ingest.synthetic_bag import SyntheticBagConfig, write_synthetic_bag
from tracevlm_ros.synthetic.clip import ClipConfig
from tracevlm_ros.synthetic.gaze import GazeConfig
from tracevlm_ros.synthetic.scene import BACKGROUNDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    clip, bag = ClipConfig(), SyntheticBagConfig()
    parser.add_argument("--out", required=True, help="new folder of the bag")
    parser.add_argument("--seed", type=int, default=clip.seed, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=clip.seconds, help="default %(default)s")
    parser.add_argument("--rate", type=float, default=clip.rate_hz, help="frames/s, %(default)s")
    parser.add_argument("--size", type=_size, default=clip.size_hw, help="WxH, default 640x480")
    parser.add_argument("--objects", type=int, default=clip.objects, help="default %(default)s")
    parser.add_argument("--background", choices=BACKGROUNDS, default=clip.background)
    parser.add_argument("--noise", type=float, default=clip.noise, help="grey levels, %(default)s")
    parser.add_argument("--jpeg-quality", type=int, default=bag.jpeg_quality)
    parser.add_argument("--storage", choices=STORAGES, default=bag.storage)
    parser.add_argument(
        "--standard-types",
        action="store_true",
        help="gaze as geometry_msgs/PointStamped and captions as std_msgs/String (JSON)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    config = SyntheticBagConfig(
        clip=ClipConfig(
            seed=arguments.seed,
            seconds=arguments.seconds,
            rate_hz=arguments.rate,
            height=arguments.size[0],
            width=arguments.size[1],
            objects=arguments.objects,
            background=arguments.background,
            noise=arguments.noise,
        ),
        gaze=GazeConfig(seed=arguments.seed),
        storage=arguments.storage,
        standard_types=arguments.standard_types,
        jpeg_quality=arguments.jpeg_quality,
    )
    made = write_synthetic_bag(arguments.out, config, _show_progress)
    size = sum(file.stat().st_size for file in made.path.iterdir())
    if arguments.json:
        result = {
            "path": str(made.path),
            "bytes": size,
            "frames": made.frames,
            "gaze_samples": made.gaze_samples,
            "captions": list(made.captions),
        }
        print(json.dumps(result))
    else:
        print(
            f"{made.path}: {made.frames} frames, {made.gaze_samples} gaze samples, "
            f"{len(made.visits)} visits, {size / 1e6:.1f} MB"
        )
    return 0


def _size(text: str) -> tuple[int, int]:
    """``WxH`` as (height, width)."""
    width, _, height = text.lower().partition("x")
    try:
        return int(height), int(width)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write WxH, as 640x480") from error


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\rdrawing frame {done} of {total}", end=end, file=sys.stderr, flush=True)
