"""What requests may say, in OpenAI's words and the ones vLLM added to them.

A field that is not here is an error: to pass over what somebody asks for would be worse.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Body(BaseModel):
    """Of any request."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def _listed(given: object) -> object:
    """One or several."""
    return [] if given is None else given if isinstance(given, list) else [given]


Bias = Annotated[float, Field(ge=-100, le=100)]
Words = Annotated[list[str], BeforeValidator(_listed), Field(max_length=16)]


class StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: bool = False


class Sampled(Body):
    """How the answer is made; None leaves it to the model's makers."""

    model: str = ""
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-(1 << 63), lt=1 << 63)
    stream: bool = False
    user: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class Completed(Sampled):
    """What both older routes take."""

    n: int = Field(default=1, ge=1, le=128)
    stop: Words = []
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, ge=0.01, le=100)
    logit_bias: dict[int, Bias] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    stream_options: StreamOptions | None = None
    response_format: dict[str, Any] | None = None


class Message(Body):
    """One turn of a conversation, as clients also send back what they were answered."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Any = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    refusal: None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None


class Function(Body):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


class Chat(Completed):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: list[Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    store: bool | None = None


class Completion(Completed):
    """POST /v1/completions."""

    prompt: str | list[int] | list[str] | list[list[int]]
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: Literal[False] = False
    best_of: None = None
    suffix: None = None


class FunctionTool(Function):
    """As /v1/responses has it."""

    type: Literal["function"]


class Response(Sampled):
    """POST /v1/responses."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    tools: list[FunctionTool] = []
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    store: bool | None = None
    background: Literal[False] | None = None
    previous_response_id: None = None
    truncation: Literal["disabled"] | None = None
    include: list[str] | None = None
    reasoning: dict[str, Any] | None = None


class Tokenize(Body):
    """POST /tokenize, as vLLM's."""

    model: str = ""
    prompt: str | None = None
    messages: list[Message] | None = None
    add_special_tokens: bool = True


class Detokenize(Body):
    """POST /detokenize, as vLLM's."""

    model: str = ""
    tokens: list[int]
