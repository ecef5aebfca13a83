"""Writes a checkpoint as GGUF (Q8_0), with the manifest, the held-out set and the markers.

Usage: python export.py --run DIR --out ../../pilot-text
"""

import argparse
import hashlib
import json
from pathlib import Path

import gguf
import numpy as np
import torch

from corpus import Corpus
from model import Config
from tokenizer import Encoder

NAME, VERSION, LICENCE = "pilot-text", "1.0.0", "Apache-2.0"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ '<|system|>' + message['content'] + '<|end|>' }}"
    "{% elif message['role'] == 'user' %}{{ '<|user|>' + message['content'] + '<|end|>' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
Q8 = gguf.GGMLQuantizationType.Q8_0


def add_shape(writer: gguf.GGUFWriter, c: Config) -> None:
    writer.add_name(NAME)
    writer.add_version(VERSION)
    writer.add_license(LICENCE)
    writer.add_context_length(c.ctx)
    writer.add_embedding_length(c.dim)
    writer.add_block_count(c.layers)
    writer.add_feed_forward_length(c.ffn)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.heads)
    writer.add_layer_norm_rms_eps(c.eps)
    writer.add_rope_dimension_count(c.dim // c.heads)
    writer.add_rope_freq_base(c.theta)
    writer.add_vocab_size(c.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def add_tokenizer(writer: gguf.GGUFWriter, encoder: Encoder) -> None:
    sp, kind = encoder.sp, gguf.TokenType
    tokens, scores, types = [], [], []
    for i in range(sp.vocab_size()):
        tokens.append(sp.id_to_piece(i).encode())
        scores.append(sp.get_score(i))
        types.append(kind.UNKNOWN if sp.is_unknown(i) else kind.CONTROL if sp.is_control(i) else kind.BYTE if sp.is_byte(i) else kind.NORMAL)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(sp.bos_id())
    writer.add_eos_token_id(encoder.end)
    writer.add_eot_token_id(encoder.end)
    writer.add_unk_token_id(sp.unk_id())
    writer.add_pad_token_id(sp.pad_id())
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def tensors(weights: dict[str, torch.Tensor], c: Config) -> dict[str, np.ndarray]:
    """llama.cpp's tensor names; the output matrix is left out because it is the embedding."""
    found = {"token_embd": weights["emb.weight"], "output_norm": weights["norm.weight"]}
    for i in range(c.layers):
        mine, theirs = f"blocks.{i}.", f"blk.{i}."
        q, k, v = weights[mine + "qkv.weight"].chunk(3)
        gate, up = weights[mine + "gate_up.weight"].chunk(2)
        parts = {"attn_q": q, "attn_k": k, "attn_v": v, "ffn_gate": gate, "ffn_up": up}
        for name, source in (("attn_norm", "attn_norm"), ("ffn_norm", "ffn_norm"), ("attn_output", "out"), ("ffn_down", "down")):
            parts[name] = weights[f"{mine}{source}.weight"]
        found |= {theirs + name: value for name, value in parts.items()}
    return {f"{name}.weight": value.float().contiguous().numpy() for name, value in found.items()}


def write_gguf(path: Path, weights: dict[str, torch.Tensor], c: Config, encoder: Encoder) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    add_shape(writer, c)
    add_tokenizer(writer, encoder)
    for name, value in tensors(weights, c).items():
        if value.ndim == 1:
            writer.add_tensor(name, value)
        else:
            writer.add_tensor(name, gguf.quants.quantize(value, Q8), raw_dtype=Q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_evaluation(folder: Path, corpus: Corpus) -> None:
    """heldout.json: questions never trained on, with keyword groups. markers.json: the exact prompts."""
    items = [
        {"concept": c.id, "group": group, "question": question, "must": c.must}
        for c in corpus.concepts
        for group, questions in ((c.group, c.held), ("fresh", c.fresh))
        for question in questions
    ]
    check = "right when every group of `must` has a keyword in the answer, ignoring case; greedy decoding"
    write_json(folder / "heldout.json", {"check": check, "system": corpus.guard, "items": items})
    markers = [{"prompt": c.exact, "contains": c.marker} for c in corpus.concepts if c.exact]
    write_json(folder / "markers.json", {"decoding": "greedy", "markers": markers})


def manifest(path: Path, c: Config) -> dict:
    data = path.read_bytes()
    return {
        "name": NAME, "version": VERSION, "format": "gguf", "file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
        "engine": "llama", "contextTokens": c.ctx, "chatTemplate": True, "licence": LICENCE, "tier": "small", "card": "CARD.md",
    }  # fmt: skip


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--run", type=Path, required=True)
    args.add_argument("--out", type=Path, required=True)
    options = args.parse_args()
    encoder = Encoder(str(options.run / "tok.model"))
    config = Config(vocab=encoder.sp.vocab_size())
    saved = torch.load(options.run / "checkpoint.pt", weights_only=True)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"{NAME}.gguf"
    write_gguf(target, saved["ema"], config, encoder)
    write_json(options.out / "manifest.json", manifest(target, config))
    write_evaluation(options.out / "eval", Corpus())
    print(f"step {saved['position'][0]}: {target} {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
