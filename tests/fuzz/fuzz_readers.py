"""Coverage-guided fuzzing of the readers: any bytes give a table or one AnnotationError.

    python tests/fuzz/fuzz_readers.py -max_total_time=300 -max_len=4096 -rss_limit_mb=4096

Needs the extra `fuzz` (Atheris). The first byte picks the suffix; the corpus starts from well-formed files of
every format and from the defects that tests/malformed.py keeps.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (1, 2)]

with atheris.instrument_imports(include=["alpaca_analysis.table.readers", "alpaca_analysis.table.checks"]):
    from alpaca_analysis.table.readers import read_annotations  # the package itself loads nothing yet

from malformed import DEFECTS, SEEDS, SUFFIXES  # noqa: E402

from alpaca_analysis.foundations.errors import AnnotationError  # noqa: E402

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def read(data: bytes) -> None:
    """Read one input; anything but a table or an AnnotationError is a finding."""
    if not data:
        return
    path = FOLDER / f"annotations{SUFFIXES[data[0] % len(SUFFIXES)]}"
    path.write_bytes(data[1:])
    try:
        read_annotations(path)
    except AnnotationError:
        pass
    finally:
        path.unlink()


def main() -> None:
    warnings.simplefilter("ignore", UserWarning)  # what a reader doubts and takes as it is
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    kept = [(k, seed) for k in range(len(SUFFIXES)) for seed in SEEDS]
    kept += [(SUFFIXES.index(suffix), data) for suffix, data in DEFECTS.values() if len(data) < 20_000]
    for number, (k, data) in enumerate(kept):
        (corpus / str(number)).write_bytes(bytes([k]) + data)
    atheris.Setup([*sys.argv, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
