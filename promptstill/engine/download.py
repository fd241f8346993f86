"""Brings a model of the Hugging Face hub onto this machine, into the hub's own cache, before anything is started.

Only the files that an engine and PEFT read are downloaded. What is there already is not downloaded again, and without
a network what is there is used. `HF_HOME` moves the cache, `HF_TOKEN` opens private models, `HF_ENDPOINT` names another
hub.
"""

from __future__ import annotations

import errno
import io
import time
from pathlib import Path
from typing import Any

from promptstill.endpoint.hosted import similar_names
from promptstill.errors import InfrastructureError, PromptstillError, UserError
from promptstill.events import Say
from promptstill.text import first_line, one_of

# Not the same weights in other forms (*.bin, *.gguf, consolidated*), nor what lies in folders.
NEEDED = ["*.json", "*.safetensors", "*.model", "*.tiktoken", "*.txt", "*.jinja", "*.py"]
LEFT_OUT = ["*/*", "consolidated*"]
SAY_EVERY_S = 5.0


def download_model(name: str, say: Say) -> Path:
    """The folder of the model `name` (org/name), downloaded where it is not here yet; `say` is told how far it is.

    Raises `UserError` for a name that the hub does not know or does not give, else `InfrastructureError`.
    """
    from huggingface_hub import snapshot_download

    say(f"{name} is a model of the hub: looking for its files")
    try:
        return Path(
            snapshot_download(name, allow_patterns=NEEDED, ignore_patterns=LEFT_OUT, tqdm_class=_progress(name, say))
        )
    except Exception as error:  # what a transfer can raise is of several libraries
        raise failure(name, error) from error


def failure(name: str, error: Exception) -> PromptstillError:
    """What to tell the user of a download that failed."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return UserError(
            f"The hub does not give {name} to everyone.",
            "Its licence must be accepted first.",
            f"Accept it on the page of {name}, then set HF_TOKEN to your token.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return UserError(
            f"The hub has no model {name}, or it is private.",
            "Nor is there a folder of that name here, or a provider's model in LiteLLM's table.",
            f"{did_you_mean(name)}Check the name. For a private model set HF_TOKEN.",
        )
    if isinstance(error, LocalEntryNotFoundError):
        return InfrastructureError(
            f"{name} is not on this machine as a whole, and the model hub is out of reach.",
            first_line(str(error)),
            "Go online once (unset HF_HUB_OFFLINE if it is set), or copy the model's folder here and name that: "
            "--model ./FOLDER",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return InfrastructureError(
            f"There is no room on the disk for {name}.", str(error), "Free some, or set HF_HOME to a folder elsewhere."
        )
    return InfrastructureError(
        f"Downloading {name} failed.",
        f"{type(error).__name__}: {first_line(str(error))}",
        "Give the same command again: what is here already is kept.",
    )


def did_you_mean(name: str) -> str:
    """A provider's models whose names look like this one, as a question; empty where there are none."""
    similar = similar_names(name)
    return f"Did you mean {one_of(similar)}? " if similar else ""


def _progress(name: str, say: Say) -> type[Any]:
    """A progress bar, as huggingface_hub takes its class, that tells `say` instead of drawing."""
    from huggingface_hub.utils.tqdm import tqdm

    class Progress(tqdm):
        monitor_interval = 0  # no thread to watch it

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # One bar counts files, one bytes on the wire, which may be packed; this one the bytes of the files.
            self.of_files = kwargs.get("unit") == "B" and not str(kwargs.get("name")).endswith(".transfer")
            self.said_at, self.said = time.monotonic(), 0
            kwargs |= {"disable": False, "file": io.StringIO(), "mininterval": 1.0}
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # tqdm leaves it untyped

        def display(self, *_args: Any, **_kwargs: Any) -> None:
            done, now = int(self.n), time.monotonic()
            ended = done >= (self.total or 0)
            if self.of_files and done > self.said and (ended or now - self.said_at >= SAY_EVERY_S):
                unit, scale = ("GB", 1e9) if (self.total or 0) >= 1e9 else ("MB", 1e6)
                say(f"{name}: {done / scale:.1f} of {(self.total or 0) / scale:.1f} {unit} are here")
                self.said_at, self.said = now, done

    return Progress
