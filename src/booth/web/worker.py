"""Run as a job's process: `python -m booth.web.worker JOB_FOLDER MODULE WORDS...`.

It writes into the job's folder which process it is before anything else, so that a server that was killed between
starting it and noting that finds it again. Then it becomes the command.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from booth.core.errors import DiskFullError
from booth.core.process import this_process
from booth.web.jobs import ACTIVE, JobFolder


def main(words: list[str]) -> None:
    """Say who does the job, and do it unless it was given up meanwhile."""
    folder, module, *rest = words
    job_folder = JobFolder(Path(folder))
    try:
        job_folder.claim(this_process())
    except OSError as error:
        told = f"The disk is full: {error.strerror}. Free some space and go on."
        print(json.dumps({"error": told, "exit_code": DiskFullError.exit_code}), flush=True)
        sys.exit(DiskFullError.exit_code)
    job = job_folder.read()
    if job is None or job.state not in ACTIVE:  # the server gave up waiting for this process
        sys.exit("This job was taken back before its process began.")
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
