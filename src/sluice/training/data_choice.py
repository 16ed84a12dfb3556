"""Which bands of a data set a model is to learn from, and of which sensor its images are."""

from __future__ import annotations

from sluice.base.errors import BandNotFound, ConfigError
from sluice.base.sensors import find_sensor
from sluice.labels.dataset import ChipDataset


def choose_sensor(dataset: ChipDataset, given: str | None) -> str:
    """The sensor of the images: as given, else as the data set says.

    Raises:
        ConfigError: Neither says it, or there is no such sensor.
    """
    sensor = given or dataset.about.sensor
    if sensor is None:
        raise ConfigError(
            f"{dataset.folder}: does not say which sensor its images are of; name it with "
            "sensor, such as s2-l2a"
        )
    return find_sensor(sensor).id


def refuse_repeats(names: tuple[str, ...], option: str) -> None:
    """Refuse what is named twice.

    Raises:
        ConfigError: It is.
    """
    repeated = [name for k, name in enumerate(names) if name in names[:k]]
    if repeated:
        raise ConfigError(f"{option}: {repeated[0]} is named twice; name each once")


def choose_bands(dataset: ChipDataset, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Bands by name, or by `rgb`, `rgb+nir`, `all`.

    Raises:
        BandNotFound: One is not in the data set.
    """
    sets = {
        ("rgb",): ("red", "green", "blue"),
        ("rgb+nir",): ("red", "green", "blue", "nir"),
        ("all",): dataset.about.bands,
        (): dataset.about.bands,
    }
    bands = sets.get(wanted, wanted)
    refuse_repeats(bands, "--bands")
    missing = [band for band in bands if band not in dataset.about.bands]
    if missing:
        raise BandNotFound.from_missing_and_available(
            missing,
            dataset.about.bands,
            wanted_by="the training",
            href=str(dataset.folder),
            advice="Choose other bands with --bands, or make the chips with these",
        )
    return bands
