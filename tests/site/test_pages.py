"""The living pages in a browser: they load, they type, and they show the library's numbers.

Needs the built site (`scripts/docs`), selenium, Chromium and its driver; set MINIRNN_SITE to the
folder of the site to make their absence an error.
"""

from __future__ import annotations

import functools
import http.server
import inspect
import json
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import minirnn
from minirnn import RNN, MeanSquaredError

SITE = Path(os.environ.get("MINIRNN_SITE", Path(__file__).parents[2] / "docs" / "_build" / "html"))

if "MINIRNN_SITE" not in os.environ:
    pytest.importorskip("selenium")
    if not (SITE / "alive.html").exists() or shutil.which("chromedriver") is None:
        pytest.skip("no built site, or no browser", allow_module_level=True)


@pytest.fixture(scope="module")
def address():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )
    yield driver
    driver.quit()


def wait(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 60).until(condition)


def shown(browser):
    """Return the characters and probabilities on the page."""
    rows = browser.find_elements("css selector", "#names-bars tr")
    return {row.text.split()[0]: float(row.text.split()[-1]) for row in rows}


def errors(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("beginning", ["", "Mar", "Jo"])
def test_the_names_page_shows_the_numbers_of_the_library(address, browser, beginning):
    about = json.loads((SITE / "_static" / "alive" / "names.json").read_text("utf-8"))
    expected = dict(zip(about["characters"], about["expected"][beginning], strict=True))
    browser.get(f"{address}/alive.html")
    wait(browser, lambda b: b.find_elements("css selector", "#names[data-read='Mar']"))
    field = browser.find_element("id", "names-text")
    field.clear()
    field.send_keys("x\b" + beginning)
    wait(browser, lambda b: b.find_elements("css selector", f"#names[data-read='{beginning}']"))
    numbers = shown(browser)
    assert len(numbers) == 10
    for character, number in numbers.items():
        assert abs(number - expected["\n" if character == "⏎" else character]) < 2e-5
    assert max(expected.values()) == pytest.approx(max(numbers.values()), abs=2e-5)
    assert errors(browser) == []


def test_the_names_page_opened_as_a_file_says_what_to_do(browser):
    browser.get((SITE / "alive.html").as_uri())
    status = browser.find_element("id", "names-status")
    assert "python -m http.server -d docs/_build/html" in status.text


def test_the_names_page_makes_a_name_with_the_keyboard_alone(address, browser):
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{address}/alive.html")
    wait(browser, lambda b: b.find_elements("css selector", "#names[data-read='Mar']"))
    field = browser.find_element("id", "names-text")
    field.send_keys(Keys.TAB)  # One more character
    browser.switch_to.active_element.send_keys(Keys.TAB)  # Finish the name
    assert browser.switch_to.active_element.text == "Finish the name"
    browser.switch_to.active_element.send_keys(Keys.ENTER)

    def ended(b):
        text = b.find_element("id", "names-text").get_attribute("value")
        return b.find_element("id", "names-made").text.startswith(text) or len(text) >= 16

    wait(browser, ended)
    assert browser.find_element("id", "names-text").get_attribute("value").startswith("Mar")
    label = browser.find_element("id", "names-picture").get_attribute("aria-label")
    assert re.search(r"means over the units: i 0\.\d\d, f 0\.\d\d", label)
    assert errors(browser) == []


def test_the_bptt_page_shows_the_gradients_of_the_library(address, browser):
    layer = RNN(1, 2, dtype=np.float64)
    layer.cell.Wx.value = [[0.6, -0.4]]
    layer.cell.Wh.value = [[0.5, 0.3], [-0.2, 0.8]]
    layer.cell.b.value = [0.1, 0.0]
    x = np.array([1.0, 0.5, -1.0, 0.25]).reshape(1, 4, 1)
    target = np.array([[0.5, 0.0], [0.0, 0.5], [-0.5, 0.0], [0.0, -0.5]])[None]
    loss = MeanSquaredError()
    h = layer.forward(x)
    value = loss.forward(h, target)
    layer.backward(loss.backward())

    browser.get(f"{address}/alive-bptt.html")
    button = browser.find_element("id", "bptt-next")
    losses = []
    while button.is_enabled():
        button.click()
        losses += re.findall(r"^L = (\S+)$", browser.find_element("id", "bptt-numbers").text, re.M)
    assert [float(text) for text in losses] == [pytest.approx(value, abs=5e-5)]

    def numbers(text):
        return [float(t) for t in re.findall(r"-?\d\.\d+", text.replace("\N{MINUS SIGN}", "-"))]

    table = browser.find_element("id", "bptt-gradients").text
    cell = layer.cell
    expected = [*cell.Wx.grad.ravel(), *cell.Wh.grad.ravel(), *cell.b.grad]
    np.testing.assert_allclose(numbers(table), expected, atol=5e-5)
    for t in range(4):
        shown_h = browser.find_element("css selector", f"[data-name='h{t}']").text
        np.testing.assert_allclose(numbers(shown_h), h[0, t], atol=5e-5)
    assert errors(browser) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_window(address, browser, width):
    browser.set_window_size(width, 900)
    for page in ("index", "start", "alive", "alive-bptt", "conventions", "gallery"):
        browser.get(f"{address}/{page}.html")
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= browser.execute_script("return window.innerWidth") + 1, page


def test_search_finds_a_page(address, browser):
    browser.get(f"{address}/search.html?q=LSTM")
    wait(browser, lambda b: b.find_elements("css selector", "#search-results li"))


@pytest.mark.parametrize("name", ["LSTM", "Adam", "Trainer", "SoftmaxCrossEntropy"])
def test_the_reference_shows_what_a_class_takes(name):
    page = (SITE / "api" / "names" / f"minirnn.{name}.html").read_text("utf-8")
    line = re.search(r'<dt class="sig.*?</dt>', page, re.S)
    shown = re.sub(r"<[^>]*>", "", line[0])
    wanted = list(inspect.signature(getattr(minirnn, name)).parameters)
    assert [one for one in wanted if one not in shown] == []
    assert "**" not in shown
