"""Models in this process: transformers and vLLM, loaded when a backend is made."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from alpaca_analysis.foundations import options
from alpaca_analysis.foundations.extras import need
from alpaca_analysis.generating.backends import Backend, Sampling
from alpaca_analysis.generating.conversation import VICUNA_TEMPLATE, ConversationError


class LocalBackend(Backend):
    """A model in this process: what transformers and vLLM share, the way from messages to token ids."""

    model: str
    revision: str | None
    template: str | None
    tokenizer: Any

    @property
    def _revised(self) -> dict:
        return {"revision": self.revision} if self.revision else {}

    def _load_tokenizer(self):
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(self.model, padding_side="left", **self._revised)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def token_ids(self, messages: list[dict]) -> list[int]:
        """Return the prompt's tokens, with one beginning-of-sequence token where the model has one."""
        text = self._text(messages)
        bos = self.tokenizer.bos_token
        return self.tokenizer(text, add_special_tokens=not (bos and text.startswith(bos))).input_ids

    def _text(self, messages):
        return self.tokenizer.apply_chat_template(
            messages, chat_template=self.template, tokenize=False, add_generation_prompt=True
        )

    def request(self, messages: list[dict], sampling: Sampling) -> dict:
        """Return everything that decides the answer, or raise where the template refuses the messages."""
        from jinja2 import TemplateError

        try:
            self._text(messages)
        except TemplateError as error:
            raise ConversationError(str(error)) from None
        return super().request(messages, sampling)

    def no_answer(self, answer: dict) -> tuple[str, str]:
        """Return the kind and the description of a non-answer, a prompt beyond the context among them."""
        return ("error", answer["error"]) if "error" in answer else super().no_answer(answer)

    def answers(self, requests: Sequence[dict]) -> list[dict]:
        """Answer a batch; a prompt that leaves the model no room is not answered, and costs no other."""
        sampling, context = Sampling(**requests[0]["sampling"]), self._context()
        prompts = [self.token_ids(request["messages"]) for request in requests]
        fit = [i for i, ids in enumerate(prompts) if context is None or len(ids) < context]
        said = dict(zip(fit, self._answers([prompts[i] for i in fit], sampling, context), strict=True))
        return [said[i] if i in said else self._beyond(ids, context) for i, ids in enumerate(prompts)]

    @abstractmethod
    def _context(self) -> int | None:
        """Return how many tokens prompt and answer may have together, None where that is not known."""

    @abstractmethod
    def _answers(self, prompts: list[list[int]], sampling: Sampling, context: int | None) -> list[dict]:
        """Answer prompts that leave room for an answer."""

    def _beyond(self, ids, context):
        said = f"a prompt of {len(ids):,} tokens, where the model's context has {context:,}"
        return self._answer(ids, [], "error", 0.0) | {"error": said}

    def _answer(self, prompt_ids, ids, finish_reason, seconds):
        return {
            "text": self.tokenizer.decode(ids, skip_special_tokens=True),
            "token_ids": ids,
            "finish_reason": finish_reason,
            "prompt_tokens": len(prompt_ids),
            "seconds": round(seconds, 4),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }


