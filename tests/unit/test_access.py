"""How the environment's credentials reach the sources that they are for."""

import pytest

from sluice.app.config import access_for
from sluice.base.errors import ConfigError

NAMES = (
    "CDSE_S3_ACCESS_KEY",
    "CDSE_S3_SECRET_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REQUEST_PAYER",
    "AWS_REGION",
    "SLUICE_BEARER_TOKEN",
    "SLUICE_BEARER_HOSTS",
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without credentials."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a.example,b.example", ("a.example", "b.example")),
        (" a.example , B.example\n", ("a.example", "b.example")),
        (",a.example, ,", ("a.example",)),
    ],
)
def test_hosts_of_a_token(bare: pytest.MonkeyPatch, text: str, hosts: tuple[str, ...]) -> None:
    bare.setenv("SLUICE_BEARER_TOKEN", "token")
    bare.setenv("SLUICE_BEARER_HOSTS", text)
    assert access_for("https://a.example/stac", 0).bearer_hosts == hosts


def test_a_token_of_no_host(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("SLUICE_BEARER_TOKEN", "token")
    bare.setenv("SLUICE_BEARER_HOSTS", " , ")
    with pytest.raises(ConfigError, match="needs the hosts"):
        access_for("https://a.example/stac", 0)


def test_keys_go_to_their_own_service(bare: pytest.MonkeyPatch) -> None:
    for prefix in ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"):
        bare.setenv(prefix, "of cdse")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        bare.setenv(name, "of amazon")
    cdse = access_for("cdse", 0)
    assert (cdse.s3_key, cdse.requester_pays) == ("of cdse", False)
    assert "copernicus" in cdse.s3_endpoint
    # Nobody agreed to pay.
    assert access_for("earth-search", 0).s3_key is None
    bare.setenv("AWS_REQUEST_PAYER", "requester")
    paid = access_for("earth-search", 0)
    assert (paid.s3_key, paid.requester_pays) == ("of amazon", True)
    assert "amazonaws" in paid.s3_endpoint
