"""Print how close phantom scenes come to real chips, and draw both side by side.

    python scripts/phantom_realism.py --chips DIR [--picture FILE.png]

DIR holds `chips.csv` and `grids/`. Only chips of the split `pool` with a clear threshold of 0.75
are read. No model takes part: the phantom is matched to pixels, not to a detector.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sluice.labels.chips import chip_reflectance, load_chips, read_chip_table
from sluice.phantom.realism import PLACES, describe_chips, median_log_ratio, phantom_chips
from sluice.phantom.scene import build_scene

SEEDS = (101, 102, 103, 104, 105, 106)
HAZE = (0.0, 0.3, 0.05, 0.15, 0.45, 0.1)
REAL_SOURCES = {
    "mine": "",
    "riverbank": "riverbank_negatives",
    "farmland": "v4.0-CNN-2025_acre_negatives",
    "industry": "industrial_negatives",
    "land": "random_negatives",
}


def real_chips(folder: Path, place: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Chips of the kind of place, (N, 48, 48, 3) reflectance without unobserved pixels."""
    table = read_chip_table(folder)
    table = table[(table["split"] == "pool") & (table["clear_threshold"] == 0.75)]
    table = table[table["label"] == int(place == "mine")]
    table = table[table["source"].str.startswith(REAL_SOURCES[place])]
    chosen = table.iloc[np.sort(rng.permutation(len(table))[:count])]
    chips = chip_reflectance(load_chips(folder, chosen))
    return np.asarray(chips[np.isfinite(chips).all(axis=(1, 2, 3))])


def draw(pairs: dict[str, tuple[np.ndarray, np.ndarray]], path: Path, columns: int = 10) -> None:
    """Real chips left, phantom chips right, two rows for each kind of place."""
    step, rows = 2 * 48 + 4, []
    for real, phantom in pairs.values():
        band = np.full((2 * step, (2 * columns + 1) * step, 3), 255, dtype=np.uint8)
        for side, chips in enumerate((real, phantom)):
            for place, chip in enumerate(chips[: 2 * columns]):
                row, column = divmod(place, columns)
                picture = (np.clip(chip / 0.3, 0, 1) * 255).astype(np.uint8)
                top, left = row * step, (column + side * (columns + 1)) * step
                band[top : top + 96, left : left + 96] = picture.repeat(2, axis=0).repeat(2, axis=1)
        rows.append(band)
    Image.fromarray(np.vstack(rows)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=Path, required=True, help="folder with chips.csv, grids/")
    parser.add_argument("--picture", type=Path, help="where to write the picture")
    parser.add_argument("--count", type=int, default=300, help="chips of each kind at most")
    arguments = parser.parse_args()
    scenes = [build_scene(seed, 780, mine_count=8) for seed in SEEDS]
    pairs, distance = {}, {}
    for place in PLACES:
        rng = np.random.default_rng(1)
        real = real_chips(arguments.chips, place, arguments.count, rng)
        share = -(-arguments.count // len(scenes))
        parts = [
            phantom_chips(scene, place, share, rng=rng, haze=haze)
            for scene, haze in zip(scenes, HAZE, strict=True)
        ]
        phantom = rng.permutation(np.concatenate(parts))
        pairs[place] = (rng.permutation(real), phantom)
        tables = {"real": describe_chips(real), "phantom": describe_chips(phantom)}
        both = pd.concat(tables, axis=1).swaplevel(axis=1).sort_index(axis=1).round().astype(int)
        print(f"\n{place}: {len(real)} real, {len(phantom)} phantom chips, reflectance x 10,000")
        print(both.to_string())
        distance[place] = median_log_ratio(tables["phantom"], tables["real"])
    print("\nmean log2(phantom / real) over the quantiles 25, 50, 75")
    print(pd.DataFrame(distance).round(2).to_string())
    if arguments.picture:
        draw(pairs, arguments.picture)
        print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
