"""What to set so that a source hands its files out, in words for a person."""

from __future__ import annotations

from urllib.parse import urlsplit

CDSE_S3_HOST = "eodata.dataspace.copernicus.eu"
AZURE_BLOBS = ".blob.core.windows.net"
_CDSE_BUCKET = "eodata"

CDSE_KEYS = (
    "set CDSE_S3_ACCESS_KEY and CDSE_S3_SECRET_KEY: keys are free, from the dashboard of a "
    "Copernicus Data Space account (CDSE), and run out some day"
)
READER_PAYS = (
    "whoever reads it pays Amazon for the transfer; to agree, which costs money, set "
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REQUEST_PAYER=requester"
)
INSTALL_SIGNER = "run: pip install sluice[planetary-computer]"


def advice_for(href: str, s3_endpoint: str) -> str:
    """What to do where a source refused to hand a file out.

    Args:
        href: The file's address.
        s3_endpoint: Where `s3://` addresses lead.
    """
    parts = urlsplit(href)
    host = parts.hostname or ""
    if parts.scheme.lower() == "s3":
        if _is_cdse(s3_endpoint):
            return CDSE_KEYS
        if host == _CDSE_BUCKET:
            return f"it is read by --source cdse: {CDSE_KEYS}"
        return f"it may be that {READER_PAYS}"
    if parts.query:
        return "its address may have been signed for a while that is over; search again"
    if host.endswith(AZURE_BLOBS):
        return (
            f"images of the Planetary Computer need a signature: {INSTALL_SIGNER} (where that is "
            "there, try again later)"
        )
    return (
        "if it needs a token, set SLUICE_BEARER_TOKEN, and the hosts that may see it in "
        f"SLUICE_BEARER_HOSTS (here {host})"
    )


def _is_cdse(s3_endpoint: str) -> bool:
    return (urlsplit(s3_endpoint).hostname or s3_endpoint).lower() == CDSE_S3_HOST
