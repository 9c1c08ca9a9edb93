"""The same layers are output layers for the recorder and in the exported file."""

import itertools

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from sparsight.graph.model import open_model
from sparsight.graph.taps import find_taps
from sparsight_torch import OnnxExporter, measure

# PyTorch's exporter warns of its own insides.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

TOKENS = torch.arange(24).reshape(3, 8) % 17
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SERIES = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0))


class Called(nn.Module):
    """A network of transformers, and of what it returns the tensors to be returned."""

    def __init__(self, network: nn.Module, *returned: str, **options: object) -> None:
        super().__init__()
        self.network, self.returned, self.options = network, returned, options

    def forward(self, tokens: Tensor) -> list[Tensor]:
        result = self.network(tokens, **self.options)
        return [getattr(result, name) for name in self.returned]


class Cached(nn.Module):
    """A language model that takes and returns its keys and values, [N, block, 2, ...]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        cache = transformers.DynamicCache()
        for block in range(past.shape[1]):
            cache.update(past[:, block, 0], past[:, block, 1], block)
        result = self.network(tokens, past_key_values=cache, use_cache=True)
        present = [torch.stack([layer.keys, layer.values], 1) for layer in cache.layers]
        return result.logits, torch.stack(present, 1)


class Residual(nn.Module):
    """Blocks of two convolutions, with a head or without."""

    def __init__(self, head: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.second = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))
        self.head = nn.Linear(4, 2) if head else None

    def forward(self, images: Tensor) -> Tensor:
        values = F.relu(self.stem(images))
        for first, second, norm in zip(self.first, self.second, self.norms, strict=True):
            values = F.relu(values + norm(second(F.relu(first(values)))))
        return values if self.head is None else self.head(values.mean((2, 3)))


class Features(nn.Module):
    """A classifier that returns its features, and writes over some of its activations."""

    def __init__(self) -> None:
        super().__init__()
        sides = itertools.pairwise((3, 4, 5, 6))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in sides)
        self.head = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = [images]
        for convolution in self.convolutions:
            features.append(F.relu(convolution(features[-1]), inplace=True))
        return self.head(features[-1].mean((2, 3))), *features[1:]


class States(nn.Module):
    """An LSTM between dense layers that returns its states as well."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(5, 4), nn.Linear(3, 2)
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, series: Tensor) -> tuple[Tensor, ...]:
        sequence, (hidden, cell) = self.lstm(self.embed(series))
        return self.head(sequence), hidden.transpose(0, 1), cell.transpose(0, 1)


class Reshaped(nn.Module):
    """Its output takes its shape from a hidden layer, and a mask of ones too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.aside = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.first(images))
        shaped = self.aside(images)
        result = self.second(hidden).flatten(1) + torch.ones_like(shaped).flatten(1)
        return result.reshape(shaped.shape), shaped


class Heads(nn.Module):
    """Two heads and an auxiliary one; what the first says is fed back into the second."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.middle = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.auxiliary = nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1))
        self.coarse, self.fine, self.score = nn.Linear(4, 2), nn.Linear(6, 2), nn.Linear(4, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        early = F.relu(self.stem(images))
        late = F.relu(self.middle(early)).mean((2, 3))
        coarse = self.coarse(late)
        fine = self.fine(torch.cat([late, coarse], 1))
        return coarse, fine, self.score(late), self.auxiliary(early)


class Written(nn.Module):
    """Values are gathered in a buffer, through views of it, and read from there."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(5, 4), nn.Linear(5, 4)
        self.mixed, self.last = nn.Linear(8, 3), nn.Linear(8, 3)
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, series: Tensor) -> tuple[Tensor, ...]:
        both = series.new_zeros(series.shape[0], 6, 8)
        both[..., :4] = self.one(series)
        both[..., 4:] = self.two(series)
        return self.mixed(both) @ self.weight, self.last(both), both


def bert(**options: object) -> transformers.BertConfig:
    sizes = {"hidden_size": 8, "intermediate_size": 12, "vocab_size": 17}
    return transformers.BertConfig(
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16, **sizes, **options
    )


def headless_bert() -> nn.Module:
    network = transformers.BertModel(bert(), add_pooling_layer=False)
    return Called(network, "last_hidden_state", "hidden_states", output_hidden_states=True)


def bert_with_head() -> nn.Module:
    return Called(transformers.BertForSequenceClassification(bert()), "logits")


def whisper_encoder() -> nn.Module:
    sizes = {"encoder_attention_heads": 2, "encoder_ffn_dim": 12, "d_model": 8}
    config = transformers.WhisperConfig(
        encoder_layers=2, num_mel_bins=6, max_source_positions=4, vocab_size=60000, **sizes
    )
    config.decoder_layers = config.decoder_attention_heads = 1
    encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder(config)
    return Called(encoder, "last_hidden_state")


def t5_config(layers: int) -> transformers.T5Config:
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_heads": 2, "vocab_size": 17}
    return transformers.T5Config(num_layers=layers, decoder_start_token_id=0, **sizes)


def t5_encoder() -> nn.Module:
    return Called(transformers.T5EncoderModel(t5_config(2)), "last_hidden_state")


class T5(nn.Module):
    """Encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.network = transformers.T5ForConditionalGeneration(t5_config(1))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        result = self.network(input_ids=tokens, decoder_input_ids=tokens, use_cache=False)
        return result.logits, result.encoder_last_hidden_state


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        n_embd=8, n_layer=1, n_head=2, n_positions=16, vocab_size=17, bos_token_id=0, eos_token_id=0
    )
    return Cached(transformers.GPT2LMHeadModel(config))


