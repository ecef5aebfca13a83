"""The pilot language model: a small LLaMA (RMSNorm, RoPE, SwiGLU, tied embeddings).

RoPE rotates interleaved pairs, which is what llama.cpp expects of architecture
"llama", so the export needs no permutation of the query and key weights.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass(frozen=True)
class Config:
    """Shape of the network. `ctx` is the longest sequence in tokens."""

    vocab: int = 2048
    dim: int = 256
    layers: int = 6
    heads: int = 4
    ffn: int = 704
    theta: float = 10000.0
    ctx: int = 1024
    eps: float = 1e-5


def rope_table(ctx: int, head_dim: int, theta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, each [ctx, head_dim / 2]."""
    freq = theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.outer(torch.arange(ctx).float(), freq)
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates neighbouring pairs of the last axis of x [batch, heads, time, head_dim]."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Block(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.heads = c.heads
        self.attn_norm = RMSNorm(c.dim, c.eps)
        self.ffn_norm = RMSNorm(c.dim, c.eps)
        # One matrix each for the three projections and the two gates: fewer, larger products.
        self.qkv = nn.Linear(c.dim, 3 * c.dim, bias=False)
        self.out = nn.Linear(c.dim, c.dim, bias=False)
        self.gate_up = nn.Linear(c.dim, 2 * c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, c.dim, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        batch, time, dim = x.shape
        qkv = self.qkv(self.attn_norm(x)).view(batch, time, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, dim))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class PilotLM(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.config = c
        self.emb = nn.Embedding(c.vocab, c.dim)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.dim, c.eps)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, 0.0, 0.02)
        for block in self.blocks:  # residual branches start smaller, as in GPT-2
            for p in (block.out.weight, block.down.weight):
                nn.init.normal_(p, 0.0, 0.02 / (2 * c.layers) ** 0.5)
        cos, sin = rope_table(c.ctx, c.dim // c.heads, c.theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Final normalised states [batch, time, dim] of token ids [batch, time]."""
        time = ids.shape[1]
        x = self.emb(ids)
        for block in self.blocks:
            x = block(x, self.cos[:time], self.sin[:time])
        return self.norm(x)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits [batch, time, vocab]."""
        return F.linear(self.hidden(ids), self.emb.weight)

    def loss(self, ids: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted mean cross entropy (nats) over the positions whose weight is above zero.

        Logits are computed for those positions only: prompts cost no output product.
        """
        keep = weights > 0
        each = F.cross_entropy(F.linear(self.hidden(ids)[keep], self.emb.weight), targets[keep], reduction="none")
        return (each * weights[keep]).sum() / weights[keep].sum()
