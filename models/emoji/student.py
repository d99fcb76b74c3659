"""Distils the trained U-Net into one that draws in four steps without guidance.

Phased consistency (arXiv 2405.18407): the path from noise to picture is cut where DDIM's four steps are, and within
each part the student learns to jump from anywhere to the part's end, where guided small steps of the teacher lead.
"""

import torch
from torch import nn

from autoencoder import Autoencoder
from checkpoints import load_networks, trained
from data import Pictures
from denoiser import Chunks, Denoiser
from noising import Noising
from optimiser import Optimisers, schedule
from plans import Plan
from stages import half
from tokenizer import quick_tokens

PHASES = 4
STRIDE = 25              # training timesteps of a small step of the teacher
GUIDANCE = (2.0, 4.0)    # the teacher's, drawn anew for each sample
EMA = 0.98


class StudentStage:
    name = "student"

    def __init__(self, plan: Plan, work: str, pictures: Pictures, device: torch.device, workers: int):
        self.plan, self.device, self.steps = plan, device, plan.student_steps
        autoencoder = Autoencoder(plan).to(device, memory_format=torch.channels_last)
        autoencoder.load_state_dict(trained(work, "autoencoder"))
        self.chunks = Chunks(plan, pictures, autoencoder.eval(), self.steps, workers, seed=41, sizes_from=0.6)
        self.noising, weights = Noising(device), trained(work, "denoiser")
        self.teacher, self.model, self.average = (Denoiser(plan).to(device) for _ in range(3))
        for m in (self.teacher, self.model, self.average):
            m.load_state_dict(weights)
            m.speed_up(device)
        self.optimisers = Optimisers(list(self.model.unet.named_parameters()), muon_rate=3e-4, adam_rate=2e-4)
        self.nothing = quick_tokens("").to(device)

    def batches(self, start: int):
        return self.chunks(start)

    @torch.no_grad()
    def _target(self, sample, at, small, end, tokens, generator) -> torch.Tensor:
        """Where the path ends: a guided small step of the teacher, then the averaged student's jump."""
        low, high = GUIDANCE
        scale = low + (high - low) * torch.rand(len(at), 1, 1, 1, generator=generator, device=self.device)
        with half(self.device):
            guided = self.teacher.guided(sample, at, tokens, self.nothing, scale)
        nearer = self.noising.jump(sample, guided, at, small)
        with half(self.device):
            v = self.average(nearer, small.clamp_min(0), tokens)
        arrived = (small == end).view(-1, 1, 1, 1)
        return torch.where(arrived, nearer, self.noising.jump(nearer, v, small, end))

    def step(self, step: int, batch) -> torch.Tensor:
        latents, tokens, *_ = batch
        generator = torch.Generator(self.device).manual_seed(2 * 10**7 + step)
        width, count = self.noising.steps // PHASES, len(latents)
        phase = torch.randint(PHASES, (count,), generator=generator, device=self.device)
        # The first step of a phase, from its very start, is what drawing takes: a third of the samples.
        inside = torch.randint(1, width // STRIDE + 1, (count,), generator=generator, device=self.device) * STRIDE
        whole = torch.rand(count, generator=generator, device=self.device) < 1 / 3
        end = phase * width - 1
        at = end + torch.where(whole, width, inside)
        small = at - STRIDE
        noise = torch.randn(latents.shape, generator=generator, device=self.device)
        sample = self.noising.noised(latents, noise, at)
        target = self._target(sample, at, small, end, tokens, generator)
        with half(self.device):
            v = self.model(sample, at, tokens)
        made = self.noising.jump(sample, v, at, end)
        apart = (made - target).square().mean((1, 2, 3))
        loss = ((apart + 1e-4).sqrt() - 1e-2).mean()      # pseudo-Huber's
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimisers.step(schedule(step, self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - EMA)
        return loss.detach()

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "average": self.average.state_dict(),
                "optimisers": self.optimisers.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        load_networks(state, {"model": self.model, "average": self.average}, self.optimisers)

    def finished(self) -> str:
        return "draw with it in 4 steps at guidance 1"
