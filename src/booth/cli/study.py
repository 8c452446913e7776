"""booth study: questions that are answered by many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Device
from booth.cli.output import Progress, finish
from booth.cli.workers import Threads, Workers, spread_over


def study(
    files: Annotated[list[Path], typer.Argument(help="Studies, such as experiments/prior.toml.")],
    photos: Annotated[
        Path | None, typer.Option(help="Where the folders of subjects called photos/NAME lie.", metavar="DIR")
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of the runs, one JSON file each.", metavar="DIR")] = Path(
        "results/studies"
    ),
    pages: Annotated[Path, typer.Option(help="Folder of the pages.", metavar="DIR")] = Path("docs/studies"),
    work: Annotated[Path, typer.Option(help="Folder for concepts and drawings in the making.", metavar="DIR")] = Path(
        "runs/studies"
    ),
    workers: Workers = "1",
    threads: Threads = None,
    report: Annotated[bool, typer.Option("--report", help="Make the pages again from what is there.")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Run what a study still lacks and write its page; print the page's file.

    The same command goes on with an interrupted study, and two at once share the work. Studies share runs.
    """
    from booth.compare.experiment import read_setting, read_study
    from booth.compare.study import run_studies
    from booth.compare.study_page import SHEETS, write_pages
    from booth.compare.study_sheets import write_sheets
    from booth.core.errors import UsageError
    from booth.families.quiet import hush
    from booth.train.setup import choose_device

    hush()
    folders = {file.parent for file in files}
    if len(folders) > 1:
        raise UsageError(
            "The studies lie in several folders, each of which has arms of its own.",
            "Name one folder's.",
            code="study.several_folders",
            field="files",
        )
    setting = read_setting(folders.pop())
    studies = [read_study(file, setting) for file in files]
    if not report:
        progress = Progress()
        try:
            with spread_over(workers, threads) as executor:
                run_studies(
                    studies,
                    setting,
                    results=results,
                    work=work,
                    photographs=photos,
                    device=choose_device(device),
                    listeners=[progress],
                    executor=executor,
                )
        finally:
            progress.close()
    for each in studies:
        write_sheets(each, setting, work, pages / SHEETS)
    written = [str(page) for page in write_pages(studies, setting, results, pages)]
    finish({"pages": written}, written, as_json)
