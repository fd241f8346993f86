"""Trains the LoRA adapter by an objective, and keeps the epoch that scores best on dev by the task metric; without dev
rows the last one.

Runs on one CPU or GPU, and under `accelerate launch` on several processes. Each process takes its share of every batch.
The adapter's gradients, which are small, are summed once per update, so the result does not depend on the number of
processes. The first process scores and writes.

Two things make it fast on a CPU: logits are computed only where there is a loss (logprobs.py), and rows of similar
length share a batch (batches.py).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from peft import get_peft_model_state_dict, set_peft_model_state_dict

from distill.train.adapter import write_adapter
from distill.train.batches import epoch_batches, micro_batches
from distill.train.checkpoint import Checkpoint, Position, disk_errors, load_checkpoint, save_checkpoint
from distill.train.encode import EncodedExample
from distill.train.generate import generate_replies
from distill.train.hyper import best_epoch, lr_fraction, out_of_patience
from distill.train.job import DevSet, KeepGoing, ReportTraining, TrainingJob, TrainingProgress, TrainingResult
from distill.train.metrics_file import append_metrics, rewind_metrics
from distill.train.objectives import OBJECTIVES
from distill.train.weights import attach, load_base, load_tokenizer, public_name
from promptstill.errors import InfrastructureError, UserError
from promptstill.files import digest

CLIP = 1.0
MICRO_BATCH_TOKENS = {"cpu": 1024, "cuda": 8192}  # a token of 135M takes about 2 MB in float32


def always_continue(_epoch: int, _score: float) -> bool:
    """Trains on after every epoch."""
    return True


def train(
    job: TrainingJob,
    adapter_dir: Path,
    report: ReportTraining,
    *,
    keep_going: KeepGoing = always_continue,
    checkpoint_every_s: float = 120.0,
) -> TrainingResult:
    """Train, or continue from the last checkpoint, and write the kept epoch's adapter into `adapter_dir`.

    `keep_going(epoch, dev score)` may end training after an epoch. Raises `UserError` (no rows, model without weights,
    checkpoint of another training) or `InfrastructureError` (memory, disk).
    """
    if not job.rows or (job.dev and not job.dev.prompts):
        raise UserError("There is nothing to train on or to score on.", "", "Give train rows and dev rows.")
    try:
        loop = TrainingLoop(job, report, keep_going, checkpoint_every_s)
        loop.run()
        loop.write_best(adapter_dir)
        return loop.result()
    except torch.OutOfMemoryError as error:  # smaller micro-batches did not help
        raise out_of_memory(str(error)) from error


class TrainingLoop:
    """The state of one training in one process."""

    def __init__(
        self,
        job: TrainingJob,
        report: ReportTraining,
        keep_going: KeepGoing = always_continue,
        checkpoint_every_s: float = 120.0,
    ) -> None:
        self.job, self.hyper, self.report, self.keep_going = job, job.hyper, report, keep_going
        self.checkpoint_every_s = checkpoint_every_s
        self.objective = OBJECTIVES[job.objective]
        self.accelerator = Accelerator(mixed_precision="no")  # the weights have their precision; adapters are float32
        self.device = self.accelerator.device
        self.is_first = self.accelerator.is_main_process
        self.tokenizer = load_tokenizer(job.model)
        base = load_base(job.model, self.hyper.precision, self.device)
        self.model = attach(base, self.hyper)
        self.parameters = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, weight_decay=self.hyper.weight_decay)
        self.micro_batch_tokens = MICRO_BATCH_TOKENS.get(self.device.type, MICRO_BATCH_TOKENS["cpu"])
        self.position = Position()
        self.best: dict[str, torch.Tensor] | None = None
        self.steps_per_epoch = -(-len(job.rows) // self.hyper.batch)
        self.restore()

    @property
    def steps(self) -> int:
        """All updates by which the learning rate falls."""
        return self.steps_per_epoch * self.hyper.epochs

    @property
    def steps_to_take(self) -> int:
        """The most updates of the training."""
        return self.steps_per_epoch * self.job.epochs

    @property
    def steps_done(self) -> int:
        return self.position.epoch * self.steps_per_epoch + self.position.step

    def restore(self) -> None:
        """Continue from the last checkpoint, if there is one; later lines of metrics are dropped."""
        found = load_checkpoint(self.job.work_dir, self.job.fingerprint)
        if found:
            self.position, self.best = found.position, found.best
            set_peft_model_state_dict(self.model, found.adapter)
            self.optimizer.load_state_dict(found.optimizer)
        self.saved_at = time.monotonic()
        self.accelerator.wait_for_everyone()
        if self.is_first:
            rewind_metrics(self.job.work_dir, self.steps_done, self.position if found else None)

    def run(self) -> None:
        while not self.position.ended:
            self.run_epoch()

    def run_epoch(self) -> None:
        """The rest of the current epoch, and its dev score."""
        batches = epoch_batches(self.job.rows, self.hyper.batch, self.hyper.seed, self.position.epoch)
        self.model.train()
        for batch in batches[self.position.step :]:
            self.step(batch)
            if time.monotonic() - self.saved_at >= self.checkpoint_every_s:
                self.save()
        self.save()
        self.end_epoch()
        self.save()

    def step(self, batch: Sequence[EncodedExample]) -> None:
        """One update from `batch`, shared among the processes."""
        started, position = time.monotonic(), self.position
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        torch.manual_seed(int(digest([self.hyper.seed, self.steps_done, rank])[:8], 16))  # a resume repeats the dropout
        own_loss = self.accumulate(batch[rank::world], sum(len(row.completion) for row in batch))
        loss = float(self.sum_gradients(own_loss))
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        lr = self.hyper.lr * lr_fraction(self.steps_done, self.steps, self.hyper.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        position.step += 1
        position.tokens += sum(row.length for row in batch)
        position.seconds += time.monotonic() - started
        position.epoch_losses.append(loss)
        self.write_metrics({"loss": loss, "lr": lr})
        self.report_progress(loss)

    def accumulate(self, rows: Sequence[EncodedExample], targets: int) -> torch.Tensor:
        """Set the gradients of this process's rows, and return their part of the mean loss over the batch's `targets`
        tokens. Where memory runs out, micro-batches become smaller, for good."""
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            total = torch.zeros((), device=self.device)
            try:
                for group in micro_batches(rows, self.micro_batch_tokens):
                    loss = self.objective.loss(self.model, group, self.device) / targets
                    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                    total += loss.detach()
                return total
            except RuntimeError as error:
                longest = max(row.length for row in rows)
                if "memory" not in str(error).lower():
                    raise
                if self.micro_batch_tokens <= longest:
                    raise out_of_memory(f"Not even one row alone fits; the longest has {longest} tokens.") from error
                self.micro_batch_tokens //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def sum_gradients(self, loss: torch.Tensor) -> torch.Tensor:
        """Sum gradients and loss over the processes; a process without rows adds zeros."""
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

    def end_epoch(self) -> None:
        """Score the epoch on dev, keep its adapter if it is the best, and decide whether another epoch follows."""
        started, position = time.monotonic(), self.position
        score, keep_going = self.score_dev(self.job.dev) if self.job.dev else (None, True)
        if score is None or score > max(position.dev_scores, default=float("-inf")):
            self.best = self.adapter_state()
        loss = sum(position.epoch_losses) / len(position.epoch_losses)
        position.losses.append(loss)
        if score is not None:
            position.dev_scores.append(score)
            position.dev_seconds += time.monotonic() - started
            self.write_metrics({"loss": loss, "dev": score})
        position.epoch, position.step, position.epoch_losses = position.epoch + 1, 0, []
        last = position.epoch == self.job.epochs or out_of_patience(position.dev_scores, self.hyper.patience)
        position.ended = last or not keep_going
        if score is not None:
            self.report_progress(loss, score)

    def score_dev(self, dev: DevSet) -> tuple[float, bool]:
        """The dev score, from replies that all processes generate together, and whether the caller wants to go on."""
        self.model.eval()
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        prompts = list(enumerate(dev.prompts))[rank::world]
        texts = generate_replies(self.model, self.tokenizer, [ids for _, ids in prompts], dev.decoding)
        replies = dict(gather_object([(i, text) for (i, _), text in zip(prompts, texts, strict=True)]))
        decision: list[Any] = [None, None]
        if self.is_first:
            score = dev.score([replies[i] for i in range(len(dev.prompts))])
            decision = [score, self.keep_going(self.position.epoch + 1, score)]
        broadcast_object_list(decision)
        return float(decision[0]), bool(decision[1])

    def adapter_state(self) -> dict[str, torch.Tensor]:
        """A copy of the adapter's tensors, under the names that PEFT and vLLM read."""
        state = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        return {name: tensor.detach().float().cpu().clone() for name, tensor in state.items()}

    def save(self) -> None:
        """Write a checkpoint."""
        if self.is_first:
            state = Checkpoint(self.position, self.adapter_state(), self.best, self.optimizer.state_dict())
            save_checkpoint(self.job.work_dir, self.job.fingerprint, state)
        self.saved_at = time.monotonic()

    def write_metrics(self, values: dict[str, float]) -> None:
        position = self.position
        line = {"step": self.steps_done, "epoch": position.epoch + 1, **values, "tokens": position.tokens}
        if self.is_first:
            append_metrics(self.job.work_dir, line | {"seconds": round(position.total_seconds, 3)})

    def report_progress(self, loss: float, dev: float | None = None) -> None:
        if self.is_first:
            position = self.position
            left = 0.0 if position.ended else self.seconds_left()
            epoch = position.epoch if dev is not None else position.epoch + 1
            speed = position.tokens / max(position.seconds, 1e-9)
            scoring = self.job.dev is not None and position.step == self.steps_per_epoch
            self.report(TrainingProgress(self.steps_done, self.steps_to_take, epoch, loss, speed, left, scoring, dev))

    def seconds_left(self) -> float:
        """Updates at their speed so far, and scorings of dev once one was timed."""
        position = self.position
        updates = position.seconds / max(self.steps_done, 1) * (self.steps_to_take - self.steps_done)
        scorings = position.dev_seconds / max(position.epoch, 1) * (self.job.epochs - position.epoch)
        return updates + scorings

    def write_best(self, adapter_dir: Path) -> None:
        """Write the kept epoch's adapter."""
        if self.is_first and self.best is not None:
            with disk_errors(adapter_dir):
                config = self.model.peft_config["default"]
                write_adapter(adapter_dir, config, public_name(self.job.model), self.best)
        self.accelerator.wait_for_everyone()

    def result(self) -> TrainingResult:
        position = self.position
        on_gpu = self.device.type == "cuda"
        peak = (
            torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
        device = torch.cuda.get_device_name() if on_gpu else self.device.type
        scores, seconds = position.dev_scores, position.total_seconds
        kept = best_epoch(scores) if scores else position.epoch
        return TrainingResult(kept, scores, position.losses, position.tokens, seconds, peak, device)


def _grad(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        raise RuntimeError("sum_gradients is called after the gradients are set")
    return parameter.grad


def out_of_memory(why: str) -> InfrastructureError:
    return InfrastructureError(
        "Memory ran out in training.",
        why,
        "Free memory, choose a smaller model or rank, leave out the longest rows, or train in bf16 (--precision bf16).",
    )
