"""What is run: the cells of the paper's tables, and the protocols that they are run under."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sparsight.errors import UsageError, nearest

from .choices import DEFAULT, VARIED, Choices
from .classics import CLASSICS
from .formats import DATASETS
from .networks import NETWORKS, WIDTHS, NetworkSpec
from .treatments import TREATMENTS, Treatment

__all__ = [
    "PRESETS",
    "SCOPES",
    "Cell",
    "Preset",
    "Protocol",
    "Scope",
    "network_spec",
    "preset",
    "touching",
]

Optimiser = Literal["sgd", "adam"]


@dataclass(frozen=True)
class Protocol:
    """How a cell is trained; None for numbers of images means all that are published."""

    name: str
    training: int | None = None
    validation: int | None = None
    probes: int = 1000
    epochs: int = 100
    batch: int = 64
    sgd_rate: float = 0.01
    adam_rate: float = 0.001

    def rate(self, optimiser: Optimiser) -> float:
        """Learning rate, constant over the run."""
        return self.sgd_rate if optimiser == "sgd" else self.adam_rate


@dataclass(frozen=True)
class Cell:
    """One training run of a table; `size` is empty for the networks of Table 3."""

    network: str
    size: str
    data: str
    optimiser: Optimiser = "sgd"
    seed: int = 0
    choices: Choices = DEFAULT
    treatment: Treatment | None = None
    """What is done against overfitting, in the study of rivals; None: the paper's own cells."""

    def __post_init__(self) -> None:
        if self.data not in DATASETS:
            raise UsageError(f"unknown data set {self.data!r}; {nearest(self.data, DATASETS)}")
        if self.optimiser not in ("sgd", "adam"):
            raise UsageError(f"unknown optimiser {self.optimiser!r}; expected sgd or adam")
        network_spec(self.network)
        if self.network in NETWORKS and self.size not in WIDTHS:
            raise UsageError(f"unknown size {self.size!r}; {nearest(self.size, WIDTHS)}")
        if self.treatment is not None and self.network != "vanillaNet":
            raise UsageError(f"{self.network} takes no treatment; vanillaNet does")

    @property
    def treated(self) -> str:
        """The treatment and its strength, as `--treatment` takes them; empty for none at all."""
        return "" if self.treatment is None else self.treatment.label

    def settings(self) -> dict[str, Any]:
        """What results keep of it, plain containers; a treatment only where there is one."""
        settings = dataclasses.asdict(self)
        if self.treatment is None:
            del settings["treatment"]
        return settings

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Cell:
        """The cell of `settings`. Raises TypeError or UsageError for what is none."""
        treatment = settings.get("treatment")
        return cls(
            **{
                **settings,
                "choices": Choices(**settings["choices"]),
                "treatment": None if treatment is None else Treatment(**treatment),
            }
        )

    @property
    def label(self) -> str:
        """Network and size, as in the paper: sr2Net-s."""
        return f"{self.network}-{self.size}" if self.size else self.network

    @property
    def name(self) -> str:
        """Names the cell's folder: everything but the protocol is in it."""
        changed = [f"{key}-{value}" for key, value in self.choices.changed().items()]
        treated = [self.treated] if self.treated else []
        parts = [self.data, self.label, self.optimiser, *treated, *changed, f"seed{self.seed}"]
        return "_".join(parts)


@dataclass(frozen=True)
class Preset:
    """Cells and the protocol they share.

    Presets of one protocol share a folder, so that a cell which stands in several is run once.
    """

    summary: str
    protocol: Protocol
    cells: tuple[Cell, ...]


def network_spec(network: str) -> NetworkSpec:
    """Penalties and extension of any network of the paper. Raises UsageError for unknown names."""
    known = {**NETWORKS, **CLASSICS}
    if network not in known:
        raise UsageError(f"unknown network {network!r}; {nearest(network, known)}")
    return known[network]


@dataclass(frozen=True)
class Scope:
    """The networks that a choice changes."""

    title: str
    holds: Callable[[str, NetworkSpec], bool]
    """By name and specification."""


def touching(network: str) -> tuple[str, ...]:
    """The choices that change a network or its training; with any other it is the same again."""
    spec = network_spec(network)
    return tuple(name for name, scope in SCOPES.items() if scope.holds(network, spec))


_SPARSE = Scope("networks with SparsityReg", lambda name, spec: bool(spec.sparsity))
_DECORRELATED = Scope("networks with DecorrReg", lambda name, spec: bool(spec.decorrelation))

