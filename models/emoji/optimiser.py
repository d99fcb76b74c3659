"""Muon for matrices and convolutions, AdamW for the rest."""

import torch


ROUNDS = 4


def orthogonalised(matrices: list[torch.Tensor]) -> list[torch.Tensor]:
    """The nearest matrices with equal singular values, roughly, by Newton and Schulz's iteration.

    All have the same number of rows, and no fewer columns. The iteration runs on the small Gram matrices:
    X <- P X with P = a + b G + c G G and G = X X', so the long sides are multiplied only twice.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    # In bfloat16 a small eigenvalue can come out negative, and the iteration explodes.
    matrices = [x / x.norm().clamp_min(1e-18) for x in matrices]     # else squares of small gradients vanish
    gram = torch.stack([x @ x.T for x in matrices])
    sizes = gram.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, 1, 1)      # at least the largest eigenvalue
    gram = gram / sizes
    eye = torch.eye(gram.shape[1], device=gram.device)
    product = None
    for i in range(ROUNDS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c).add_(eye, alpha=a)
        rounded = polynomial.bfloat16()
        product = rounded if product is None else rounded @ product
        if i + 1 < ROUNDS:
            gram = polynomial @ (polynomial @ gram)
    return [(p @ (x / size).bfloat16()).float() for p, x, size in zip(product, matrices, sizes.sqrt().flatten(1))]


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; scaled to the size of an AdamW step, so that learning rates compare."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def _momentum(self, p: torch.Tensor, momentum: float) -> torch.Tensor:
        """Nesterov's, as a matrix with no more rows than columns."""
        state = self.state[p]
        if "average" not in state:
            state["average"] = torch.zeros_like(p)
        average = state["average"].lerp_(p.grad, 1 - momentum)
        matrix = torch.lerp(p.grad, average, momentum).flatten(1)
        return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            by_rows: dict[int, list] = {}
            for p in group["params"]:
                if p.grad is not None:
                    matrix = self._momentum(p, group["momentum"])
                    by_rows.setdefault(matrix.shape[0], []).append((p, matrix))
            for pairs in by_rows.values():
                for (p, matrix), update in zip(pairs, orthogonalised([m for _, m in pairs])):
                    size = 0.2 * max(update.shape) ** 0.5
                    update = update.T if matrix.shape[0] != p.flatten(1).shape[0] else update
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.reshape(p.shape), alpha=-group["lr"] * size)


class Optimisers:
    """Both, with one rate schedule. `slow` parameters learn by AdamW at a tenth of its rate."""

    def __init__(self, named: list[tuple[str, torch.nn.Parameter]], slow: list[torch.nn.Parameter] = (),
                 muon_rate: float = 2e-3, adam_rate: float = 1e-3):
        matrices = [p for name, p in named if p.dim() >= 2 and "conv_in" not in name and "conv_out" not in name]
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        self.all = [Muon(matrices, muon_rate),
                    torch.optim.AdamW([{"params": rest, "lr": adam_rate}, {"params": list(slow), "lr": adam_rate / 10}],
                                      betas=(0.9, 0.98), weight_decay=0.01)]
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
