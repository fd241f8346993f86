"""Trains the LoRA adapter: loss on the completion and its stop token, the checkpoint chosen by the task metric on dev.

Runs on one CPU or GPU, and under `accelerate launch` on several processes: each takes its share of every batch, and the
adapter's gradients, which are small, are summed once an update, so the result does not depend on the number of
processes. The first process scores and writes. Logits are computed only where there is a loss, and batches are bucketed
by length (batches.py): on a CPU these two are the speed.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from peft import get_peft_model_state_dict, set_peft_model_state_dict

from distill import checkpoint
from distill.adapter import write_adapter
from distill.batches import epoch_batches, micro_batches
from distill.checkpoint import Checkpoint, Position, disk
from distill.encode import Encoded
from distill.generate import replies
from distill.hyper import best_epoch, exhausted, lr_share
from distill.job import Job, KeepGoing, Progress, Report, Trained
from distill.targets import target_losses
from distill.weights import attach, load_base, load_tokenizer, public_name
from optimizer.errors import InfrastructureError, UserError
from optimizer.files import digest, write_text

CLIP = 1.0
TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 8192}  # activations of 135M: about 2 MB a token in float32
METRICS = "metrics.jsonl"


def always(_epoch: int, _score: float) -> bool:
    """Trains on after every epoch."""
    return True


def train(
    job: Job,
    adapter_dir: Path,
    report: Report,
    *,
    keep_going: KeepGoing = always,
    checkpoint_every_s: float = 120.0,
) -> Trained:
    """Train, or go on from the last checkpoint, and write the best epoch's adapter into `adapter_dir`.

    `keep_going(epoch, dev score)` may end training after an epoch. Raises `UserError` (no rows, model without weights,
    foreign checkpoint) or `InfrastructureError` (memory, disk).
    """
    if not job.rows or not job.dev.prompts:
        raise UserError("There is nothing to train on or to score on.", "", "Give train rows and dev rows.")
    try:
        loop = Loop(job, report, keep_going, checkpoint_every_s)
        loop.run()
        loop.write(adapter_dir)
        return loop.result()
    except torch.OutOfMemoryError as error:  # beyond what doing less at once can mend
        raise out_of_memory(str(error)) from error


class Loop:
    """The state of one training in one process."""

    def __init__(
        self,
        job: Job,
        report: Report,
        keep_going: KeepGoing = always,
        checkpoint_every_s: float = 120.0,
    ) -> None:
        self.job, self.hyper, self.report, self.keep_going = job, job.hyper, report, keep_going
        self.checkpoint_every_s = checkpoint_every_s
        self.accelerator = Accelerator(mixed_precision="no")  # the weights have their precision; adapters are float32
        self.device = self.accelerator.device
        self.main = self.accelerator.is_main_process
        self.tokenizer = load_tokenizer(job.model)
        base = load_base(job.model, self.hyper.precision, self.device)
        self.model = attach(base, self.hyper)
        self.parameters = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, weight_decay=self.hyper.weight_decay)
        self.budget = TOKENS_AT_ONCE.get(self.device.type, TOKENS_AT_ONCE["cpu"])
        self.position = Position()
        self.best: dict[str, torch.Tensor] | None = None
        self.per_epoch = -(-len(job.rows) // self.hyper.batch)
        self.restore()

    @property
    def steps(self) -> int:
        return self.per_epoch * self.hyper.epochs

    @property
    def done(self) -> int:
        return self.position.epoch * self.per_epoch + self.position.step

    def restore(self) -> None:
        """Go on from the last checkpoint, if there is one; lines of metrics beyond it are dropped."""
        found = checkpoint.load(self.job.work_dir, self.job.subject)
        if found:
            self.position, self.best = found.position, found.best
            set_peft_model_state_dict(self.model, found.adapter)
            self.optimizer.load_state_dict(found.optimizer)
        self.saved_at = time.monotonic()
        self.accelerator.wait_for_everyone()
        path = self.job.work_dir / METRICS
        if self.main:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if found and path.is_file() else []
            with disk(self.job.work_dir):
                write_text(path, "".join(line for line in lines if stands(line, self.done, self.position)))

    def run(self) -> None:
        while not self.position.ended:
            self.epoch()

    def epoch(self) -> None:
        """The rest of the current epoch, and its dev score."""
        batches = epoch_batches(self.job.rows, self.hyper.batch, self.hyper.seed, self.position.epoch)
        self.model.train()
        for batch in batches[self.position.step :]:
            self.step(batch)
            if time.monotonic() - self.saved_at >= self.checkpoint_every_s:
                self.save()
        self.save()
        self.judge()
        self.save()

    def step(self, batch: Sequence[Encoded]) -> None:
        """One update from `batch`, shared among the processes."""
        begun, position = time.monotonic(), self.position
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        torch.manual_seed(int(digest([self.hyper.seed, self.done, rank])[:8], 16))  # dropout, alike after a resume
        part = self.accumulate(batch[rank::world], sum(len(row.completion) for row in batch))
        loss = float(self.share_gradients(part))
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        lr = self.hyper.lr * lr_share(self.done, self.steps, self.hyper.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        position.step += 1
        position.tokens += sum(row.length for row in batch)
        position.seconds += time.monotonic() - begun
        position.epoch_losses.append(loss)
        self.record({"loss": loss, "lr": lr})
        self.tell(loss)

    def accumulate(self, rows: Sequence[Encoded], targets: int) -> torch.Tensor:
        """Gradients of the mean loss over the batch's `targets` tokens, of this process's rows; with less at once where
        memory runs out."""
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            total = torch.zeros((), device=self.device)
            try:
                for group in micro_batches(rows, self.budget):
                    loss = target_losses(self.model, group, self.device).sum() / targets
                    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                    total += loss.detach()
                return total
            except RuntimeError as error:
                longest = max(row.length for row in rows)
                if "memory" not in str(error).lower():
                    raise
                if self.budget <= longest:
                    raise out_of_memory(f"Not even one row alone fits; the longest has {longest} tokens.") from error
                self.budget //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def share_gradients(self, loss: torch.Tensor) -> torch.Tensor:
        """Sum gradients and loss over the processes; one without rows gives zeros."""
        for one in self.parameters:
            one.grad = torch.zeros_like(one) if one.grad is None else one.grad
        if self.accelerator.num_processes == 1:
            return loss
        flat = torch.cat([loss.reshape(1).float(), *(_grad(one).reshape(-1).float() for one in self.parameters)])
        flat = torch.as_tensor(self.accelerator.reduce(flat, "sum"))
        sizes = [one.numel() for one in self.parameters]
        for one, part in zip(self.parameters, torch.split(flat[1:], sizes), strict=True):
            _grad(one).copy_(part.view_as(one))
        return flat[0]

    def judge(self) -> None:
        """Score the epoch on dev, keep its adapter if it is the best, and decide whether another epoch follows."""
        begun, position = time.monotonic(), self.position
        score, keep = self.verdict()
        if score > max(position.dev_scores, default=float("-inf")):
            self.best = self.adapter()
        loss = sum(position.epoch_losses) / len(position.epoch_losses)
        position.dev_scores.append(score)
        position.losses.append(loss)
        position.dev_seconds += time.monotonic() - begun
        self.record({"loss": loss, "dev": score})
        position.epoch, position.step, position.epoch_losses = position.epoch + 1, 0, []
        spent = position.epoch == self.hyper.epochs or exhausted(position.dev_scores, self.hyper.patience)
        position.ended = spent or not keep
        self.tell(loss, score)

    def verdict(self) -> tuple[float, bool]:
        """The dev score, from replies that all processes wrote together, and whether the caller wants to go on."""
        self.model.eval()
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        prompts = list(enumerate(self.job.dev.prompts))[rank::world]
        texts = replies(self.model, self.tokenizer, [ids for _, ids in prompts], self.job.dev.decoding)
        gathered = dict(gather_object([(i, text) for (i, _), text in zip(prompts, texts, strict=True)]))
        said: list[Any] = [None, None]
        if self.main:
            score = self.job.dev.score([gathered[i] for i in range(len(self.job.dev.prompts))])
            said = [score, self.keep_going(self.position.epoch + 1, score)]
        broadcast_object_list(said)
        return float(said[0]), bool(said[1])

    def adapter(self) -> dict[str, torch.Tensor]:
        """A copy of the adapter's tensors, under the names that PEFT and vLLM read."""
        state = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        return {name: tensor.detach().float().cpu().clone() for name, tensor in state.items()}

    def save(self) -> None:
        if self.main:
            optimizer = self.optimizer.state_dict()
            saved = Checkpoint(self.position, self.adapter(), self.best, optimizer)
            checkpoint.save(self.job.work_dir, self.job.subject, saved)
        self.saved_at = time.monotonic()

    def record(self, values: dict[str, float]) -> None:
        position = self.position
        line = {"step": self.done, "epoch": position.epoch + 1, **values, "tokens": position.tokens}
        if self.main:
            with disk(self.job.work_dir), (self.job.work_dir / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line | {"seconds": round(position.all_seconds, 3)}) + "\n")

    def tell(self, loss: float, dev: float | None = None) -> None:
        if self.main:
            position = self.position
            left = 0.0 if position.ended else self.seconds_left()
            epoch = position.epoch if dev is not None else position.epoch + 1
            speed = position.tokens / max(position.seconds, 1e-9)
            scoring = position.step == self.per_epoch
            self.report(Progress(self.done, self.steps, epoch, loss, speed, left, scoring, dev))

    def seconds_left(self) -> float:
        """Of the updates at their pace so far, and of the readings of dev once one was timed."""
        position = self.position
        updates = position.seconds / max(self.done, 1) * (self.steps - self.done)
        readings = position.dev_seconds / max(position.epoch, 1) * (self.hyper.epochs - position.epoch)
        return updates + readings

    def write(self, adapter_dir: Path) -> None:
        if self.main and self.best is not None:
            with disk(adapter_dir):
                config = self.model.peft_config["default"]
                write_adapter(adapter_dir, config, public_name(self.job.model), self.best)
        self.accelerator.wait_for_everyone()

    def result(self) -> Trained:
        position = self.position
        on_gpu = self.device.type == "cuda"
        peak = (
            torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
        device = torch.cuda.get_device_name() if on_gpu else self.device.type
        scores = position.dev_scores
        seconds = position.all_seconds
        return Trained(best_epoch(scores), scores, position.losses, position.tokens, seconds, peak, device)


def _grad(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        raise RuntimeError("share_gradients comes after the gradients")
    return parameter.grad


def stands(line: str, done: int, position: Position) -> bool:
    """Whether a line of metrics is of what the checkpoint holds; one that a crash cut is of nothing."""
    try:
        value = json.loads(line)
        return bool(value["step"] <= done and ("dev" not in value or value["epoch"] <= len(position.dev_scores)))
    except (ValueError, KeyError, TypeError):
        return False


def out_of_memory(why: str) -> InfrastructureError:
    return InfrastructureError(
        "Memory ran out in training.",
        why,
        "Free memory, choose a smaller model or rank, leave out the longest rows, or train in bf16 (--precision bf16).",
    )
