"""Files of versions that were in use before: what exists has to keep working.

Each folder is a version. That version wrote its files in the lab, so all keys and addresses are made up: the configuration of an
appliance and of an egress node, the store of evidence with its checkpoint key, and the coordinator's state. The callers'
register knows `API_KEY`. One record of 0.1.0 is a permission by look-up failure that no later version gives.
"""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
VERSIONS: Final = sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name[0].isdigit())
RECORDS: Final = {"0.1.0": 52}
FIRST_HASH: Final = {"0.1.0": "f4d23a18dbb990058dd196799c087da24beca40e49eda676ad7df02b5cdb8821"}
API_KEY: Final = "mpic_93bd940a_Cf1Sq3_EVBC3tceqFAgIzAabTNPGCpDkY6Qy0H_-ca8"


def lay(version: str, state_directory: Path, user: int | None = None) -> None:
    """Put that version's state where the present one looks for it; `user`: whose it shall be."""
    before = HERE / version
    evidence, coordinator = state_directory / "evidence", state_directory / "coordinator"
    for directory in (state_directory, evidence, coordinator):
        directory.mkdir(mode=0o755, exist_ok=True)
    store = evidence / "evidence.sqlite"
    store.write_bytes(lzma.decompress((before / "evidence.sqlite.xz").read_bytes()))
    laid = [store]
    for file in (*before.glob("checkpoint.key*"), *(before / "coordinator").iterdir()):
        target = (evidence if file.parent == before else coordinator) / file.name
        shutil.copyfile(file, target)
        laid.append(target)
    for path in laid:
        path.chmod(0o644 if path.suffix == ".pub" else 0o600)
    if user is not None:
        for path in (evidence, coordinator, *laid):
            shutil.chown(path, user, user)
