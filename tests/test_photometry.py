"""Tables beside the images: every row goes to its object and to no other; colours; the SDSS over a server of our own."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace._optional import optional_import
from morphospace.errors import ConfigError, DataError, MissingDependencyError
from morphospace.science.photometry import colours, join, sdss_photometry
from morphospace.space.embeddings import Embeddings


def objects(ids, ra=None, dec=None) -> Embeddings:
    places = {} if ra is None else {"ra": pa.array(ra, pa.float64()), "dec": pa.array(dec, pa.float64())}
    return Embeddings.from_arrays(None, list(ids), np.zeros((len(ids), 2)), places)


def apart(ra1, dec1, ra2, dec2):
    """Haversine, arcsec: another way than astropy's."""
    a, b, c, d = map(np.radians, (ra1, dec1, ra2, dec2))
    h = np.sin((d - b) / 2) ** 2 + np.cos(b) * np.cos(d) * np.sin((c - a) / 2) ** 2
    return 2 * np.degrees(np.arcsin(np.sqrt(h))) * 3600


# by id


def test_join_by_id_keeps_the_order_of_the_objects_and_flags_doubt():
    emb = objects(["c", "a", "x", "b"])
    table = pa.table({"id": ["a", "b", "b", "c", "z"], "mag": [1.0, 2.0, 3.0, None, 9.0], "name": list("ABbCZ")})
    found = join(emb, table)
    assert found.column_names == ["id", "match", "match_rows", "match_arcsec", "mag", "name"]
    assert found["id"].to_pylist() == ["c", "a", "x", "b"]
    assert found["match"].to_pylist() == ["one", "one", "none", "ambiguous"]
    assert found["match_rows"].to_pylist() == [1, 1, 0, 2]
    assert found["mag"].to_pylist() == [None, 1.0, None, 2.0]
    assert found["name"].to_pylist() == ["C", "A", None, "B"]


def test_ids_that_look_like_numbers_stay_what_they_are(tmp_path):
    (tmp_path / "t.csv").write_text("objID,mag\n00123,1.5\n123,2.5\n588848901530583233,3.5\n")
    found = join(objects(["588848901530583233", "00123", "0123"]), tmp_path / "t.csv", columns=["mag"])
    assert found["mag"].to_pylist() == [3.5, 1.5, None]
    numbers = pa.table({"id": [588848901530583233, 7], "mag": [1.0, 2.0]})
    assert join(objects(["588848901530583233"]), numbers)["mag"].to_pylist() == [1.0]


def test_join_by_id_is_asked_for_in_vain():
    with pytest.raises(DataError, match="the table has none of these 1 ids in its column 'id'"):
        join(objects(["a"]), pa.table({"id": ["b"]}), by="id")
    with pytest.raises(DataError, match="the table has no column of ids"):
        join(objects(["a"]), pa.table({"mag": [1.0]}), by="id")


# by position


@given(st.integers(0, 10_000), st.sampled_from([0.5, 2.0, 30.0]))
def test_join_by_position_is_that_of_all_distances(seed, radius):
    rng = np.random.default_rng(seed)
    n, m = 8, 12
    ra, dec = rng.uniform(359.99, 360.01, n) % 360, rng.choice([-89.9, 0.0, 45.0], 1) + rng.uniform(-0.004, 0.004, n)
    near = rng.integers(0, n, m)
    ra2 = (ra[near] + rng.normal(0, radius / 3600, m) / np.cos(np.radians(dec[near]))) % 360
    dec2 = dec[near] + rng.normal(0, radius / 3600, m)
    distance = apart(ra[:, None], dec[:, None], ra2, dec2)
    inside = (distance <= radius).sum(1)
    emb = objects([f"o{i}" for i in range(n)], ra, dec)
    table = pa.table({"RA": ra2, "Dec": dec2, "row": np.arange(m)})
    if not inside.any():
        with pytest.raises(DataError, match="no row of the table lies within"):
            join(emb, table, radius=radius)
        return
    found = join(emb, table, radius=radius)
    assert found["match_rows"].to_pylist() == inside.tolist()
    best = [int(d.argmin()) if k else None for d, k in zip(distance, inside, strict=True)]
    assert found["row"].to_pylist() == best
    for match, k, b in zip(found["match"].to_pylist(), inside, best, strict=True):
        assert match == ("none" if k == 0 else "ambiguous" if k > 1 else "shared" if best.count(b) > 1 else "one")
    arcsec = np.array(found["match_arcsec"].to_pylist())
    np.testing.assert_allclose(arcsec[inside > 0], distance.min(1)[inside > 0], rtol=1e-4, atol=1e-5)
    assert np.isnan(arcsec[inside == 0]).all()


