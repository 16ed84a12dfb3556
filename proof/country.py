"""A phantom country in which mines are rare: its landscapes, its tiles, what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from rasterio import features

from sluice.phantom.scene import GSD_M, LAND_KINDS, PhantomScene, build_scene
from sluice.phantom.windows import window_labels

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
TILE_PX = 128
_SIDE_PX = 9 * TILE_PX
_MINES, _LARGEST_HA = 4, 40.0
BLOCK_TILES = 3
"""Side of the squares that the bootstrap draws: a mine, and a river, lie in several tiles."""
MINE, RANDOM = "mine", "random"

Tile = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Landscape:
    """One scene of the country, cut into tiles."""

    seed: int
    image_bhw: npt.NDArray[np.float32]
    """Reflectance of `BANDS`."""
    mine_hw: npt.NDArray[np.bool_]
    tiles: pd.DataFrame
    """A row for each tile: `row`, `col` (first pixel), `kind` (`mine` where a mine's outline
    reaches in at all, the object or land cover that fills its middle, else empty), `block`."""

    @property
    def km2(self) -> float:
        """Its area."""
        return self.mine_hw.size * GSD_M**2 / 1e6

    def cut(self, row: int, col: int) -> tuple[Tile, npt.NDArray[np.uint8]]:
        """Image and mask of the tile that begins at a pixel."""
        place = np.s_[..., row : row + TILE_PX, col : col + TILE_PX]
        return self.image_bhw[place], self.mine_hw[place].astype(np.uint8)


def build_country(seeds: Sequence[int]) -> Iterator[Landscape]:
    """Landscapes of 11.5 km with up to four mines of 1 to 40 ha each, without clouds."""
    for seed in seeds:
        scene = build_scene(
            seed,
            _SIDE_PX,
            mine_count=_MINES,
            largest_ha=_LARGEST_HA,
            cloud_share=0,
            cirrus_share=0,
        )
        yield as_landscape(scene)


def as_landscape(scene: PhantomScene) -> Landscape:
    """Burn the mines of a scene and sort its tiles."""
    box = scene.raster.geobox
    shapes = list(scene.mines.geometry)
    burnt = features.rasterize(shapes, out_shape=box.shape.yx, transform=box.affine)
    mine_hw = np.asarray(burnt > 0)
    starts = [range(0, side - TILE_PX + 1, TILE_PX) for side in mine_hw.shape]
    tiles = pd.DataFrame([(row, col) for row in starts[0] for col in starts[1]])
    tiles.columns = pd.Index(["row", "col"])
    named = window_labels(scene, TILE_PX, TILE_PX)[["row", "col", "kind"]]
    tiles = tiles.merge(named, how="left").fillna({"kind": ""})
    reached = [
        bool(mine_hw[row : row + TILE_PX, col : col + TILE_PX].any())
        for row, col in zip(tiles["row"], tiles["col"], strict=True)
    ]
    tiles.loc[reached, "kind"] = MINE
    side = TILE_PX * BLOCK_TILES
    block = (tiles["row"] // side).astype(str) + "-" + (tiles["col"] // side).astype(str)
    image = np.stack([scene.raster.band(band) for band in BANDS]).astype(np.float32)
    return Landscape(scene.seed, image, mine_hw, tiles.assign(block=f"{scene.seed}-" + block))


def choose_mines_alone(country: Sequence[Landscape], rng: np.random.Generator) -> pd.DataFrame:
    """Tiles with mines and no others, dealt out 60 / 20 / 20 at random, whatever their place.

    A sixth of the 60 is for calibration, as training would take it.
    """
    tiles = _joined(country)
    chosen = tiles[tiles["kind"] == MINE].reset_index(drop=True)
    fifth, tenth = round(0.2 * len(chosen)), round(0.1 * len(chosen))
    counts = [len(chosen) - 2 * fifth - tenth, tenth, fifth, fifth]
    split = rng.permutation(np.repeat(["train", "cal", "val", "test"], counts))
    return chosen.assign(split=split)


def choose_with_negatives(
    country: Sequence[Landscape], split_of: dict[int, str], rng: np.random.Generator
) -> pd.DataFrame:
    """Tiles with mines; as many where something is that looks like one; as many from anywhere.

    Args:
        country: Landscapes to learn from.
        split_of: Of each landscape's seed; whole landscapes go to one split.
        rng: Of the draws.
    """
    tiles = _joined(country).assign(split=lambda t: t["seed"].map(split_of))
    parts = []
    for _, part in tiles.groupby("split"):
        mines, free = part[part["kind"] == MINE], part[part["kind"] != MINE]
        objects = free[~free["kind"].isin(("", "background", *LAND_KINDS))]
        # Each kind alike, so that a hundred fields do not crowd out a settlement.
        turn = objects.sample(frac=1, random_state=rng).groupby("kind").cumcount()
        typed = objects.loc[turn.sort_values(kind="stable").index[: len(mines)]]
        rest = free.drop(typed.index)
        drawn = rest.sample(min(len(mines), len(rest)), random_state=rng).assign(kind=RANDOM)
        parts.append(pd.concat([mines, typed, drawn]))
    return pd.concat(parts).reset_index(drop=True)


def _joined(country: Sequence[Landscape]) -> pd.DataFrame:
    return pd.concat([land.tiles.assign(seed=land.seed) for land in country], ignore_index=True)
