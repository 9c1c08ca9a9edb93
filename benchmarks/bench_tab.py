"""How the Sparsity tab behaves on large log directories, beside TensorBoard's Histograms tab.

    python benchmarks/bench_tab.py [--folder DIR] [--epochs 1000] [--layers 60] [--runs 200]

Makes a log directory (kept in DIR, and made only once), serves it with TensorBoard, opens it in
Chromium and prints:

- first paint: from the index answer to the first overview drawn (Histograms: from opening the tab
  to the first chart drawn);
- frames a second while the cursor moves from epoch to epoch as fast as it can;
- private memory of the page's process, after everything on it has been scrolled past;
- the largest answer.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Frame, Page, sync_playwright
from tensorboard.plugins.histogram import metadata as histogram_metadata

from sparsight import schema
from sparsight.maths.correlation import correlation_summary
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.measure.measurement import LayerMeasurement
from sparsight.probes.probe_set import shown_probes
from sparsight.runs import events
from sparsight.runs.writer import RunWriter

PROBES, SIDE, CHANNELS = 16, 32, 64
VARIANTS = 24  # measurements that the epochs take turns with: making each anew would take an hour


def measurement(variant: int, name: str) -> LayerMeasurement:
    """A layer with noisy maps, which hardly compress."""
    random = np.random.default_rng(variant)
    layer = schema.LayerInfo(name, "Conv2d", CHANNELS, (SIDE, SIDE), 1, "linear output")
    accumulator = LayerAccumulator(layer, tuple(range(PROBES)))
    level = 0.95 - 0.6 * variant / VARIANTS
    entropy = np.log(CHANNELS) * np.clip(random.normal(level, 0.03, (PROBES, SIDE, SIDE)), 0, 1)
    accumulator.update(BatchStatistics(entropy.astype(np.float32), {"rms": entropy + 1}), first=0)
    return accumulator.result(correlation_summary(random.normal(size=(CHANNELS, 27))))


def write_run(folder: Path, layers: int, epochs: int, histograms: bool = False) -> None:
    """A run whose layers fall at different times."""
    variants = [measurement(variant, "") for variant in range(VARIANTS)]
    pictures = np.random.default_rng(0).random((PROBES, 3, SIDE, SIDE), np.float32)
    probes = shown_probes([pictures], range(PROBES))
    names = [f"stage{i // 15}.block{i % 15 // 3}.conv{i % 3}" for i in range(layers)]
    with RunWriter(folder) as writer:
        for epoch in range(-1, epochs - 1):
            measured = []
            for i, name in enumerate(names):
                turned = 1 / (1 + np.exp((epochs / 3 + 5 * i - epoch) / (epochs / 20)))
                known = variants[int(turned * (VARIANTS - 1))]
                layer = dataclasses.replace(known.layer, name=name)
                measured.append(dataclasses.replace(known, layer=layer))
            loss = {"loss/validation": 1 + abs(epoch - epochs / 3) / epochs}
            writer.write(epoch, measured, probes=probes, scalars=loss, wall_time=1.7e9 + epoch)
    if histograms:
        write_histograms(folder.parent.parent / "histograms" / folder.name, names, epochs)


def write_histograms(folder: Path, names: list[str], epochs: int) -> None:
    """The same layers as TensorBoard's own histograms of 30 buckets."""
    folder.mkdir(parents=True)
    plain = histogram_metadata.create_summary_metadata("", "")
    edges = np.linspace(0, 1, 31)
    with (folder / "events.out.tfevents.1700000000.bench").open("xb") as file:
        events.write_event(file, events.file_version(1.7e9))
        for epoch in range(-1, epochs - 1):
            counts = 100 * np.exp(-(((edges[:-1] - 0.9 + 0.5 * epoch / epochs) / 0.1) ** 2))
            content = np.stack([edges[:-1], edges[1:], counts], axis=1)
            values = []
            for name in names:
                value = events.tensor_value(name, content, "histograms", b"")
                value.metadata.CopyFrom(plain)
                values.append(value)
            events.write_event(file, events.event(epoch, 1.7e9 + epoch, values))


