"""How far H(c a), interpolated on ladders of factors c, lies from the computed one.

    python benchmarks/entropy_ladder.py

For activations of light to heavy tails, 16 to 512 channels and scales from .05 to 17; the largest
error, as a share of ln D.
"""

from __future__ import annotations

import numpy as np

from sparsight.maths.entropy import entropy_ladder, rfav_entropy
from sparsight.maths.scale_pattern import at_factor

LADDERS = ((2.0, 10), (2.0**1.5, 7), (4.0, 5))  # step, and how many steps up and down


def largest_error(factors: tuple[float, ...]) -> float:
    """Over all kinds of activations, at 30 factors each."""
    random, worst = np.random.default_rng(0), 0.0
    for tail in (0.5, 1, 2, 3):
        for channels in (16, 64, 512):
            for scale in (0.05, 0.3, 1, 4, 17):
                normal = random.normal(size=(60, channels))
                values = scale * np.sign(normal) * np.abs(normal) ** tail
                curve = entropy_ladder(values, factors).mean(axis=1)
                ends = np.log(factors[0]), np.log(factors[-1])
                for factor in np.exp(random.uniform(*ends, 30)):
                    exact = rfav_entropy(values * factor).mean()
                    error = abs(at_factor(curve, factor, factors) - exact) / np.log(channels)
                    worst = max(worst, float(error))
    return worst


def main() -> None:
    """Print the table."""
    print("step   factors   largest error, of ln D")
    for step, count in LADDERS:
        factors = tuple(step**power for power in range(-count, count + 1))
        print(f"{step:4.2f}   {len(factors):7d}   {largest_error(factors):.3f}")


if __name__ == "__main__":
    main()