SCOPES = {
    "padding": Scope("the six networks of Table 2", lambda name, spec: name in NETWORKS),
    "initialisation": Scope("all networks", lambda name, spec: True),
    "placement": Scope("dropNet and normNet", lambda name, spec: spec.block != "plain"),
    "entropy_at": _SPARSE,
    "reduction": _SPARSE,
    "centre": _DECORRELATED,
    "form": _DECORRELATED,
    "lambda": _SPARSE,
    "kappa": _DECORRELATED,
}
"""By the name that `--choose` takes."""


def preset(name: str) -> Preset:
    """A preset by its name. Raises UsageError for unknown names."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return PRESETS[name]


def _six(data: str, size: str, optimiser: Optimiser = "sgd", seed: int = 0) -> tuple[Cell, ...]:
    return tuple(Cell(network, size, data, optimiser, seed) for network in NETWORKS)


def _full() -> tuple[Cell, ...]:
    table2 = [
        *_six("cifar-100", "s"),
        *_six("cifar-100", "m"),
        *_six("cifar-100", "xxl"),
        *_six("cifar-100", "xxl", "adam"),
        *_six("cifar-10", "xxl"),
        *_six("tiny-imagenet", "xxl"),
    ]
    table3 = [Cell(network, "", data) for data in DATASETS for network in CLASSICS]
    return (*table2, *table3)


def _small() -> tuple[Cell, ...]:
    """Size s with three seeds, size m with one; a whole seed of s before the next."""
    s = [cell for seed in range(3) for cell in _six("cifar-10", "s", seed=seed)]
    return (*s[:6], *_six("cifar-10", "m"), *s[6:])


def _choices() -> tuple[Cell, ...]:
    """The networks of `VARIED` with the default choices, then with each other one alone."""
    default = [Cell(network, "s", "cifar-10") for network in VARIED]
    varied = [
        dataclasses.replace(cell, choices=choices)
        for cell in default
        for choices in VARIED[cell.network]
    ]
    return (*default, *varied)


def _rivals(size: str, seeds: int, *, matters: bool, augmented: bool = False) -> tuple[Cell, ...]:
    """All strengths of the treatments that matter most or of the others, seed by seed."""
    treatments = [
        Treatment(name, strength, augmented)
        for name, spec in TREATMENTS.items()
        if spec.matters == matters and not (augmented and name in ("none", "flip-and-shift"))
        for strength in spec.strengths
    ]
    return tuple(
        Cell("vanillaNet", size, "cifar-10", seed=seed, treatment=treatment)
        for seed in range(seeds)
        for treatment in treatments
    )


_RIVALS = Protocol("rivals", training=4000, validation=2500, epochs=60, sgd_rate=0.05)
_REDUCED = Protocol("small", training=4000, validation=2500, epochs=60, sgd_rate=0.05)

PRESETS = {
    "tiny": Preset(
        "one network for 3 epochs, seconds: what CI runs again",
        Protocol("tiny", training=1000, validation=500, probes=200, epochs=3, sgd_rate=0.05),
        (Cell("sr2Net", "s", "cifar-10"),),
    ),
    "smoke": Preset(
        "the six networks at size s, 2,000 images, 10 epochs: minutes",
        Protocol("smoke", training=2000, validation=1000, epochs=10, sgd_rate=0.05),
        _six("cifar-10", "s"),
    ),
    "small": Preset(
        "the six networks at s (3 seeds) and m, 4,000 images of CIFAR-10, 60 epochs: hours",
        _REDUCED,
        _small(),
    ),
    "choices": Preset(
        "what the paper leaves open, each choice varied alone at size s: hours",
        _REDUCED,
        _choices(),
    ),
    "adam": Preset(
        "four networks at size s with Adam: half an hour",
        _REDUCED,
        tuple(
            Cell(network, "s", "cifar-10", "adam")
            for network in ("vanillaNet", "normNet", "sr2Net", "sr3Net")
        ),
    ),
    "rivals": Preset(
        "penalties and their rivals at size s, three strengths, three seeds: half a day",
        _RIVALS,
        (*_rivals("s", 3, matters=True), *_rivals("s", 3, matters=False)),
    ),
    "rivals-augmented": Preset(
        "the rivals with flip and shift beside them; the rules say which are run",
        _RIVALS,
        (
            *_rivals("s", 3, matters=True, augmented=True),
            *_rivals("s", 3, matters=False, augmented=True),
        ),
    ),
    "rivals-m": Preset(
        "the six treatments that matter most, once at size m; the rules say in which strength",
        _RIVALS,
        _rivals("m", 1, matters=True),
    ),
    "full": Preset("Tables 2 and 3 in full: for accelerators", Protocol("full"), _full()),
    "long": Preset(
        "Figure 6: 200 epochs of size xxl on CIFAR-100",
        Protocol("long", epochs=200),
        _six("cifar-100", "xxl"),
    ),
}
"""By the name that `--preset` takes."""
