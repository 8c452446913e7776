"""What an evaluation leaves behind: evaluation.json, evaluation.csv and report.html."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

from booth.core.places import free_files
from booth.evaluate.report.evaluation import evaluation_page
from booth.evaluate.run import Evaluation

JSON, CSV, PAGE = "evaluation.json", "evaluation.csv", "report.html"


def write_files(evaluation: Evaluation, folder: Path) -> Path:
    """Write all three into `folder`, beside those of an earlier evaluation under the next number; return the page."""
    numbers, rows, page = free_files(folder, (JSON, CSV, PAGE))
    write_whole(numbers, json.dumps(evaluation.to_json(), indent=1) + "\n")
    write_whole(rows, as_csv(evaluation))
    write_whole(page, evaluation_page(evaluation))
    return page


def as_csv(evaluation: Evaluation) -> str:
    """One line a number of each row of the table."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["row", "metric", "part", "encoder", "value", "low", "high"])
    for row, measured in evaluation.measured.items():
        for score in measured.scores.values():
            writer.writerow([row, score.metric, score.part, score.encoder, score.value, score.low, score.high])
    return stream.getvalue()


def write_whole(file: Path, text: str) -> None:
    """Write a text file so that it is never found half written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_name(f"{file.name}.tmp-{os.getpid()}")
    work.write_text(text, encoding="utf-8")
    os.replace(work, file)
