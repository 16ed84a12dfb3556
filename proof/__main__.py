"""Measure, print the tables, and with `--write` put them into docs/."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proof.alert_levels import prove_alert_levels
from proof.all_mine import prove_all_mine
from proof.area_ratio import prove_area_ratio
from proof.before_after import prove_before_after
from proof.calibration_ways import prove_calibration_ways
from proof.chips import prove_chips
from proof.cleared_ground import prove_cleared_ground
from proof.composite_error import prove_composite_error
from proof.cover import prove_cover
from proof.evidence import prove_evidence
from proof.few_labels import prove_few_labels
from proof.following import prove_following
from proof.markdown import write_section
from proof.masks import prove_masks
from proof.mosaics import prove_mosaics
from proof.parity import prove_parity
from proof.phantom import prove_phantom
from proof.phantom_series import prove_phantom_series
from proof.radar_evidence import prove_radar_evidence
from proof.raised import prove_raised
from proof.real_detections import prove_real_detections
from proof.real_input import prove_real_input
from proof.real_masks import prove_real_masks
from proof.real_series import prove_real_series
from proof.setup import REPOSITORY, Setup, default_data_folder
from proof.starts import prove_starts
from proof.store_kills import prove_store_kills
from proof.workings import prove_workings
from sluice.base.errors import SluiceError

DOCUMENT = REPOSITORY / "docs" / "accuracy.md"
COMPOSITES = REPOSITORY / "docs" / "composites.md"
MODELS = REPOSITORY / "docs" / "models.md"
CONTEXT = REPOSITORY / "docs" / "context.md"
ALERTS = REPOSITORY / "docs" / "alerts.md"
HISTORY = REPOSITORY / "docs" / "history.md"
SITES = REPOSITORY / "docs" / "sites.md"
STORE = REPOSITORY / "docs" / "store.md"


@dataclass(frozen=True)
class Section:
    """A part of the proof."""

    prove: Callable[[Setup], str]
    needs_data: bool = True
    document: Path = DOCUMENT


SECTIONS = {
    "chips": Section(prove_chips),
    "mosaics": Section(prove_mosaics),
    "phantom": Section(prove_phantom, needs_data=False),
    "real-input": Section(prove_real_input),
    "parity": Section(prove_parity),
    "raised": Section(prove_raised, document=MODELS),
    "workings": Section(prove_workings, document=MODELS),
    "before-after": Section(prove_before_after, document=MODELS),
    "real-masks": Section(prove_real_masks, document=MODELS),
    "cleared-ground": Section(prove_cleared_ground, document=MODELS),
    "phantom-series": Section(prove_phantom_series, needs_data=False, document=MODELS),
    "few-labels": Section(prove_few_labels, document=MODELS),
    "starts": Section(prove_starts, document=MODELS),
    "all-mine": Section(prove_all_mine, needs_data=False, document=MODELS),
    "calibration-ways": Section(prove_calibration_ways, document=MODELS),
    "composites": Section(prove_composite_error, needs_data=False, document=COMPOSITES),
    "masks": Section(prove_masks, document=COMPOSITES),
    "evidence": Section(prove_evidence, needs_data=False, document=ALERTS),
    "radar-evidence": Section(prove_radar_evidence, needs_data=False, document=ALERTS),
    "alert-levels": Section(prove_alert_levels, document=ALERTS),
    "real-series": Section(prove_real_series, document=COMPOSITES),
    "cover": Section(prove_cover, needs_data=False, document=CONTEXT),
    "area-ratio": Section(prove_area_ratio, needs_data=False, document=HISTORY),
    "real-detections": Section(prove_real_detections, document=HISTORY),
    "following": Section(prove_following, needs_data=False, document=SITES),
    "store-kills": Section(prove_store_kills, needs_data=False, document=STORE),
}


def main() -> int:
    """Run what was asked for; 2 if something of it could not be run."""
    arguments = _parse()
    left_out = []
    with tempfile.TemporaryDirectory(prefix="sluice-proof-") as work:
        setup = Setup(
            data=default_data_folder(),
            model=arguments.default,
            fold_models=arguments.models,
            out_of_fold=arguments.out_of_fold,
            pictures=arguments.pictures,
            work=Path(work),
            seeds=arguments.seeds,
        )
        for name in arguments.only or SECTIONS:
            if SECTIONS[name].needs_data and not setup.has_data:
                left_out.append(name)
                continue
            started = time.monotonic()
            try:
                markdown = SECTIONS[name].prove(setup)
            except (SluiceError, FileNotFoundError) as err:
                print(f"proof: {name}: {err}", file=sys.stderr)
                return 2
            print(f"\n## {name}\n\n{markdown}", flush=True)
            if arguments.write:
                write_section(SECTIONS[name].document, name, markdown)
            print(f"proof: {name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    if left_out:
        print(
            f"proof: left out: {', '.join(left_out)}. They need the shared data, which are not at "
            f"{setup.data}; SLUICE_SHARED_DATA says where they are",
            file=sys.stderr,
        )
    return 2 if left_out else 0


def _parse() -> argparse.Namespace:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    parser.add_argument("--default", default="default", help="name or folder of the model")
    parser.add_argument(
        "--models", type=Path, default=here / "models", help="folder of <model>-fold-K packages"
    )
    parser.add_argument("--out-of-fold", type=Path, default=here / "out_of_fold.csv")
    parser.add_argument("--pictures", type=Path, default=REPOSITORY / "proof-out")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some sections")
    parser.add_argument("--seeds", type=int, help="most countries of the section following")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
