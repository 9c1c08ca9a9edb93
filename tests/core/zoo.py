"""Small networks of the usual kinds, exported: what ONNX Runtime's optimisers are tried on."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import nn


@dataclass(frozen=True)
class Exported:
    content: bytes
    feeds: dict[str, NDArray]
    model_type: str = ""
    """What ONNX Runtime's transformers optimizer calls it."""


class Convolutions(nn.Module):
    """Batch normalisation, a residual sum, a factor behind a layer, layers without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, padding=1)
        self.b1 = nn.BatchNorm2d(8)
        self.c2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.b2 = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.up = nn.ConvTranspose2d(8, 6, 2)
        self.plain = nn.Conv2d(6, 8, 1)
        self.fc1 = nn.Linear(8, 7, bias=False)
        self.fc2 = nn.Linear(7, 6)
        self.fc3 = nn.Linear(6, 5)
        for module in (self.b1, self.b2):
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.b1(self.c1(x)))
        x = torch.relu(x + self.b2(self.c2(x)))
        x = self.up(torch.relu(self.depthwise(x) * 3))
        x = torch.relu(self.plain(x)).flatten(2).transpose(1, 2)
        x = torch.nn.functional.gelu(self.fc2(self.fc1(x) * 0.5))
        return self.fc3(x)


class Embedded(nn.Module):
    """What a transformer makes of tokens or pictures."""

    def __init__(self, net: nn.Module, argument: str) -> None:
        super().__init__()
        self.net, self.argument = net, argument

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = {self.argument: x}
        if self.argument == "input_ids":  # otherwise GPT-2 looks for sequences that are packed
            given["attention_mask"] = torch.ones_like(x)
        return self.net(**given).last_hidden_state


SIZES = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}


def bert(activation: str) -> nn.Module:
    made = transformers.BertConfig(
        **SIZES, intermediate_size=48, vocab_size=50, hidden_act=activation
    )
    return Embedded(transformers.BertModel(_eager(made)), "input_ids")


def gpt2() -> nn.Module:
    made = transformers.GPT2Config(
        n_embd=32, n_head=2, n_layer=1, vocab_size=50, n_positions=16, use_cache=False,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return Embedded(transformers.GPT2Model(_eager(made)), "input_ids")


def vit() -> nn.Module:
    made = transformers.ViTConfig(**SIZES, intermediate_size=48, image_size=8, patch_size=4)
    return Embedded(transformers.ViTModel(_eager(made), add_pooling_layer=False), "pixel_values")


def t5() -> nn.Module:
    made = transformers.T5Config(
        d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2, vocab_size=50
    )
    return Embedded(transformers.T5EncoderModel(_eager(made)), "input_ids")


def whisper() -> nn.Module:
    made = transformers.WhisperConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=48,
        num_mel_bins=8, max_source_positions=10, decoder_layers=1, decoder_attention_heads=2,
        vocab_size=50, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return Embedded(transformers.WhisperModel(_eager(made)).encoder, "input_features")


def _eager(config: transformers.PretrainedConfig) -> transformers.PretrainedConfig:
    config._attn_implementation = "eager"
    return config


TOKENS, PICTURES, SOUND = (7,), (3, 8, 8), (8, 20)

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "convolutions": (Convolutions, PICTURES, ""),
    "BERT": (lambda: bert("gelu"), TOKENS, "bert"),
    "BERT with GELU by tanh": (lambda: bert("gelu_new"), TOKENS, "bert"),
    "GPT-2": (gpt2, TOKENS, "gpt2"),
    "ViT": (vit, PICTURES, "vit"),
    "T5": (t5, TOKENS, "t5"),
    "Whisper": (whisper, SOUND, "bart"),
}


@lru_cache
def exported(name: str) -> Exported:
    """The network with random weights, and biases that matter."""
    make, shape, model_type = NETWORKS[name]
    torch.manual_seed(0)
    net = make().eval()
    for parameter_name, parameter in net.named_parameters():
        if parameter_name.endswith("bias"):
            nn.init.normal_(parameter)
    random = np.random.default_rng(0)
    values = random.normal(size=(4, *shape)).astype(np.float32)
    if shape == TOKENS:
        values = random.integers(0, 50, (4, *shape))
    file = io.BytesIO()
    torch.onnx.export(
        net,
        (torch.from_numpy(values),),
        file,
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n"}},
        do_constant_folding=False,  # which would fold batch normalisation
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    return Exported(file.getvalue(), {"x": values}, model_type)
