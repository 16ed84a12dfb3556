"""Titles and words in exports, in the reader's language; what programs read is the same in all."""

import sqlite3
import zipfile
from xml.etree import ElementTree as ET

from export_cases import alerts_table, sites_table
from sluice.app.exports.appearance import column_title
from sluice.app.exports.flat_table import KINDS
from sluice.app.exports.write import write_export
from sluice.app.messages import messages
from sluice.sites.context import COLUMN_KINDS
from sluice.sites.cover import LOST_COLUMNS
from sluice.sites.priority import PARTS

KML = "{http://www.opengis.net/kml/2.2}"
GPX = "{http://www.topografix.com/GPX/1/1}"


def parse_xml(content: bytes | str) -> ET.Element:
    return ET.fromstring(content)  # noqa: S314 - written here


def test_people_read_titles_and_words_in_their_language(tmp_path) -> None:
    sites = sites_table([-1.0], [6.0]).assign(
        status="growing", level="high", legality="outside", context=[{"river_m": 5.0}]
    )
    told = {"sites": sites, "alerts": alerts_table(sites).assign(kind="growth"), "language": "fr"}
    kml = parse_xml(write_export(tmp_path / "a.kml", **told).path.read_bytes())
    shown = {one.get("name"): one[0].text for one in kml.iter(f"{KML}SimpleField")}
    assert (shown["area_ha"], shown["last_seen"]) == ("Superficie (ha)", "Dernière détection")
    assert shown["context_river_m"] == "Cours d'eau\u00a0: distance (m)"
    balloon = next(kml.iter(f"{KML}Placemark")).findtext(f"{KML}description")
    for title, value in (("Statut", "en extension"), ("Niveau", "élevé")):
        assert f"<td><b>{title}</b></td><td>{value}</td>" in balloon
    assert "Hors de tout titre minier enregistré" in balloon
    # What programs read stays as it is.
    values = {one.get("name"): one.text for one in kml.iter(f"{KML}SimpleData")}
    assert (values["status"], values["legality"]) == ("growing", "outside")
    assert kml.findtext(f"{KML}Document/{KML}name") == "Sites"
    gpx = parse_xml(write_export(tmp_path / "a.gpx", what=("alerts",), **told).path.read_bytes())
    assert gpx.findtext(f"{GPX}metadata/{GPX}name") == "Alertes"
    waypoint = next(gpx.iter(f"{GPX}wpt"))
    assert "Type: extension" in waypoint.findtext(f"{GPX}desc")
    assert waypoint.findtext(f"{GPX}type") == "alerts"
    done = write_export(tmp_path / "a.gpkg", what=("sites", "alerts"), **told)
    with sqlite3.connect(done.path) as db:
        styles = dict(db.execute("SELECT f_table_name, styleQML FROM layer_styles"))
        titles = {row[0] for row in db.execute("SELECT identifier FROM gpkg_contents")}
    assert titles >= {"Sites", "Alertes"}
    style = parse_xml(styles["sites"])
    legend = {one.get("value"): one.get("label") for one in style.iter("category")}
    assert (legend["growing"], legend[""]) == ("en extension", "non communiqué")
    aliases = {one.get("field"): one.get("name") for one in style.iter("alias")}
    assert aliases["known_before"] == "Observé sans mine auparavant"
    assert "Probabilité d'une mine" in style.findtext("mapTip")
    with zipfile.ZipFile(write_export(tmp_path / "a.zip", **told).path) as archive:
        assert "area_ha,Superficie (ha)" in archive.read("sites_columns.csv").decode()


def test_every_column_has_a_title_in_each_language() -> None:
    covers = [f"{cover}_{when}_ha" for cover in ("forest", "farmland", "water", "bare")
              for when in ("before", "after")]  # fmt: skip
    names = [
        *(f"context_{name}" for name in COLUMN_KINDS),
        *(f"priority_{part}" for part in PARTS),
        *(*covers, *LOST_COLUMNS, "cover_before", "cover_after"),
        *(name for kind in KINDS.values() for name in kind.record.model_fields),
    ]
    names = [name for name in names if name not in {"context", "priority_parts"}]
    alike = {"site_id", "lon", "lat", "context_district"}
    for language in ("fr", "es", "pt"):
        titles = {name: column_title(name, messages(language)) for name in names}
        assert {name for name in titles if titles[name] == column_title(name, messages("en"))} <= (
            alike | {"sensor"}
        )
        # Which column is which shows.
        assert len(set(titles.values())) > 0.95 * len(set(names))
    assert column_title("context_my_own_m", messages("fr")) == "My own (m)"