def llama() -> nn.Module:
    sizes = {"hidden_size": 8, "intermediate_size": 12, "vocab_size": 17}
    config = transformers.LlamaConfig(
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, **sizes
    )
    return Cached(transformers.LlamaForCausalLM(config))


def past(heads: int) -> Tensor:
    return torch.zeros(3, 1, 2, heads, 5, 4)


# No more blocks than tell something: PyTorch's export is what takes the time here.
NETWORKS = {
    "BERT without a head": (headless_bert, TOKENS, {"network.encoder.layer.1.output.dense"}),
    "BERT with a head": (bert_with_head, TOKENS, {"network.classifier"}),
    "residual CNN without a head": (lambda: Residual(False), IMAGES, {"second.2"}),
    "residual CNN with a head": (lambda: Residual(True), IMAGES, {"head"}),
    "Whisper's encoder": (whisper_encoder, torch.rand(3, 6, 8), {"network.layers.1.fc2"}),
    "T5's encoder": (t5_encoder, TOKENS, {"network.encoder.block.1.layer.1.DenseReluDense.wo"}),
    "T5": (T5, TOKENS, {"network.lm_head"}),
    "GPT-2 with a cache": (gpt2, [TOKENS, past(2)], {"network.lm_head"}),
    "Llama with a cache": (llama, [TOKENS, past(1)], {"network.lm_head"}),
    "a CNN that returns its features": (Features, IMAGES, {"head"}),
    "an LSTM that returns its states": (States, SERIES, {"head"}),
    "a shape on the way to the output": (Reshaped, IMAGES, {"second", "aside"}),
    "several heads": (Heads, IMAGES, {"fine", "score", "auxiliary.2"}),
    "a buffer that is written to": (Written, SERIES, {"last"}),
    "nothing but output layers": (lambda: nn.Linear(5, 4), SERIES, {"model"}),
}

FUNCTIONAL = {"a buffer that is written to"}  # a product with a parameter that no module calls


@pytest.mark.parametrize("name", NETWORKS)
def test_recorder_and_file_agree(name, tmp_path):
    make, probes, wanted = NETWORKS[name]
    torch.manual_seed(0)
    model = make().eval()
    path = OnnxExporter(model, probes).export(tmp_path / "model.onnx")
    in_file = {tap.name: tap.output_layer for tap in find_taps(open_model(path)).taps}
    every = {part.layer.name for part in measure(model, probes, layers=["*"])}
    assert every <= set(in_file)
    for statistics in ("entropy", "all"):
        chosen = {part.layer.name for part in measure(model, probes, statistics=statistics)}
        recorded = every - chosen or every
        assert recorded == wanted
        assert recorded == {name for name in every if in_file[name]}
    in_file_alone = {name for name, output_layer in in_file.items() if output_layer} - every
    assert in_file_alone == ({"model"} if name in FUNCTIONAL else set())
