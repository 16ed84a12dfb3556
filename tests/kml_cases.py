"""KML as people draw it: folders with polygons."""


def polygon(west: float, name: str = "p") -> str:
    """One of a square degree at the equator."""
    east = west + 1
    ring = f"{west},0 {east},0 {east},1 {west},1 {west},0"
    return (
        f"<Placemark><name>{name}</name><Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}"
        "</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>"
    )


def folders(*given: tuple[str, str]) -> str:
    """A document with folders: names and contents."""
    parts = "".join(f"<Folder><name>{name}</name>{held}</Folder>" for name, held in given)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2">'
        f"<Document>{parts}</Document></kml>"
    )
