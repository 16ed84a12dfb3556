"""Fixtures that every test may use."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from proof.postgis_cluster import postgis_programs, private_cluster

from scenes import write_toy_model
from sluice.app.cli.main import main
from stores import PostgisPlaces, SqlitePlaces, StorePlaces

# A machine that is busy with other things takes longer for an example than hypothesis allows.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _english() -> Iterator[None]:
    """Commands speak the language of the user's system where none is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_LANGUAGE", "en")
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Programs that tests start can be told by Ctrl-C, also where the tests run in the background,
    which is where shells have it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pixels, labels and models; tests skip where it is absent."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("SLUICE_SHARED_DATA", default))
    if not (folder / "README.md").is_file():
        pytest.skip(f"real data not found at {folder}; set SLUICE_SHARED_DATA to run this test")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch in one thread: for small fits the quickest, and the same wherever tests run."""
    torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the model in `scenes`, in a folder of models of its own."""
    return write_toy_model(tmp_path_factory.mktemp("models")).folder


@pytest.fixture
def sluice(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the program as a shell does; gives exit code, stdout and stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sluice", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture(scope="session")
def postgis_places() -> Iterator[PostgisPlaces]:
    """A PostgreSQL server of the tests' own; they skip where Debian's packages are absent."""
    programs = postgis_programs()
    if programs is None:
        pytest.skip("no PostGIS here; `apt-get install postgresql-15-postgis-3` to run this test")
    with private_cluster(programs) as address:
        yield PostgisPlaces(address)


@pytest.fixture(scope="session")
def sqlite_places(tmp_path_factory: pytest.TempPathFactory) -> SqlitePlaces:
    """Where stores in SQLite files are made."""
    return SqlitePlaces(tmp_path_factory.mktemp("stores"))


@pytest.fixture(params=["sqlite", "postgis"])
def places(request: pytest.FixtureRequest) -> Iterator[StorePlaces]:
    """Where stores are made, of each kind in turn; close them before the test ends."""
    found = request.getfixturevalue(f"{request.param}_places")
    yield found
    found.take_back()
