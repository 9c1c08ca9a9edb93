"""What the runs hold: reads it once, and puts it together."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsight import schema
from sparsight.errors import nearest
from sparsight.maths.onset import SIGMA

from . import layer_series, losses, probes, tables
from .arrivals import Arrivals
from .cache import Cache
from .layer_series import LayerSeries
from .losses import Choice, Curve, Names, Turn
from .probes import Probes
from .provider import Listing, Provider, Scope, Series
from .records import NotRecorded, Tag
from .tables import Tables

__all__ = ["ChosenLoss", "LossChoices", "MeasurementStore", "RunSummary"]

T = TypeVar("T")

_CACHE_BYTES = 96 * 2**20
_RECENT = 1.0  # seconds for which a listing is used again
_READERS = 16  # reads at once: of the 44 ms that each takes, the data server works for one


@dataclass(frozen=True)
class RunSummary:
    """What the index says of a run."""

    run: str
    steps: int
    first_step: int | None
    last_step: int | None
    layers: int
    probe_digest: str | None
    probe_count: int | None
    loss_tag: str | None
    onset: int | None
    onset_interval: tuple[float, float] | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ChosenLoss:
    """The curve that stands for a run's validation loss."""

    name: str
    """What it is called where it is chosen: the tag, or "tag (run)"."""
    owner: str
    series: Series
    lender: str | None = None
    """The run that it is borrowed from."""


class LossChoices:
    """Finds the curve of a run that counts as its validation loss, among all scalars."""

    def __init__(self, runs: Listing, scalars: Listing) -> None:
        self._runs = runs
        self._series = {(run, series.tag): series for run, own in scalars.items() for series in own}
        self._tags = {run: [series.tag for series in own] for run, own in scalars.items()}

    def names(self, run: str) -> Names:
        """The curves to choose from."""
        return losses.curve_names(run, self._tags)

    def guess(self, run: str) -> str | None:
        """The curve that looks most like a validation loss."""
        return losses.find_validation_loss(run, self.names(run), self._runs)

    def lenders(self) -> list[str]:
        """The runs, measured by us or not, that have such a curve."""
        return [run for run in self._tags if self.guess(run) is not None]

    def of(self, run: str, choice: Choice) -> ChosenLoss | None:
        """The chosen curve or else the guessed one, of the run itself or else of the lender."""
        for owner in (run, *([] if choice.lender is None else [choice.lender])):
            names = self.names(owner)
            guess = losses.find_validation_loss(owner, names, self._runs)
            name = choice.tag if choice.tag in names else guess
            if name is not None:
                lender = None if owner == run else owner
                return ChosenLoss(name, names[name][0], self._series[names[name]], lender)
        return None