@contextlib.contextmanager
def serving(logdir: Path) -> Iterator[str]:
    """A TensorBoard on this log directory: its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port=0"]
    options = ["--samples_per_plugin=histograms=100000", "--reload_interval=600"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://\S+?:\d+/", line):
                yield found[0]
                break
    finally:
        process.terminate()
        process.wait()


def wait_for_version(address: str) -> None:
    """Wait until TensorBoard has read everything: the version has stopped changing."""
    seen, since = b"", time.monotonic()
    while time.monotonic() - since < 6:
        with urllib.request.urlopen(f"{address}data/plugin/sparsity/version") as answer:
            found = answer.read()
        if found != seen:
            seen, since = found, time.monotonic()
        time.sleep(0.5)


FIRST_PAINT = """() => new Promise((done) => {
  const index = () => performance.getEntriesByType('resource')
    .find((entry) => entry.name.endsWith('/index'));
  const look = () => {
    const canvas = document.querySelector('.matrix .plot canvas');
    if (index() && canvas && canvas.width > 16) {
      requestAnimationFrame(() => done(performance.now() - index().responseEnd));
    } else requestAnimationFrame(look);
  };
  look();
})"""

FRAMES = """() => new Promise((done) => {
  const slider = document.querySelector('input[aria-label="Epoch"]');
  const start = performance.now();
  let frames = 0;
  const step = () => {
    slider.value = String((Number(slider.value) + 7) % Number(slider.max));
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    frames++;
    const gone = performance.now() - start;
    if (gone < 3000) requestAnimationFrame(step);
    else done((1000 * frames) / gone);
  };
  requestAnimationFrame(step);
})"""


def sparsity_frame(page: Page) -> Frame:
    """Our page in TensorBoard's."""
    iframe = page.wait_for_selector("iframe[src*='name=sparsity']")
    frame = iframe.content_frame() if iframe else None
    assert frame is not None
    return frame


def measure_tab(browser: Any, address: str) -> dict[str, str]:
    """One line of the table."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    sizes: list[int] = []
    page.on("response", lambda answer: sizes.append(size_of(answer)))
    page.goto(f"{address}#sparsity")
    frame = sparsity_frame(page)
    paint = frame.evaluate(FIRST_PAINT)
    page.wait_for_timeout(3000)
    top = frame.evaluate(FRAMES)
    frame.evaluate("document.querySelector('#maps').scrollIntoView()")
    page.wait_for_timeout(4000)
    maps = frame.evaluate(FRAMES)
    frame.evaluate(
        """async () => {
          const list = document.querySelector('.tiles');
          for (let y = 0; y < list.scrollHeight; y += 400) {
            list.scrollTop = y;
            await new Promise((done) => setTimeout(done, 250));
          }
        }"""
    )
    page.wait_for_timeout(4000)
    memory = page_memory(browser)
    page.close()
    return {
        "first paint": f"{paint / 1000:.2f} s",
        "cursor, overview": f"{top:.0f} frames/s",
        "cursor, maps": f"{maps:.0f} frames/s",
        "memory": f"{memory / 2**20:.0f} MB",
        "largest answer": f"{max(sizes) / 1e6:.1f} MB",
    }


def size_of(answer: Any) -> int:
    """Bytes of a plugin's answer after decompression."""
    if "/data/plugin/sparsity/" not in answer.url or answer.status != 200:
        return 0
    try:
        return len(answer.body())
    except Exception:  # given up by the page while it was scrolled
        return 0


def page_memory(browser: Any) -> float:
    """Private bytes of the largest renderer: TensorBoard's page and ours share one process."""
    session = browser.new_browser_cdp_session()
    found = [0]
    for process in session.send("SystemInfo.getProcessInfo")["processInfo"]:
        rollup = Path(f"/proc/{process['id']}/smaps_rollup")
        if process["type"] == "renderer" and rollup.exists():
            lines = re.findall(r"^Private_\w+:\s+(\d+) kB", rollup.read_text(), re.MULTILINE)
            found.append(1024 * sum(int(kilobytes) for kilobytes in lines))
    return float(max(found))


def measure_histograms(browser: Any, address: str) -> dict[str, str]:
    """TensorBoard's own tab."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    start = time.monotonic()
    page.goto(f"{address}#histograms")
    drawn = "tb-histogram svg path, tf-histogram-dashboard svg path"
    page.wait_for_selector(drawn, timeout=300_000)
    paint = time.monotonic() - start
    page.wait_for_timeout(3000)
    memory = page_memory(browser)
    page.close()
    return {"first paint": f"{paint:.2f} s (of the page)", "memory": f"{memory / 2**20:.0f} MB"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "bench_tab")
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=60)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    folder: Path = options.folder
    large, many = folder / "large", folder / "many"
    if not large.exists():
        write_run(large / "deep", options.layers, options.epochs, histograms=True)
    if not many.exists():
        for run in range(options.runs):
            write_run(many / f"run{run:03d}", 5, 60)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        deep = f"{options.layers} layers x {options.epochs} epochs x {PROBES} probes"
        for title, logdir in ((deep, large), (f"{options.runs} runs", many)):
            with serving(logdir) as address:
                wait_for_version(address)
                show(f"Sparsity, {title}", measure_tab(browser, address))
        with serving(folder / "histograms") as address:
            time.sleep(60)
            show(f"Histograms, {deep}", measure_histograms(browser, address))
        browser.close()


def show(title: str, line: dict[str, str]) -> None:
    """One block of the table."""
    print(title)
    for name, value in line.items():
        print(f"    {name:18s} {value}", flush=True)


if __name__ == "__main__":
    main()