class TransformersBackend(LocalBackend):
    """A model in this process through transformers.

    Parameters
    ----------
    model : str or path
        Folder or name of the model.
    template : str, optional
        Chat template; by default Vicuna's. None takes the tokenizer's own.
    dtype : str
        As transformers takes it, such as "auto" or "float32".
    device_map : str or dict, optional
        As transformers takes it; needs accelerate. By default everything is on `device`.
    device : str, optional
        Where the model is put, such as "cuda:0"; by default on the processor. Written down with the
        settings.
    revision : str, optional
        Branch, tag or commit of a model of the hub. Which commit it was is written down with the settings.
    batch_size : int
        Prompts answered together. Sampled answers depend on the batch; greedy ones do but for
        rounding.
    name : str, optional
        Goes into the outputs as ``generator``; by default the last part of `model`.

    Notes
    -----
    Transformers' own ``model.generate(**inputs, do_sample=True, temperature=0.7, max_new_tokens=4096)``
    samples from the 50 likeliest tokens unless told otherwise; without ``do_sample=True``, where the model's
    own configuration does not say so, it takes the likeliest, as ``temperature=0`` does. The same tokens, by
    the same seed, come from ``generate(prompts, backend, temperature=0.7, top_k=50, max_tokens=4096)`` with
    ``batch_size=1``.
    """

    def __init__(
        self,
        model,
        *,
        template: str | None = VICUNA_TEMPLATE,
        dtype: str = "auto",
        device_map=None,
        device: str | None = None,
        revision: str | None = None,
        batch_size: int = 8,
        name: str | None = None,
    ):
        for module in ("torch", "transformers"):
            need(module, "alpaca-analysis[generate]", "TransformersBackend")
        from transformers import AutoModelForCausalLM

        if device is not None and device_map is not None:
            raise ValueError(
                f"device: found {device!r} beside device_map={device_map!r}, expected one of both"
            )
        self.model, self.template, self.dtype, self.revision = str(model), template, dtype, revision
        self.batch_size, self.name = options.whole("batch_size", batch_size), name or Path(self.model).name
        self._load_tokenizer()
        how = {"dtype": dtype, "device_map": device_map, **self._revised}
        self.network = cast(Any, AutoModelForCausalLM.from_pretrained(self.model, **how))
        if device is not None:
            self.network.to(device)
        self.network.eval()

    @property
    def settings(self) -> dict:
        """Return model, template, precision and versions."""
        import torch
        import transformers

        return {
            "backend": "transformers",
            "model": self.model,
            "template": self.template,
            **self._revised,
            "dtype": self.dtype,
            "batch_size": self.batch_size,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        }

    @property
    def circumstances(self) -> dict:
        """Return the device, and the commit of a model of the hub."""
        commit = getattr(self.network.config, "_commit_hash", None)
        return {"device": str(self.network.device), **({"commit": commit} if commit else {})}

    def _config(self):
        config = self.network.config
        return config.get_text_config() if hasattr(config, "get_text_config") else config

    def _context(self):
        return getattr(self._config(), "max_position_embeddings", None)

    def _answers(self, prompts, sampling, context):
        most = sampling.max_tokens
        rooms = [most if context is None else min(most, context - len(ids)) for ids in prompts]
        # Rotary positions may run on beyond the context, and what does is cut; others end in an error there.
        together = any(name.startswith("rope") for name in vars(self._config()))
        groups = [list(range(len(prompts)))] if together else _equal(rooms)
        said: dict[int, dict] = {}
        for places in filter(None, groups):
            of_group = self._together([prompts[i] for i in places], [rooms[i] for i in places], sampling)
            said |= dict(zip(places, of_group, strict=True))
        return [said[i] for i in range(len(prompts))]

    def _together(self, prompts, rooms, sampling):
        """Answer a batch, padded on the left."""
        import torch

        inputs = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(self.network.device)
        torch.manual_seed(sampling.seed)
        start = time.monotonic()
        with torch.inference_mode():
            out = self.network.generate(**inputs, **self._options(replace(sampling, max_tokens=max(rooms))))
        seconds = (time.monotonic() - start) / len(prompts)
        new = [
            ids[:room]
            for ids, room in zip(out[:, inputs["input_ids"].shape[1] :].tolist(), rooms, strict=True)
        ]
        return [
            _cut(self._answer(prompt, ids[: self._length(ids)], self._reason(ids), seconds), sampling.stop)
            for prompt, ids in zip(prompts, new, strict=True)
        ]

    def _options(self, sampling):
        from transformers import GenerationConfig

        how: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            how = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k or 0,
            }
        config = GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            eos_token_id=self._ends(),
            pad_token_id=self.tokenizer.pad_token_id,
            **how,
        )
        stop = {"stop_strings": list(sampling.stop), "tokenizer": self.tokenizer} if sampling.stop else {}
        return {"generation_config": config, **stop}

    def _ends(self):
        ends = self.network.generation_config.eos_token_id
        if ends is None:
            ends = self.tokenizer.eos_token_id
        return list(ends) if isinstance(ends, (list, tuple)) else [ends]

    def _length(self, ids):
        """Return how many tokens there are up to the first that ends the answer, that one included."""
        ends = self._ends()
        return next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))

    def _reason(self, ids):
        return "length" if self._length(ids) == len(ids) and ids[-1] not in self._ends() else "stop"


def _equal(rooms):
    """Return the places of equal values together."""
    return [[i for i, room in enumerate(rooms) if room == one] for one in sorted(set(rooms))]


def _cut(answer, stop):
    """Leave the text that ended an answer out of it, as vLLM and servers do."""
    places = [answer["text"].index(text) for text in stop if text in answer["text"]]
    return answer | {"text": answer["text"][: min(places)], "finish_reason": "stop"} if places else answer


class VLLMBackend(LocalBackend):
    """A model in this process through vLLM.

    Parameters
    ----------
    model : str or path
        Folder or name of the model.
    template : str, optional
        Chat template; by default Vicuna's. None takes the tokenizer's own.
    engine : dict, optional
        Arguments of ``vllm.LLM``, such as ``{"dtype": "float32", "max_model_len": 4096}``. Devices are vLLM's
        own choice, by the environment (``CUDA_VISIBLE_DEVICES``).
    revision : str, optional
        Branch, tag or commit of a model of the hub.
    batch_size : int
        Prompts handed over, and kept on disk, together.
    name : str, optional
        Goes into the outputs as ``generator``; by default the last part of `model`.
    """

    def __init__(
        self,
        model,
        *,
        template: str | None = VICUNA_TEMPLATE,
        engine: dict | None = None,
        revision: str | None = None,
        batch_size: int = 256,
        name: str | None = None,
    ):
        need("vllm", "vllm", "VLLMBackend")
        from vllm import LLM

        self.model, self.template, self.engine = str(model), template, dict(engine or {})
        self.revision = revision
        self.batch_size, self.name = options.whole("batch_size", batch_size), name or Path(self.model).name
        self._load_tokenizer()
        tokenizer = {"tokenizer_revision": revision} if revision else {}
        self.llm = LLM(model=self.model, **self._revised, **tokenizer, **self.engine)

    @property
    def settings(self) -> dict:
        """Return model, template, engine and version."""
        import vllm

        return {
            "backend": "vllm",
            "model": self.model,
            "template": self.template,
            **self._revised,
            "engine": self.engine,
            "versions": {"vllm": vllm.__version__},
        }

    @property
    def circumstances(self) -> dict:
        """Return the kind of device, and the commit of a model of the hub."""
        from vllm.platforms import current_platform

        commit = getattr(self.llm.llm_engine.model_config.hf_config, "_commit_hash", None)
        return {"device": str(current_platform.device_type), **({"commit": commit} if commit else {})}

    def _context(self):
        return self.llm.llm_engine.model_config.max_model_len

    def _answers(self, prompts, sampling, context):
        """Answer prompts; each samples by its own seed."""
        from vllm import SamplingParams

        if not prompts:
            return []
        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            stop=list(sampling.stop) or None,
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
        )
        start = time.monotonic()
        found = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        seconds = (time.monotonic() - start) / len(prompts)
        return [
            self._answer(prompt, list(f.outputs[0].token_ids), f.outputs[0].finish_reason, seconds)
            for prompt, f in zip(prompts, found, strict=True)
        ]
