"""An RWKV-7 checkpoint as a GGUF file for llama.cpp, without a tokenizer.

Names and what stays fp32 follow llama.cpp's own conversion (`conversion/rwkv.py`).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workers import checkpoint
from workers.checkpoint import HEAD_SIZE

_WHOLE = {
    "emb.weight": "token_embd.weight",
    "head.weight": "output.weight",
    "ln_out.weight": "output_norm.weight",
    "ln_out.bias": "output_norm.bias",
    "blocks.0.ln0.weight": "token_embd_norm.weight",
    "blocks.0.ln0.bias": "token_embd_norm.bias",
}
_OF_BLOCK = {
    "ln1": "attn_norm",
    "ln2": "attn_norm_2",
    "att.ln_x": "time_mix_ln",
    "ffn.x_k": "channel_mix_lerp_k",
    **{f"att.{name}": f"time_mix_{name}" for name in ("receptance", "key", "value", "output", "k_k", "k_a", "r_k")},
    **{f"att.{name}{i}": f"time_mix_{name}{i}" for name in "wavg" for i in "012"},
    **{f"ffn.{name}": f"channel_mix_{name}" for name in ("key", "value")},
}
_ALWAYS_FP32 = ("time_mix_w1", "time_mix_w2", "time_mix_lerp_fused")


def write(source: Path, target: Path, dtype: str) -> None:
    """Convert a checkpoint; matrices become fp32 or bf16."""
    gguf = importlib.import_module("gguf")
    loaded = checkpoint.load(source)
    shape, tensors = loaded.shape, {name: tensor.squeeze() for name, tensor in loaded.tensors.items()}
    writer = gguf.GGUFWriter(target, "rwkv7")
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_layer_norm_eps(1e-5)
    writer.add_wkv_head_size(HEAD_SIZE)
    writer.add_feed_forward_length(len(tensors["blocks.0.ffn.key.weight"]))
    writer.add_head_count(0)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("no_vocab")
    ranks = {name: tensors[f"blocks.1.att.{name}1"].shape[1] for name in "wavg"}
    writer.add_decay_lora_rank(ranks["w"])
    writer.add_iclr_lora_rank(ranks["a"])
    writer.add_value_residual_mix_lora_rank(ranks["v"])
    writer.add_gate_lora_rank(ranks["g"])
    for name, theirs in _WHOLE.items():
        _add(gguf, writer, theirs, tensors[name], dtype)
    for layer in range(shape.layers):
        _add_block(gguf, writer, layer, tensors, dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_block(gguf: Any, writer: Any, layer: int, tensors: dict[str, Tensor], dtype: str) -> None:
    prefix = f"blocks.{layer}."
    block = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if layer == 0:  # llama.cpp wants them, and does not use them
        block |= {f"att.v{i}": block[f"att.a{i}"] for i in "012"}
    lerps = torch.stack([block.pop(f"att.x_{name}") for name in "rwkvag"])
    _add(gguf, writer, f"blk.{layer}.time_mix_lerp_fused.weight", lerps.view(6, 1, 1, -1), dtype)
    for name, tensor in block.items():
        stem, _, kind = name.rpartition(".") if name.endswith((".weight", ".bias")) else (name, "", "weight")
        if stem == "ln0":
            continue
        if stem[-1] in "12" and stem.startswith("att."):
            tensor = tensor.t()
        _add(gguf, writer, f"blk.{layer}.{_OF_BLOCK[stem]}.{kind}", tensor, dtype)


def _add(gguf: Any, writer: Any, name: str, tensor: Tensor, dtype: str) -> None:
    if tensor.dim() == 1 or "r_k" in name:
        tensor = tensor.flatten()
    if dtype == "fp32" or tensor.dim() == 1 or any(part in name for part in _ALWAYS_FP32):
        writer.add_tensor(name, tensor.float().contiguous().numpy())
    else:
        bits = tensor.to(torch.bfloat16).contiguous().view(torch.uint8).numpy()
        writer.add_tensor(name, bits, raw_dtype=gguf.GGMLQuantizationType.BF16)
