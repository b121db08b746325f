"""Make RILN dialogues from the narratives of a training set (docs/data.md).

DATA is an annotation file or folder of a known form, or ``synthetic:SEED:COUNT``. Without an
endpoint the rule-based teacher writes; it needs things with known attributes, as synthetic scenes
have. Running the same command again goes on where it stopped.
"""

import argparse
import json
from pathlib import Path

from tracevlm_ros.core.drops import Drops
from training.data.naming import open_data
from training.riln.build import BuildConfig, Builder, evaluation_texts
from training.riln.dialogues import DialogueWriter
from training.riln.endpoint import EndpointConfig, EndpointTeacher
from training.riln.rules import RuleTeacher

_SIDE = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--records", type=int, default=1000, help="pictures to write about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--evaluation", action="append", default=[], help="held-out data whose texts must not leak"
    )
    parser.add_argument("--asker-url", help="endpoint of the model that asks")
    parser.add_argument("--asker-model", default="", help="its name there")
    parser.add_argument("--answerer-url", help="endpoint of the model that reasons and answers")
    parser.add_argument("--answerer-model", default="", help="its name there")
    parser.add_argument("--key-variable", default="", help="environment variable with the key")


def run(arguments: argparse.Namespace) -> int:
    """Build; the manifest is printed as JSON."""
    drops = Drops()
    asker = _teacher(arguments.asker_url, arguments.asker_model, arguments.key_variable)
    answerer = _teacher(arguments.answerer_url, arguments.answerer_model, arguments.key_variable)
    reader = open_data([arguments.data], _SIDE)[0]
    held_out = [
        text
        for name in arguments.evaluation
        for other in open_data([name], _SIDE, training=False)
        for text in evaluation_texts(other.read(index) for index in range(len(other)))
    ]
    config = BuildConfig(data=arguments.data, records=arguments.records, seed=arguments.seed)
    builder = Builder(
        config, reader, DialogueWriter(asker, answerer, drops), held_out, drops,
        say=lambda line: print(line, flush=True),
    )  # fmt: skip
    print(json.dumps(builder.run(arguments.out), indent=2))
    return 0


def _teacher(url: str | None, model: str, key_variable: str) -> RuleTeacher | EndpointTeacher:
    if not url:
        return RuleTeacher()
    return EndpointTeacher(EndpointConfig(base_url=url, model=model, key_variable=key_variable))
