from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from oocana_async.errors import EncodingError
from oocana_async.preview import render
from oocana_async.wire.encoding import encode

PNG = b"\x89PNG\r\n\x1a\n...."


def url_of(content: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def test_payload_and_id_go_into_a_new_dict() -> None:
    given = {"type": "text", "data": "hi", "id": "old", "extra": 1}
    assert render(given, id="p1") == {"type": "text", "data": "hi", "id": "p1", "extra": 1}
    assert given["id"] == "old"
    assert render(given)["id"] == "old"
    assert render(MappingProxyType(given)) == given


def test_unknown_type_passes_through() -> None:
    assert render({"type": "oomol/globe", "data": [1], "x": 2}) == {"type": "oomol/globe", "data": [1], "x": 2}
    assert render({"type": "divider"}) == {"type": "divider"}


def test_dict_without_a_type_is_shown_as_json() -> None:
    assert render({"a": 1}) == {"type": "json", "data": {"a": 1}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hi", {"type": "text", "data": "hi"}),
        (1.5, {"type": "text", "data": "1.5"}),
        (Path("/x/a.PNG"), {"type": "image", "data": "/x/a.PNG"}),
        (Path("/x/a.mp4"), {"type": "video", "data": "/x/a.mp4"}),
        (Path("/x/a.csv"), {"type": "csv", "data": "/x/a.csv"}),
        (PNG, {"type": "image", "data": url_of(PNG)}),
        (b"ID3....", {"type": "audio", "data": url_of(b"ID3....", "audio/mpeg")}),
        ([1, "a"], {"type": "json", "data": [1, "a"]}),
        ([], {"type": "json", "data": []}),
        ([PNG, PNG], {"type": "image", "data": [url_of(PNG)] * 2}),
    ],
)
def test_bare_value_gets_the_type_that_fits(value: Any, expected: Any) -> None:
    assert render(value) == expected


@pytest.mark.parametrize("kind", ["image", "video", "audio", "iframe", "html", "markdown", "table", "csv", "x"])
def test_path_as_data_becomes_text(kind: str) -> None:
    assert render({"type": kind, "data": Path("/x/a b.bin")}) == {"type": kind, "data": "/x/a b.bin"}


def test_bytes_as_data_become_a_data_url() -> None:
    assert render({"type": "image", "data": PNG})["data"] == url_of(PNG)
    assert render({"type": "image", "data": bytearray(PNG)})["data"] == url_of(PNG)
    assert render({"type": "image", "data": b"<svg/>"})["data"] == url_of(b"<svg/>", "image/svg+xml")
    wave = b"RIFF....WAVEfmt "
    assert render({"type": "audio", "data": wave})["data"] == url_of(wave, "audio/wav")


def test_list_of_images_is_converted_one_by_one() -> None:
    assert render({"type": "image", "data": ["https://x/y.png", Path("/a.png"), PNG]})["data"] == [
        "https://x/y.png",
        "/a.png",
        url_of(PNG),
    ]


def test_text_that_is_no_text_is_shown_as_text() -> None:
    assert render({"type": "text", "data": math})["data"] == str(math)
    assert render({"type": "text/x-python", "data": Path("a.py")}) == {"type": "text/x-python", "data": "a.py"}
    assert render({"type": "text", "data": {"a": 1}})["data"] == {"a": 1}


def test_frame_as_json_becomes_table_data() -> None:
    pandas = pytest.importorskip("pandas")
    assert render({"type": "json", "data": pandas.DataFrame({"a": [1]})})["data"]["rows"] == [[1]]


class Shows:
    """An object of the display protocol."""

    def __init__(self, **methods: Any) -> None:
        for name, result in methods.items():
            setattr(self, f"_repr_{name}_", lambda result=result: result)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Shows(html="<b>x</b>"), {"type": "html", "data": "<b>x</b>"}),
        (Shows(html=None, png=PNG), {"type": "image", "data": url_of(PNG)}),
        (Shows(png=base64.b64encode(PNG).decode()), {"type": "image", "data": url_of(PNG)}),
        (Shows(png=(PNG, {"width": 3})), {"type": "image", "data": url_of(PNG)}),
        (Shows(jpeg=b"j"), {"type": "image", "data": url_of(b"j", "image/jpeg")}),
        (Shows(svg="<svg/>"), {"type": "image", "data": url_of(b"<svg/>", "image/svg+xml")}),
        (Shows(markdown="# x"), {"type": "markdown", "data": "# x"}),
        (Shows(mimebundle={"text/plain": "x", "text/html": "<i/>"}), {"type": "html", "data": "<i/>"}),
        (Shows(mimebundle=({"image/png": PNG}, {})), {"type": "image", "data": url_of(PNG)}),
        (Shows(mimebundle={"application/json": {"a": 1}}), {"type": "json", "data": {"a": 1}}),
    ],
)
def test_display_protocol_is_asked(value: Any, expected: Any) -> None:
    assert render(value) == expected


