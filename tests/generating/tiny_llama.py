"""A random Llama of a few hundred thousand parameters and a tokenizer for it, built on the spot.

    python tests/generating/tiny_llama.py FOLDER

The tokenizer is of Llama 2's kind: byte fallback, spaces as U+2581, a dummy space in front, and ``<s>``
put before every text. It is trained on the help texts of Python's standard library.
"""

from __future__ import annotations

import json
import sys

from alpaca_analysis.generating import VICUNA_SYSTEM, VICUNA_TEMPLATE

SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def texts():
    from pydoc_data.topics import topics

    return [VICUNA_SYSTEM, "USER: Hi ASSISTANT: Hello.", *sorted(topics.values())]


def make_tokenizer():
    """Train a tokenizer and wrap it for transformers, Vicuna's template included."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    # Words are kept apart for training only: Llama's own tokenizer has no such step.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=SPECIAL + BYTES,
        initial_alphabet=[*map(chr, range(33, 127)), "▁"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    state = json.loads(tokenizer.to_str())
    state["pre_tokenizer"] = None
    # Byte tokens are plain vocabulary: as special ones they would vanish from decoded text.
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in SPECIAL]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=AddedToken("<s>"),
        eos_token=AddedToken("</s>"),
        unk_token=AddedToken("<unk>"),
        pad_token=AddedToken("<unk>"),
        padding_side="left",
        model_max_length=1024,
        chat_template=VICUNA_TEMPLATE,
    )


def build(folder) -> None:
    """Write model and tokenizer to `folder`; the weights are the same every time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.2,  # wide, so that the likeliest token is so by far
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    # Single bytes are never the likeliest: where they make no character, every decoder has its own way.
    with torch.no_grad():
        model.lm_head.weight[tokenizer.convert_tokens_to_ids(BYTES)] = 0
    model.generation_config.do_sample = False
    model.save_pretrained(folder)


if __name__ == "__main__":
    build(sys.argv[1])
