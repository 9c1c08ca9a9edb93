"""Results as a run leaves them, as far as tables read them."""

import dataclasses


def result_of(preset, cell, accuracy, fall=0.5, pattern=0.0):
    epochs = preset.protocol.epochs
    falling = [1.0] + [1.0 - fall] * epochs
    return {
        "cell": dataclasses.asdict(cell),
        "protocol": dataclasses.asdict(preset.protocol),
        "arithmetic": ["float32", False],
        "hardware": {
            "gpu": None,
            "processor": "a CPU",
            "threads": 1,
            "precision": "float32",
            "compile": False,
        },
        "versions": {"torch": "2"},
        "best_accuracy": accuracy,
        "onset": 17,
        "seconds": 90.0,
        "epochs": {
            "accuracy/validation": [accuracy] * epochs,
            "loss/validation": [None, *([2.0] * (epochs - 1))],
        },
        "layers": {
            "conv4": {
                "relative_entropy": falling,
                "scale_free_entropy": [0.9] + [0.9 - pattern] * epochs,
                "rms": [0.1] + [20.0] * epochs,
                "dead_fraction": [None] * (epochs + 1),
                "correlation_mean": [0.0] * (epochs + 1),
                "correlation_mean_absolute": [0.2] * (epochs + 1),
            }
        },
    }