def test_display_method_that_raises_is_passed_over() -> None:
    class Broken:
        def _repr_html_(self) -> str:
            raise RuntimeError

        def _repr_markdown_(self) -> str:
            return "ok"

    assert render(Broken()) == {"type": "markdown", "data": "ok"}


def test_object_as_html_shows_itself() -> None:
    assert render({"type": "html", "data": Shows(html="<b/>")}) == {"type": "html", "data": "<b/>"}
    assert render({"type": "markdown", "data": Shows(markdown="*x*")}) == {"type": "markdown", "data": "*x*"}


async def _forgotten() -> None: ...


def _items() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (None, "got None; give a dict with type and data"),
        (object(), "cannot show a object; give a dict with type and data"),
        (Shows, "cannot show a type"),
        (b"\x00\x01", "2 bytes that are no known image"),
        (Path("a.xyz"), "cannot tell from the name 'a.xyz'"),
        ({"type": "image", "data": 3}, "cannot make an image of a int"),
        ({"type": "image", "data": b"??"}, "2 bytes that are no known image"),
        ({"type": "video", "data": b"??"}, "2 bytes that are no known video"),
    ],
)
def test_what_cannot_be_shown_says_what_would_be_right(value: Any, hint: str) -> None:
    with pytest.raises(EncodingError, match=r"^preview: ") as caught:
        render(value)
    assert hint in str(caught.value)


def test_forgotten_await_is_named() -> None:
    coroutine = _forgotten()
    with pytest.raises(EncodingError, match="forget `await`"):
        render(coroutine)
    coroutine.close()


def test_pil_image_becomes_png() -> None:
    pil = pytest.importorskip("PIL.Image")
    for mode in ("RGB", "RGBA", "CMYK", "F", "L"):
        data = render(pil.new(mode, (2, 2)))["data"]
        assert base64.b64decode(data.removeprefix("data:image/png;base64,")).startswith(PNG[:8])
    assert render({"type": "image", "data": [pil.new("RGB", (1, 1))]})["data"][0].startswith("data:image/png")


def test_matplotlib_figure_axes_and_arrays_of_axes_become_png() -> None:
    figure_class = pytest.importorskip("matplotlib.figure").Figure
    figure = figure_class()
    axes = figure.subplots(1, 2)
    for value in (figure, axes[0], axes):
        payload = render(value, id="f")
        assert (payload["type"], payload["id"]) == ("image", "f")
        assert payload["data"].startswith("data:image/png;base64,iVBOR")
    assert len(render([figure, figure])["data"]) == 2
    assert render({"type": "image", "data": figure})["data"].startswith("data:image/png")


def test_plotly_figure_becomes_a_page() -> None:
    go = pytest.importorskip("plotly.graph_objects")
    figure = go.Figure(data=[go.Bar(y=[2, 3, 1])])
    for value in (figure, {"type": "html", "data": figure}, {"type": "image", "data": figure}):
        payload = render(value)
        assert payload["type"] == "html"
        assert "<html>" in payload["data"]
        assert len(payload["data"]) < 100_000


def test_rendered_payload_is_json() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"t": [pandas.Timestamp("2024-01-01")], "n": [float("nan")]})
    assert json.loads(encode(render(frame)))["data"]["rows"] == [["2024-01-01T00:00:00", None]]


def test_nothing_is_imported_for_plain_payloads(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys; from oocana_async.preview import render; render({'type': 'json', 'data': [1]}); render([1]);"
    code += "print([name for name in ('pandas', 'numpy', 'matplotlib', 'plotly', 'PIL') if name in sys.modules])"
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert result.stdout.strip() == "[]"


def test_file_is_not_an_image() -> None:
    with pytest.raises(EncodingError):
        render(io.StringIO("x"))
