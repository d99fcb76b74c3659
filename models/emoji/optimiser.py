"""Muon for matrices and convolutions, AdamW for the rest."""

import torch


ROUNDS = 5


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest matrices with equal singular values, roughly, by Newton and Schulz's iteration in bfloat16.

    [n, rows, columns], no fewer columns than rows.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (matrices / matrices.flatten(1).norm(dim=1).clamp_min(1e-18).view(-1, 1, 1)).bfloat16()
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; scaled to the size of an AdamW step, so that learning rates compare."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def _momentum(self, parameters: list[torch.Tensor], momentum: float) -> list[torch.Tensor]:
        """Nesterov's, as matrices with no more rows than columns."""
        for p in parameters:
            if "average" not in self.state[p]:
                self.state[p]["average"] = torch.zeros_like(p)
        averages, gradients = [self.state[p]["average"] for p in parameters], [p.grad for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        matrices = [m.flatten(1) for m in torch._foreach_lerp(gradients, averages, momentum)]
        return [m.T if m.shape[0] > m.shape[1] else m for m in matrices]

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            alike: dict[torch.Size, list] = {}
            for p, matrix in zip(parameters, self._momentum(parameters, group["momentum"])):
                alike.setdefault(matrix.shape, []).append((p, matrix))
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            for shape, pairs in alike.items():
                updates = orthogonalised(torch.stack([m for _, m in pairs])).mul_(0.2 * max(shape) ** 0.5)
                turned = [u.T if shape[0] != p.flatten(1).shape[0] else u for (p, _), u in zip(pairs, updates)]
                torch._foreach_add_([p for p, _ in pairs], [u.reshape(p.shape) for (p, _), u in zip(pairs, turned)],
                                    alpha=-group["lr"])


class Optimisers:
    """Both, with one rate schedule. `slow` parameters learn by AdamW at a third of its rate."""

    def __init__(self, named: list[tuple[str, torch.nn.Parameter]], slow: list[torch.nn.Parameter] = (),
                 muon_rate: float = 2e-3, adam_rate: float = 1e-3):
        matrices = [p for name, p in named if p.dim() >= 2 and "conv_in" not in name and "conv_out" not in name]
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        self.all = [Muon(matrices, muon_rate),
                    torch.optim.AdamW([{"params": rest, "lr": adam_rate}, {"params": list(slow), "lr": adam_rate / 3}],
                                      betas=(0.9, 0.98), weight_decay=0.01, fused=True)]
        self.rates = [[group["lr"] for group in o.param_groups] for o in self.all]

    def step(self, factor: float) -> None:
        for optimiser, rates in zip(self.all, self.rates):
            for group, rate in zip(optimiser.param_groups, rates):
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [o.state_dict() for o in self.all]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimiser, state in zip(self.all, states):
            optimiser.load_state_dict(state)


def schedule(step: int, steps: int, warmup: int = 40, decay_from: float = 0.5) -> float:
    """Up quickly, level, then down in a straight line to nothing."""
    up = min(1.0, (step + 1) / warmup)
    return up * min(1.0, max(0.02, (steps - step) / (steps * (1 - decay_from))))
