"""The one schema of what a run's event files hold: tags, metadata and records. numpy only.

Writer and reader, on both sides of TensorBoard, import this package and nothing else about it:

    plugin          tag                          one record a step
    sparsity        sparsity/layers/<hash>       float32 [layers, columns]; names in the metadata
    sparsity        sparsity/global_step         int64, the trainer's own step count; apart, since
                                                 float32 is exact to 16 million only
    sparsity        sparsity/probes/<hash>       bytes: `ShownProbes`, once
    sparsity_maps   sparsity/maps/<hash>         bytes: `EncodedMaps`, the entropy maps of one layer
    sparsity_maps   sparsity/correlation/<hash>  int64 [201], correlation histogram of one layer

Two plugins, so that the few tags that describe a run are listed without the hundreds of its layers.

A tag ends in a hash of its metadata, because TensorBoard keeps only the first metadata of a tag:
when layers or columns change, so does the tag. Step = epoch; -1 is "before training".

A record of bytes is a JSON header (names, shape, codec), then a zlib body. A map is stored in 8
bits, 0-254 over the step's own range and 255 for NaN; sides above 64 are mean-pooled, and a byte
budget is kept by showing fewer probes, which the header says. Shown probes are PNGs (1 or 3
channels), series, or nothing, with a digest of the whole probe set.
"""

from .framing import VERSION, decode_metadata, encode_metadata
from .layers import COLUMNS, Column, LayerInfo, decode_layers, encode_layers
from .maps import MAP_BYTES, MAX_SIDE, EncodedMaps, decode_maps, encode_maps
from .shown import ShownProbes, decode_probes, probe_digest
from .statistics import STATISTICS, Statistic
from .steps import Event, counting, surviving
from .tags import GLOBAL_STEP_TAG, LAYERS_PLUGIN, MAPS_PLUGIN, PLUGIN_OF, Kind, kind_of, tag_of

__all__ = [
    "COLUMNS",
    "GLOBAL_STEP_TAG",
    "LAYERS_PLUGIN",
    "MAPS_PLUGIN",
    "MAP_BYTES",
    "MAX_SIDE",
    "PLUGIN_OF",
    "STATISTICS",
    "VERSION",
    "Column",
    "EncodedMaps",
    "Event",
    "Kind",
    "LayerInfo",
    "ShownProbes",
    "Statistic",
    "counting",
    "decode_layers",
    "decode_maps",
    "decode_metadata",
    "decode_probes",
    "encode_layers",
    "encode_maps",
    "encode_metadata",
    "kind_of",
    "probe_digest",
    "surviving",
    "tag_of",
]
