"""The page in a real browser: what it shows, and what it sends."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.types import TrackState
from export.preview.link import Link, preview_command
from export.preview.pages import PageServer
from tests.preview.browser import Chromium, Page
from tests.preview.helpers import Service, record_of, wait_for
from tests.preview.sshd import Sshd
from tests.preview.test_link import link, pages, service
from tests.preview.test_ssh import remote, sshd

__all__ = ["link", "pages", "remote", "service", "sshd"]

RGB = {
    TrackState.TRACKING: (0, 158, 115),
    TrackState.UNCERTAIN: (230, 159, 0),
    TrackState.LOST: (213, 94, 0),
    TrackState.REACQUIRED: (86, 180, 233),
}
DASHED = (TrackState.UNCERTAIN, TrackState.LOST)
SIZES = [(1000, 700, 1.0), (390, 780, 3.0), (720, 330, 1.5), (1600, 900, 2.0)]

# The picture and the record that belongs to it, read in one go: colours along two edges of the box, and
# the whole picture in 32 by 24 cells.
LOOK = """(() => {
  const [width, height] = view.record.frame_size;
  const [across, down] = [canvas.width / width, canvas.height / height];
  const inside = (value, size) => Math.min(size - 1, Math.floor(value));
  const pixel = (x, y) => [...context.getImageData(
    inside(x, canvas.width), inside(y, canvas.height), 1, 1).data].slice(0, 3);
  const steps = [...Array(41).keys()].map((i) => 0.1 + 0.8 * i / 40);
  const box = view.record.box;
  const edges = box && {
    top: steps.map((t) => pixel((box[0] + t * box[2]) * across, box[1] * down)),
    left: steps.map((t) => pixel(box[0] * across, (box[1] + t * box[3]) * down)),
  };
  const small = document.createElement("canvas");
  [small.width, small.height] = [32, 24];
  const drawing = small.getContext("2d");
  drawing.imageSmoothingQuality = "high";
  drawing.drawImage(canvas, 0, 0, 32, 24);
  return {record: view.record, edges, cells: [...drawing.getImageData(0, 0, 32, 24).data],
          size: [canvas.width, canvas.height]};
})()"""


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Chromium, pages: PageServer) -> Iterator[Page]:
    with chromium.page(pages.url) as opened:
        wait_for(lambda: opened.evaluate("view.record !== null"), "a picture")
        yield opened


def like(colour: list[int], expected: tuple[int, int, int]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(colour, expected, strict=True))


def look(page: Page) -> dict[str, Any]:
    seen: dict[str, Any] = page.evaluate(LOOK)
    return seen


def screen_point(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the frame, in its pixels, is on the screen."""
    expression = "(r => [r.x, r.y, r.width, r.height])(canvas.getBoundingClientRect())"
    left, top, width, height = page.evaluate(expression)
    columns, rows = page.evaluate("view.record.frame_size")
    return left + x * width / columns, top + y * height / rows


def test_the_picture_is_the_frame(service: Service, page: Page) -> None:
    service.state = TrackState.SEARCHING
    wait_for(lambda: look(page)["record"]["state"] == "searching", "the state")
    seen = look(page)
    assert seen["record"]["box"] is None
    cells = np.array(seen["cells"], float).reshape(24, 32, 4)[..., 2::-1]
    frame = service.source.image(seen["record"]["frame"])
    expected = cv2.resize(frame, (32, 24), interpolation=cv2.INTER_AREA)
    assert np.abs(cells - expected).mean() < 8
    moved = wait_for(lambda: (n := look(page))["record"]["frame"] > seen["record"]["frame"] and n, "the next")
    assert moved["cells"] != seen["cells"]


@pytest.mark.parametrize("size", SIZES)
def test_the_picture_fills_the_page_in_its_proportions(
    service: Service, page: Page, size: tuple[int, int, float]
) -> None:
    page.resize(*size)
    width, height, density = size

    def fitted() -> Any:
        expression = """[canvas.clientWidth, canvas.clientHeight, stage.clientWidth, stage.clientHeight,
            canvas.width, document.documentElement.scrollHeight, document.documentElement.scrollWidth]"""
        w, h, stage_w, stage_h, drawn, page_h, page_w = page.evaluate(expression)
        return (
            abs(w / h - 4 / 3) < 0.05
            and (stage_w - w <= 2 or stage_h - h <= 2)
            and abs(drawn - w * density) <= density
            and (page_w, page_h) == (width, height)  # nothing to scroll
            and w > 60
        )

    wait_for(fitted, "the picture to fit")