def test_objects_and_rows_without_a_place_match_nothing():
    emb = objects("abc", [10.0, None, 10.0], [5.0, 5.0, np.nan])
    table = pa.table({"ra": [None, 10.0, 10.0], "dec": [5.0, None, 5.0], "mag": [1.0, 2.0, 3.0]})
    found = join(emb, table)
    assert found["match"].to_pylist() == ["one", "none", "none"]
    assert found["mag"].to_pylist() == [3.0, None, None]
    assert found.column_names[4:] == ["table_ra", "table_dec", "mag"]


def test_a_table_with_other_ids_is_joined_by_position_and_units_are_read(tmp_path):
    emb = objects(["mine"], [187.5], [12.5])
    (tmp_path / "t.csv").write_text("name,ra,dec,flux\ntheirs,12:30:00.05,+12:30:00,7\n")
    found = join(emb, tmp_path / "t.csv", radius="1arcsec")
    assert found["flux"].to_pylist() == [7]
    assert found["match_arcsec"][0].as_py() == pytest.approx(0.75 * np.cos(np.radians(12.5)), abs=0.01)
    assert found["name"].to_pylist() == ["theirs"]


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"by": "name"}, ConfigError, "by must be 'id' or 'position'; got 'name'"),
        ({"radius": "2 mag"}, ConfigError, "radius must be an angle.*got '2 mag'"),
        ({"radius": -1}, ConfigError, "radius must be an angle"),
        ({"columns": ["mga"]}, ConfigError, "unknown column 'mga' in the table.*'mag'"),
        ({"radius": "0.1arcsec"}, DataError, r"no row of the table lies within 0.1 arcsec of any of the 1 objects"),
    ],
)
def test_bad_joins_are_told(options, error, words):
    table = pa.table({"ra": [10.001], "dec": [5.0], "mag": [1.0]})
    with pytest.raises(error, match=words):
        join(objects(["a"], [10.0], [5.0]), table, **options)


def test_places_that_are_not_there_are_told(tmp_path):
    with pytest.raises(DataError, match="the table cannot be joined by position"):
        join(objects(["a"], [10.0], [5.0]), pa.table({"mag": [1.0]}))
    with pytest.raises(DataError, match="embeddings in memory cannot be joined by position"):
        join(objects(["a"]), pa.table({"ra": [1.0], "dec": [1.0]}))
    with pytest.raises(DataError, match=r"none\.csv"):
        join(objects(["a"]), tmp_path / "none.csv")


# colours


def test_colours_of_neighbours_less_extinction():
    table = pa.table(
        {
            "modelMag_g": [18.0, 99.0, -9999.0, None],
            "modelMag_r": [17.0, 16.0, 16.0, 16.0],
            "modelMag_i": [16.5, 15.0, 15.0, float("nan")],
            "A_g": [0.3] * 4,
            "A_r": [0.2] * 4,
            "A_i": [0.1, 0.1, None, 0.1],
        }
    )
    names = ["modelMag_g", "modelMag_r", "modelMag_i"]
    plain = colours(table, names)
    assert plain["g-r"].to_numpy()[0] == pytest.approx(1.0)
    assert np.isnan(plain["g-r"].to_numpy()[1:]).all()
    corrected = colours(table, names, extinction=dict(zip(names, ["A_g", "A_r", "A_i"], strict=True)))
    np.testing.assert_allclose(corrected["g-r"].to_numpy()[0], 0.9)
    np.testing.assert_allclose(corrected["r-i"].to_numpy(), [0.4, 0.9, np.nan, np.nan])
    assert colours(pa.table({"B": [1], "V": [0]}), ["B", "V"])["B-V"].to_pylist() == [1.0]


def test_bad_colours_are_told():
    table = pa.table({"g": [1.0], "r": [1.0], "t": ["x"], "g-r": [0.0]})
    with pytest.raises(ConfigError, match="at least 2 magnitudes; got 1"):
        colours(table, ["g"])
    with pytest.raises(ConfigError, match="unknown column 'q'"):
        colours(table, ["g", "q"])
    with pytest.raises(ConfigError, match="names no column for 'r'"):
        colours(table, ["g", "r"], extinction={"g": "r"})
    with pytest.raises(ConfigError, match="has a column 'g-r' already"):
        colours(table, ["g", "r"])
    with pytest.raises(DataError, match="column 't' must hold magnitudes; got string"):
        colours(table, ["g", "t"])


