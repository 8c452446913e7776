"""Put a ControlNet that was trained on the embedded base among the package's assets, in half precision.

    python benchmarks/control_obedience.py --control canny --small --set ... --concept runs/canny
    python scripts/ship_control.py runs/canny

What was learned from is named by the record's settings alone: its pictures are rendered, and can be rendered again.
"""

from __future__ import annotations

import sys

import torch
from diffusers import ControlNetModel

from booth.concept import Concept
from booth.core.commit import committed
from booth.core.concept import RECORD
from booth.families.loading import CONTROLS_FOLDER
from booth.generate.controls import follows
from booth.methods.controlnet import FOLDER


def main() -> None:
    concept = Concept.load(sys.argv[1])
    kind = follows(concept)
    if kind is None:
        sys.exit(f"{concept.folder} is no ControlNet.")
    with committed(CONTROLS_FOLDER / kind, {"kind": "concept"}) as folder:
        net = ControlNetModel.from_pretrained(concept.folder / FOLDER, torch_dtype=torch.float16)
        net.register_to_config(_name_or_path=kind)  # and not where it lay
        net.save_pretrained(folder / FOLDER, safe_serialization=True)
        files = {f"{FOLDER}/{file.name}": file.stat().st_size for file in sorted((folder / FOLDER).iterdir())}
        own = concept.record.data.items()  # without what is told of files on the machine that taught it
        data = {key: value for key, value in own if not isinstance(value, list) and key != "start_from"}
        update = {"sizes": files, "artifact_bytes": sum(files.values()), "photos": [], "photo_files": [], "data": data}
        (folder / RECORD).write_text(concept.record.model_copy(update=update).model_dump_json(indent=1) + "\n")
    print(CONTROLS_FOLDER / kind, update["artifact_bytes"])


if __name__ == "__main__":
    main()