@pytest.mark.parametrize("state", RGB)
@pytest.mark.parametrize("size", SIZES[:2])
def test_the_box_is_drawn_where_the_target_is(
    service: Service, page: Page, state: TrackState, size: tuple[int, int, float]
) -> None:
    page.resize(*size)
    service.state = state
    wait_for(lambda: look(page)["record"]["state"] == state, "the state")
    for _ in range(3):
        seen = look(page)
        assert seen["record"]["box"] == list(service.source.box(seen["record"]["frame"]))
        for edge in seen["edges"].values():
            share = np.mean([like(colour, RGB[state]) for colour in edge])
            assert (0.2 < share < 0.9) if state in DASHED else share == 1, (edge, share)
    assert page.text("state") == state
    assert page.evaluate("byId('state').hasAttribute('data-dashed')") == (state in DASHED)


def test_every_target_has_its_box_and_number(service: Service, page: Page) -> None:
    still = dataclasses.replace(record_of(service.source, 45, TrackState.LOST), track_id=2)
    service.others = [still]
    wait_for(lambda: page.evaluate("view.record.targets.length") == 2, "the second target")
    assert still.box is not None
    x, y, w, _ = still.box
    top = f"""[...Array(41).keys()].map((i) => [...context.getImageData(
        Math.floor(({x} + (0.3 + 0.7 * i / 41) * {w}) * canvas.width / 320),
        Math.floor({y} * canvas.height / 240), 1, 1).data].slice(0, 3))"""
    share = np.mean([like(colour, RGB[TrackState.LOST]) for colour in page.evaluate(top)])
    assert 0.2 < share < 0.9
    assert page.text("state") == "tracking"  # of the first


def test_the_numbers(service: Service, page: Page) -> None:
    assert page.text("confidence") == "0.87"
    assert page.evaluate("byId('meter').value") == pytest.approx(0.87)
    assert page.text("fps") == "30"
    assert page.text("latency") == "4.2 ms"
    assert page.text("connection") == "connected to pi"
    wait_for(lambda: page.text("age").endswith(" ms"), "the age")
    wait_for(lambda: page.text("dropped") == "4", "the service's counts")
    assert page.evaluate("byId('dropped').title") == "overrun 3, corrupt 1"
    service.silent = True
    wait_for(lambda: page.text("age").endswith(" s") and not page.text("age").endswith("ms"), "the warning")
    assert "no new picture for" in page.text("veil")
    service.silent = False
    wait_for(lambda: page.text("veil") == "", "the next picture")