# the SDSS

_FIELDS = [f"{what}_{band}" for what in ("modelMag", "modelMagErr", "extinction") for band in "ugriz"]


def sdss_row(objid: int, ra: float, dec: float, g: float) -> str:
    mags = [g + 1.5, g, g - 0.8, g - 1.2, g - 1.4]
    return ",".join(map(str, [objid, ra, dec, *mags, *[0.02] * 5, 0.5, 0.4, 0.3, 0.2, 0.1, "GALAXY"]))


class SkyServer:
    """Answers as SkyServer's cross-match does: `#Table1`, the columns asked for, CSV; rows of what was found only."""

    def __init__(self, rows: list[str]) -> None:
        self.rows, self.status, self.uploads, self.questions = rows, 200, [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the columns there are
                names = ["objID", "ra", "dec", "type", *_FIELDS]
                outer.send(self, json.dumps([{"Rows": [{"name": n} for n in names]}]))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.uploads.append(body)
                outer.questions.append(parse_qs(urlsplit(self.path).query))
                head = ",".join(["objID", "ra", "dec", *_FIELDS, "type"])
                outer.send(self, "\n".join(["#Table1", head, *outer.rows]) + "\n", outer.status)

            def log_message(self, *args) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @staticmethod
    def send(handler: BaseHTTPRequestHandler, text: str, status: int = 200) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(text.encode())))
        handler.end_headers()
        handler.wfile.write(text.encode())


@contextlib.contextmanager
def skyserver(rows):
    try:
        sdss = optional_import("astroquery.sdss", extra="data", purpose="this test")
    except MissingDependencyError:
        pytest.skip("astroquery is not installed")
    server = SkyServer(rows)
    server.thread.start()
    try:
        with sdss.conf.set_temp("skyserver_baseurl", server.url):
            yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        server.thread.join()


def test_photometry_of_the_sdss_goes_to_its_objects():
    rows = [sdss_row(1237648720693755918, 200.00001, 1.0, 17.5), sdss_row(1237648720693755919, 150.0, 2.0, 19.0)]
    emb = objects(["near", "nowhere", "far", "other"], [200.0, None, 10.0, 150.0], [1.0, None, -60.0, 2.0])
    with skyserver(rows) as server:
        found = sdss_photometry(emb)
    assert found["match"].to_pylist() == ["one", "none", "none", "one"]
    assert found["modelMag_g"].to_pylist() == [17.5, None, None, 19.0]
    np.testing.assert_allclose(found["g-r"].to_numpy()[[0, 3]], 0.8 - 0.1)
    assert np.isnan(found["g-r"].to_numpy()[[1, 2]]).all()
    (upload,) = server.uploads
    assert upload.count("obj_") == 3
    assert "modelMag_u" in upload


def test_many_places_are_asked_for_in_parts(monkeypatch):
    monkeypatch.setattr("morphospace.science.photometry._AT_ONCE", 2)
    emb = objects("abc", [200.0, 201.0, 202.0], [1.0, 1.0, 1.0])
    with skyserver([sdss_row(5, 201.0, 1.0, 18.0)]) as server:
        found = sdss_photometry(emb)
    assert len(server.uploads) == 2
    assert found["modelMag_r"].to_pylist()[0] is None


def test_an_sdss_that_knows_nothing_or_fails_is_told():
    emb = objects(["a"], [200.0], [1.0])
    with skyserver([]) as server:
        with pytest.raises(DataError, match=r"the SDSS \(DR17\) has nothing within 2 arcsec of any of the 1 places"):
            sdss_photometry(emb)
        server.status, server.rows = 500, ["error_message: out of order"]
        with pytest.raises(DataError, match="the SDSS gave no photometry"):
            sdss_photometry(emb)
    with pytest.raises(DataError, match="no object of embeddings in memory has a place"):
        sdss_photometry(objects(["a"]))


def test_without_astroquery_the_install_line_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "astroquery.sdss", None)
    with pytest.raises(MissingDependencyError, match=r"morphospace\[data\]"):
        sdss_photometry(objects(["a"], [1.0], [1.0]))


def test_shapes_of_measure_are_joined_from_their_file(tmp_path):
    pq.write_table(pa.table({"id": ["b", "a"], "gini": [0.5, 0.6]}), tmp_path / "shapes.parquet")
    assert join(objects("ab"), tmp_path / "shapes.parquet")["gini"].to_pylist() == [0.6, 0.5]
