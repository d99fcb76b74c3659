"""Layers that train faster and hold the same weights: for training only.

torch's backward of GroupNorm over channels-last tensors and its CPU attention each take as long as the rest of
a step. `speed_up` swaps the classes of modules in place, so state dicts stay as diffusers writes them. On a GPU
the arithmetic of GroupNorm is compiled into a few kernels.
"""

from functools import lru_cache

import torch
from torch import nn


def _normalise(rows, weight, bias, groups: int, eps: float, silu: bool):
    """rows [n, pixels, c]: what comes out, before SiLU and after it; each channel's mean and 1 / deviation."""
    n, pixels, c = rows.shape
    count = pixels * (c // groups)
    sums = rows.sum(1, dtype=torch.float32).view(n, groups, -1).sum(-1)
    squares = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32).square().view(n, groups, -1).sum(-1)
    mean = sums / count
    rstd = torch.rsqrt((squares / count - mean * mean).clamp_min(0) + eps)
    mean_c, rstd_c = (t.repeat_interleave(c // groups, 1).unsqueeze(1) for t in (mean, rstd))
    scale = rstd_c * weight
    z = torch.addcmul((bias - mean_c * scale).to(rows.dtype), rows, scale.to(rows.dtype))
    return z, (torch.nn.functional.silu(z) if silu else z), mean_c, rstd_c


def _normalise_backward(dz, rows, z, weight, mean_c, rstd_c, groups: int, silu: bool):
    n, pixels, c = rows.shape
    if silu:
        dz = torch.ops.aten.silu_backward(dz.contiguous(), z)
    sum_dz = dz.sum(1, dtype=torch.float32)                               # [n, c]
    sum_dzx = (dz * rows).sum(1, dtype=torch.float32)
    mean, rstd = mean_c[:, 0], rstd_c[:, 0]
    sum_dzn = (sum_dzx - mean * sum_dz) * rstd                            # against the normalised input
    count = pixels * (c // groups)
    per_group = lambda t: (t * weight).view(n, groups, -1).sum(-1).repeat_interleave(c // groups, 1) / count
    of_x = -rstd * rstd * per_group(sum_dzn)
    constant = -rstd * per_group(sum_dz) - of_x * mean
    dx = torch.addcmul(constant.unsqueeze(1).to(dz.dtype), rows, of_x.unsqueeze(1).to(dz.dtype))
    dx = torch.addcmul(dx, dz, (rstd * weight).unsqueeze(1).to(dz.dtype))
    return dx, sum_dzn.sum(0), sum_dz.sum(0)


@lru_cache(maxsize=None)
def _compiled(function):
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(function, dynamic=True)


def _for(tensor: torch.Tensor, function):
    return _compiled(function) if tensor.is_cuda else function


class _GroupNormFunction(torch.autograd.Function):
    """GroupNorm, and SiLU after it if asked, over [n, c, h, w] in channels-last memory."""

    @staticmethod
    def forward(ctx, x, weight, bias, groups, eps, silu):
        n, c, h, w = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        z, y, mean_c, rstd_c = _for(x, _normalise)(rows, weight, bias, groups, eps, silu)
        ctx.save_for_backward(rows, z, weight, mean_c, rstd_c)
        ctx.groups, ctx.silu, ctx.shape = groups, silu, x.shape
        return y.view(n, h, w, c).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, dy):
        n, c, h, w = ctx.shape
        dz = dy.permute(0, 2, 3, 1).reshape(n, h * w, c)
        dx, d_weight, d_bias = _for(dy, _normalise_backward)(dz, *ctx.saved_tensors, ctx.groups, ctx.silu)
        return dx.view(n, h, w, c).permute(0, 3, 1, 2), d_weight, d_bias, None, None, None


class FastGroupNorm(nn.GroupNorm):
    silu = False

    def forward(self, x):
        if x.dim() == 3:        # the VAE's attention normalises [n, c, h * w]
            return super().forward(x)
        return _GroupNormFunction.apply(x, self.weight, self.bias, self.num_groups, self.eps, self.silu)


class FastGroupNormSiLU(FastGroupNorm):
    silu = True


class SiLULinear(nn.Linear):
    def forward(self, x):
        return super().forward(nn.functional.silu(x))


class PlainAttention:
    """An attention processor that multiplies matrices; quicker than fused attention for short sequences."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, **_):
        residual, shape = hidden_states, hidden_states.shape
        if hidden_states.dim() == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        split = lambda t: t.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        q, k, v = split(attn.to_q(hidden_states)), split(attn.to_k(context)), split(attn.to_v(context))
        weights = torch.softmax(q @ k.transpose(-1, -2) * attn.scale, -1)
        out = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)
        out = attn.to_out[1](attn.to_out[0](out))
        if len(shape) == 4:
            out = out.transpose(1, 2).reshape(shape)
        return (out + residual if attn.residual_connection else out) / attn.rescale_output_factor


def speed_up(model: nn.Module, device: torch.device) -> None:
    for module in model.modules():
        if type(module).__name__ == "ResnetBlock2D":
            module.norm1.__class__ = module.norm2.__class__ = FastGroupNormSiLU
            module.nonlinearity = nn.Identity()
            if module.time_emb_proj is not None:
                module.time_emb_proj.__class__ = SiLULinear
        elif type(module) is nn.GroupNorm:
            module.__class__ = FastGroupNorm
    if device.type == "cpu" and hasattr(model, "set_attn_processor"):
        model.set_attn_processor(PlainAttention())