def placed(page: Page) -> str:
    """Where the picture is."""
    return str(page.evaluate("JSON.stringify(canvas.getBoundingClientRect())"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["mouse", "mouse backwards", "touch"])
def test_a_drag_selects_pixels_of_the_frame(
    service: Service, page: Page, size: tuple[int, int, float], way: str
) -> None:
    page.resize(*size)
    wait_for(lambda: page.evaluate("canvas.clientWidth <= stage.clientWidth"), "the size")
    wait_for(lambda: placed(page) == (time.sleep(0.3), placed(page))[1], "the layout to stand still")
    start, end = screen_point(page, 60, 50), screen_point(page, 160, 130)
    if way == "mouse":
        page.drag(start, end)
    elif way == "mouse backwards":
        page.drag(end, start)
    else:
        page.swipe(start, end)
    (command,) = wait_for(lambda: service.commands.named("select"), "the command")
    # The mouse moves in whole pixels of the screen.
    pixel = 320 / page.evaluate("canvas.clientWidth")
    assert command["box"] == pytest.approx([60, 50, 100, 80], abs=1.6 * pixel)
    assert page.text("problem") == ""


def test_a_drag_stays_inside_the_frame_and_a_click_is_none(service: Service, page: Page) -> None:
    page.drag(screen_point(page, 200, 100), screen_point(page, 900, -500))
    (command,) = wait_for(lambda: service.commands.named("select"), "the command")
    x, y, w, h = command["box"]
    assert (x + w, y) == pytest.approx((320, 0), abs=0.2)
    assert (x, y + h) == pytest.approx((200, 100), abs=2)
    page.drag(screen_point(page, 50, 50), screen_point(page, 50.5, 50.5))
    assert page.text("problem") == "drag a box around the target"
    assert len(service.commands.named("select")) == 1


def test_the_box_being_dragged_is_shown_and_escape_drops_it(service: Service, page: Page) -> None:
    page._mouse("mousePressed", *screen_point(page, 40, 40))
    page._mouse("mouseMoved", *screen_point(page, 80, 90))
    assert page.evaluate("view.selection") == pytest.approx([40, 40, 40, 50], abs=1)
    page.press("Escape")
    page._mouse("mouseReleased", *screen_point(page, 80, 90))
    assert page.evaluate("view.selection") is None
    assert service.commands.named("select") == []


def test_the_keyboard_selects_too(service: Service, page: Page) -> None:
    service.state = TrackState.SEARCHING
    wait_for(lambda: page.evaluate("view.record.box === null"), "no target")
    page.press("s")
    start = page.evaluate("view.selection")
    assert start == [120, 90, 80, 60]
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.press(key)
    page.press("ArrowLeft", shift=True)
    page.press("Enter")
    (command,) = wait_for(lambda: service.commands.named("select"), "the command")
    step = 320 / 50
    assert command["box"] == pytest.approx([120 + 2 * step, 90 - step, 80 - step, 60], abs=0.1)
    assert page.evaluate("view.selection") is None


@pytest.mark.parametrize("way", ["click", "key"])
def test_pause_and_clear_reach_the_service(service: Service, page: Page, way: str) -> None:
    def use(button: str) -> None:
        page.click(button) if way == "click" else page.press(button[0])

    use("pause")
    wait_for(lambda: page.text("pause") == "Resume", "the pause")
    assert service.commands.paused
    assert page.evaluate("byId('pause').getAttribute('aria-pressed')") == "true"
    wait_for(lambda: page.text("state") == "tracking (paused)", "the state")
    use("pause")
    wait_for(lambda: page.text("pause") == "Pause", "the end of the pause")
    assert not service.commands.paused
    use("clear")
    wait_for(lambda: service.commands.named("clear"), "the command")
    assert page.text("problem") == ""


def test_a_pause_from_elsewhere_shows(service: Service, page: Page) -> None:
    service.commands.paused = True
    wait_for(lambda: page.text("pause") == "Resume", "the button")


def test_what_the_service_refuses_is_shown(service: Service, page: Page) -> None:
    service.preview._handle = lambda command: {"ok": False, "error": "box 1,2,0,4 is empty"}
    page.click("clear")
    wait_for(lambda: page.text("problem") == "clear: box 1,2,0,4 is empty", "the message")
    assert page.evaluate("byId('problem').getAttribute('role')") == "alert"


def test_a_lost_connection_shows_and_comes_back(
    chromium: Chromium, service: Service, sshd: Sshd, remote: str
) -> None:
    link = Link(preview_command(sshd.host, remote, [], sshd.options), "pi")
    link.wait_connected()
    server = PageServer(link)
    try:
        with chromium.page(server.url) as page:
            wait_for(lambda: page.evaluate("view.record !== null"), "a picture")
            sshd.stop()
            wait_for(lambda: "connection to pi lost" in page.text("connection"), "the message")
            wait_for(lambda: "Connection refused; trying again in" in page.text("veil"), "the reason")
            assert page.evaluate("byId('pause').disabled")
            page.press("c")
            wait_for(lambda: page.text("problem") == "clear: pi is not connected", "the refusal")
            shown = page.evaluate("view.record.frame")
            sshd.start()
            wait_for(lambda: page.text("connection") == "connected to pi", "the connection")
            wait_for(lambda: page.evaluate("view.record.frame") > shown, "a new picture")
            assert page.text("veil") == ""
            assert not page.evaluate("byId('pause').disabled")
            server.close()
            wait_for(lambda: "cfvgg-export preview has ended" in page.text("connection"), "the end")
    finally:
        server.close()
        link.close()


def test_two_pages_watch_one_link(
    chromium: Chromium, page: Page, pages: PageServer, service: Service
) -> None:
    with chromium.page(pages.url) as other:
        wait_for(lambda: other.evaluate("view.record !== null"), "a picture")
        first = page.evaluate("view.record.frame")
        wait_for(lambda: page.evaluate("view.record.frame") > first, "the first page to go on")
    assert len(service.preview._watchers) == 1


def test_everything_has_a_name_for_screen_readers(page: Page) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {(n["role"]["value"], n["name"]["value"]) for n in nodes if not n["ignored"] and n.get("name")}
    assert ("button", "Pause") in named
    assert ("button", "Clear target") in named
    assert any(role in ("image", "img") and name.startswith("Camera picture.") for role, name in named)
    assert page.evaluate("document.documentElement.lang") == "en"
