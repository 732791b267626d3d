"""Models in this process: transformers and vLLM, loaded when a backend is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alpaca_analysis.generating.backends import Backend, Sampling
from alpaca_analysis.generating.conversation import VICUNA_TEMPLATE


class LocalBackend(Backend):
    """A model in this process: what transformers and vLLM share, the way from messages to token ids."""

    model: str
    template: str | None
    tokenizer: Any

    def _load_tokenizer(self):
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(self.model, padding_side="left")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def token_ids(self, messages: list[dict]) -> list[int]:
        """Return the prompt's tokens, with one beginning-of-sequence token where the model has one."""
        text = self.tokenizer.apply_chat_template(
            messages, chat_template=self.template, tokenize=False, add_generation_prompt=True
        )
        bos = self.tokenizer.bos_token
        return self.tokenizer(text, add_special_tokens=not (bos and text.startswith(bos))).input_ids

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
        As transformers takes it; needs accelerate. By default everything is on the processor.
    batch_size : int
        Prompts answered together. Sampled answers depend on the batch; greedy ones do but for
        rounding.
    name : str, optional
        Goes into the outputs as ``generator``; by default the last part of `model`.
    """

    def __init__(
        self,
        model,
        *,
        template: str | None = VICUNA_TEMPLATE,
        dtype: str = "auto",
        device_map=None,
        batch_size: int = 8,
        name: str | None = None,
    ):
        from transformers import AutoModelForCausalLM

        self.model, self.template, self.dtype = str(model), template, dtype
        self.batch_size, self.name = batch_size, name or Path(self.model).name
        self._load_tokenizer()
        self.network = AutoModelForCausalLM.from_pretrained(self.model, dtype=dtype, device_map=device_map)
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
            "dtype": self.dtype,
            "batch_size": self.batch_size,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        }

    def answers(self, requests: Sequence[dict]) -> list[dict]:
        """Answer a batch, padded on the left."""
        import torch

        sampling = Sampling(**requests[0]["sampling"])
        prompts = [self.token_ids(request["messages"]) for request in requests]
        inputs = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(self.network.device)
        torch.manual_seed(sampling.seed)
        start = time.monotonic()
        with torch.inference_mode():
            out = self.network.generate(**inputs, **self._options(sampling))
        seconds = (time.monotonic() - start) / len(requests)
        new = out[:, inputs["input_ids"].shape[1] :].tolist()
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
                "top_k": 0,
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
        Arguments of ``vllm.LLM``, such as ``{"dtype": "float32", "max_model_len": 4096}``.
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
        batch_size: int = 256,
        name: str | None = None,
    ):
        from vllm import LLM

        self.model, self.template, self.engine = str(model), template, dict(engine or {})
        self.batch_size, self.name = batch_size, name or Path(self.model).name
        self._load_tokenizer()
        self.llm = LLM(model=self.model, **self.engine)

    @property
    def settings(self) -> dict:
        """Return model, template, engine and version."""
        import vllm

        return {
            "backend": "vllm",
            "model": self.model,
            "template": self.template,
            "engine": self.engine,
            "versions": {"vllm": vllm.__version__},
        }

    def answers(self, requests: Sequence[dict]) -> list[dict]:
        """Answer a batch; each request samples by its own seed."""
        from vllm import SamplingParams

        sampling = Sampling(**requests[0]["sampling"])
        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            stop=list(sampling.stop) or None,
        )
        prompts = [self.token_ids(request["messages"]) for request in requests]
        start = time.monotonic()
        found = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        seconds = (time.monotonic() - start) / len(requests)
        return [
            self._answer(prompt, list(f.outputs[0].token_ids), f.outputs[0].finish_reason, seconds)
            for prompt, f in zip(prompts, found, strict=True)
        ]