class MeasurementStore:
    """Reads runs; keeps what it read last, up to 96 MB, and nothing that a restart would miss."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._tags: Cache[Tag] = Cache(_CACHE_BYTES)
        self._layer_tags: Cache[tuple[Series, ...]] = Cache(1_000)
        self._summaries: Cache[RunSummary] = Cache(10_000)
        self._onsets: Cache[Turn | None] = Cache(10_000)
        self._listings: dict[Hashable, tuple[float, Listing]] = {}
        self._arrivals = Arrivals()

    # -- what there is ----------------------------------------------------------------------------

    def runs(self, scope: Scope, fresh: bool = False) -> Listing:
        """The runs with Sparsight data, and the tags that describe each: tables, probes.

        A second old at most, or `fresh`: asking the Rust data server for a list takes 44 ms.
        """
        plugin = schema.LAYERS_PLUGIN
        return self._recent(
            (scope.experiment, plugin), fresh, lambda: self._provider.tensors(scope, plugin)
        )

    def scalars(self, scope: Scope, fresh: bool = False) -> Listing:
        """The user's own scalars; as old as `runs`."""
        return self._recent(
            (scope.experiment, "scalars"), fresh, lambda: self._provider.scalars(scope)
        )

    def tags(self, scope: Scope, run: str) -> tuple[Series, ...]:
        """The tags that describe this run. Raises NotRecorded where there are none."""
        runs = self.runs(scope)
        if run not in runs:
            known = nearest(run, runs)
            raise NotRecorded(f"no run {run!r} with Sparsight data is loaded; {known}")
        return runs[run]

    def layer_tags(
        self, scope: Scope, run: str, tags: Sequence[Series], kind: schema.Kind, layer: str
    ) -> tuple[Series, ...]:
        """The tags of one layer's maps or correlation histograms; there may be none.

        Listed once for each state of the `tags` that describe the run: a step's table is written
        after its maps.
        """
        plugin = schema.PLUGIN_OF[kind]

        def read() -> tuple[tuple[Series, ...], int]:
            return self._provider.tensors(scope, plugin, run).get(run, ()), 1

        found = self._layer_tags.get((scope.experiment, run, plugin, tuple(tags)), read)
        return tuple(
            series
            for series in found
            if schema.kind_of(series.tag) == kind and _fields(series).get("layer") == layer
        )

    def loading(self, runs: Listing) -> bool:
        """Whether old records are still arriving, so that runs may be incomplete."""
        return self._arrivals.late(
            {run: max(series.max_wall_time for series in tags) for run, tags in runs.items()}
        )

    # -- what it says -----------------------------------------------------------------------------

    def summaries(self, scope: Scope, runs: Listing, scalars: Listing) -> list[RunSummary]:
        """What the index says of each run."""
        chosen = LossChoices(runs, scalars)

        def summary(run: str) -> RunSummary:
            return self._summary(scope, run, runs[run], chosen.of(run, Choice()))

        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(summary, runs))

    def _summary(
        self, scope: Scope, run: str, tags: Sequence[Series], loss: ChosenLoss | None
    ) -> RunSummary:
        """Computed again when something arrived. `loss` is the guessed curve."""

        def read() -> tuple[RunSummary, int]:
            tables = self.tables(scope, run, tags)
            turned = None if loss is None else self._curve(scope, loss, tables).onset
            probes = _fields(_newest_probes(tags))
            return RunSummary(
                run=run,
                steps=len(tables.steps),
                first_step=tables.steps[0] if tables.steps else None,
                last_step=tables.steps[-1] if tables.steps else None,
                layers=len(tables.layers),
                probe_digest=_if(str, probes.get("digest")),
                probe_count=_if(int, probes.get("count")),
                loss_tag=loss.name if loss else None,
                onset=turned.epoch if turned else None,
                onset_interval=(turned.first, turned.last) if turned else None,
                warnings=tables.warnings,
            ), 1

        return self._summaries.get((scope.experiment, run, *tags, loss), read)

    def onsets(
        self, scope: Scope, runs: Listing, scalars: Listing, choice: Choice
    ) -> dict[str, Turn | None]:
        """Where each run's validation loss turned, given which curve counts as that."""
        chosen = LossChoices(runs, scalars)

        def onset(run: str) -> Turn | None:
            loss = chosen.of(run, choice)
            if loss is None:
                return None

            def read() -> tuple[Turn | None, int]:
                return self.curve(scope, run, runs, loss, choice.sigma).onset, 1

            clocks = (*runs[run], *runs.get(loss.lender or run, ()))
            return self._onsets.get((scope.experiment, run, *clocks, loss, choice.sigma), read)

        with ThreadPoolExecutor(_READERS) as pool:
            return dict(zip(runs, pool.map(onset, runs), strict=True))

    def curve(self, scope: Scope, run: str, runs: Listing, loss: ChosenLoss, sigma: float) -> Curve:
        """One curve at the epochs of a run; a borrowed one, at the lender's if it has any."""
        clock = loss.lender if loss.lender is not None and loss.lender in runs else run
        return self._curve(scope, loss, self.tables(scope, clock, runs[clock]), sigma)

    def _curve(self, scope: Scope, loss: ChosenLoss, tables: Tables, sigma: float = SIGMA) -> Curve:
        points = self._provider.points(scope, loss.owner, loss.series.tag)
        return losses.aligned(points, tables, sigma, loss.name)

    def tables(self, scope: Scope, run: str, tags: Sequence[Series]) -> Tables:
        """The statistics of all layers, given the tags that describe the run."""
        chosen = [s for s in tags if schema.kind_of(s.tag) == "layers"]
        chosen += [s for s in tags if s.tag == schema.GLOBAL_STEP_TAG]
        return tables.merged(self._read_all(scope, run, chosen))

    def layer_series(
        self, scope: Scope, run: str, tables: Tables, layer: str, own: Sequence[Series]
    ) -> LayerSeries:
        """Maps or correlation histograms of one layer, given its own tags.

        Raises NotRecorded where the run has no such layer.
        """
        names = [info.name for info in tables.layers]
        if layer not in names and not own:
            raise NotRecorded(f"run {run!r} has no layer {layer!r}; {nearest(layer, names)}")
        return layer_series.of_layer(self._read_all(scope, run, own), tables.events)

    def probes(self, scope: Scope, run: str, tags: Sequence[Series]) -> Probes:
        """The shown probes of the set that was recorded last."""
        chosen = [series for series in tags if schema.kind_of(series.tag) == "probes"]
        return probes.newest(self._read_all(scope, run, chosen))

    # -- reading ----------------------------------------------------------------------------------

    def _recent(self, key: Hashable, fresh: bool, make: Callable[[], Listing]) -> Listing:
        made, listing = self._listings.get(key, (-math.inf, {}))
        if fresh or time.monotonic() - made > _RECENT:
            listing = make()
            self._listings[key] = time.monotonic(), listing
        return listing

    def _read_all(self, scope: Scope, run: str, tags: Sequence[Series]) -> list[Tag]:
        if len(tags) < _READERS:
            return [self._read(scope, run, series) for series in tags]
        with ThreadPoolExecutor(_READERS) as pool:  # layers that come and go make many tags
            return list(pool.map(lambda series: self._read(scope, run, series), tags))

    def _read(self, scope: Scope, run: str, series: Series) -> Tag:
        def read() -> tuple[Tag, int]:
            tag = self._provider.records(scope, run, series)
            return tag, sum(_size(record.content) for record in tag.records)

        return self._tags.get((scope.experiment, run, series), read)


def _fields(series: Series | None) -> dict[str, Any]:
    """Metadata without judgement of its version; that is the decoder's."""
    try:
        fields = json.loads(series.metadata) if series else {}
    except (ValueError, RecursionError):
        fields = {}
    return fields if isinstance(fields, dict) else {}


def _if(kind: type[T], value: Any) -> T | None:
    return value if isinstance(value, kind) else None


def _newest_probes(tags: Iterable[Series]) -> Series | None:
    chosen = [series for series in tags if schema.kind_of(series.tag) == "probes"]
    return max(chosen, key=lambda series: series.max_wall_time, default=None)


def _size(content: NDArray[Any] | bytes | None) -> int:
    size = content.nbytes if isinstance(content, np.ndarray) else len(content or b"")
    return 100 + size
