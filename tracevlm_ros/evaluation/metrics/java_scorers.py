"""METEOR 1.5 and SPICE through their authors' own jars, or "not run" with the reason.

Other definitions of METEOR give other figures (NLTK's .68 where the jar says .42 on the same
captions), so nothing stands in for a missing jar. Jars are looked for where the environment
variables TRACEVLM_METEOR_JAR and TRACEVLM_SPICE_JAR say, else inside an installed pycocoevalcap.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

Tokens = Sequence[str]
_TIME_LIMIT_S = 600.0
_JARS = {"meteor": "meteor/meteor-1.5.jar", "spice": "spice/spice-1.0.jar"}


class NotRun(NamedTuple):
    """Why a metric has no figure."""

    reason: str


def meteor(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float | NotRun:
    """Corpus METEOR 1.5 (English, normalised), 0..1, of tokenised captions."""
    command = _java("meteor", "2G")
    if isinstance(command, NotRun):
        return command
    arguments = ["-", "-", "-stdio", "-l", "en", "-norm"]
    scoring = "".join(
        f"SCORE ||| {' ||| '.join(map(_line, group))} ||| {_line(candidate)}\n"
        for candidate, group in zip(candidates, references, strict=True)
    )
    statistics = _talk([*command, *arguments], scoring)
    if isinstance(statistics, NotRun):
        return statistics
    lines = statistics.strip().splitlines()
    if len(lines) != len(candidates):
        return NotRun(f"METEOR answered {len(lines)} of {len(candidates)} captions")
    answer = _talk([*command, *arguments], f"EVAL ||| {' ||| '.join(map(str.strip, lines))}\n")
    if isinstance(answer, NotRun):
        return answer
    return _number(answer.strip().splitlines()[-1:], "METEOR")


def spice(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float | NotRun:
    """Mean SPICE F of tokenised captions. Its jar breaks on Java 17; Java 8 runs it."""
    command = _java("spice", "8G")
    if isinstance(command, NotRun):
        return command
    samples = [
        {"image_id": index, "test": " ".join(candidate), "refs": [" ".join(r) for r in group]}
        for index, (candidate, group) in enumerate(zip(candidates, references, strict=True))
    ]
    with tempfile.TemporaryDirectory(prefix="tracevlm_spice_") as folder:
        source, target = Path(folder, "in.json"), Path(folder, "out.json")
        source.write_text(json.dumps(samples), encoding="utf-8")
        answer = _talk([*command, str(source), "-out", str(target), "-silent"], "")
        if isinstance(answer, NotRun):
            return answer
        if not target.exists():
            return NotRun("SPICE wrote no result")
        scores = [one["scores"]["All"]["f"] for one in json.loads(target.read_text("utf-8"))]
    return sum(scores) / len(scores) if scores else NotRun("SPICE scored no caption")


def _java(name: str, memory: str) -> list[str] | NotRun:
    java = shutil.which("java")
    if java is None:
        return NotRun("no Java on PATH; install a Java run time")
    jar = _find_jar(name)
    if jar is None:
        return NotRun(f"no {name} jar; set TRACEVLM_{name.upper()}_JAR or install pycocoevalcap")
    return [java, f"-Xmx{memory}", "-jar", str(jar)]


def _find_jar(name: str) -> Path | None:
    named = os.environ.get(f"TRACEVLM_{name.upper()}_JAR")
    if named is not None:
        return Path(named) if Path(named).is_file() else None
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None or not package.submodule_search_locations:
        return None
    jar = Path(next(iter(package.submodule_search_locations)), _JARS[name])
    return jar if jar.is_file() else None


def _line(tokens: Tokens) -> str:
    return " ".join(tokens).replace("|||", " ")


def _talk(command: Sequence[str], text: str) -> str | NotRun:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=_TIME_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return NotRun(f"Java failed: {error}")
    if done.returncode != 0:
        return NotRun(f"Java ended with status {done.returncode}: {_complaint(done.stderr)}")
    return done.stdout


def _complaint(stderr: str) -> str:
    """The line of a Java trace that says what is wrong: the last cause, else the first error."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    errors = [line for line in lines if "Exception" in line or "Error" in line]
    return (causes[-1:] or errors[:1] or lines[-1:] or ["no message"])[0][:200]


def _number(lines: list[str], name: str) -> float | NotRun:
    try:
        return float(lines[0])
    except (IndexError, ValueError):
        return NotRun(f"{name} answered no number")
