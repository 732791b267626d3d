"""From prompts to outputs, and how to ask many questions of a language model without asking one twice.

Examples
--------
>>> from alpaca_analysis.generating import generate, vicuna_prompt
>>> vicuna_prompt("Say hello.")[-28:].strip()
'USER: Say hello. ASSISTANT:'
"""

from alpaca_analysis.asking.server import Server, ServerError, ServerRefused
from alpaca_analysis.asking.store import AnswerStore
from alpaca_analysis.generating.backends import Backend, FunctionBackend, Sampling, ServerBackend
from alpaca_analysis.generating.conversation import (
    VICUNA_SYSTEM,
    VICUNA_TEMPLATE,
    ConversationError,
    vicuna_prompt,
)
from alpaca_analysis.generating.local import TransformersBackend, VLLMBackend
from alpaca_analysis.generating.run import Generated, GenerateWarning, generate

__all__ = [
    "VICUNA_SYSTEM",
    "VICUNA_TEMPLATE",
    "AnswerStore",
    "Backend",
    "ConversationError",
    "FunctionBackend",
    "GenerateWarning",
    "Generated",
    "Sampling",
    "Server",
    "ServerBackend",
    "ServerError",
    "ServerRefused",
    "TransformersBackend",
    "VLLMBackend",
    "generate",
    "vicuna_prompt",
]
