"""`kaito chat`: talk to a Workspace's model from a terminal."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

import aiohttp

from apis.kaito.v1beta1.labels import API_KEY_SECRET_ANNOTATION
from apis.kaito.v1beta1.workspace import Workspace
from kaito import cluster, conversation, endpoint, exits, proxy
from kaito.conversation import BrokenStreamError, Sampling, Turn
from kube import config
from kube.client import Client
from kube.config import ConfigError
from kube.errors import ForbiddenError, KubeError
from kube.objects import SECRETS

_USUAL = Sampling()
_HELP = """/help    these lines
/clear   forget the conversation
/status  model and settings
/quit    end (or Ctrl-D)"""


class KeyMissingError(LookupError):
    """The model asks for a key that cannot be had; the message says how to give it."""


@dataclass(slots=True)
class Chat:
    """A conversation with one model."""

    service: proxy.Service
    model: str
    sampling: Sampling
    system: str = ""
    turns: list[Turn] = field(default_factory=list)

    async def say(self, text: str, out: TextIO) -> None:
        """Print the answer as it comes. What fails leaves the conversation as it was."""
        asked = [*self.turns, Turn("user", text)]
        opening = [Turn("system", self.system)] if self.system else []
        body = conversation.body(self.model, [*opening, *asked], self.sampling)
        said: list[str] = []
        async for line in self.service.lines("/v1/chat/completions", body):
            if text_ := conversation.piece(line):
                said.append(text_)
                print(text_, end="", file=out, flush=True)
        print(file=out)
        self.turns = [*asked, Turn("assistant", "".join(said))]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`chat` with its flags; `run` is its `run` default."""
    parser = subparsers.add_parser(
        "chat",
        help="talk to a Workspace's model",
        description="Talk to a Workspace's model through the API server, wherever kubectl works: no"
        " port-forward. With --message one answer is printed; without, lines of standard input are"
        " put to it until /quit. Exit status 0, 1 where it does not serve or refuses, 2 where it"
        " cannot be asked.",
    )
    endpoint.add_workspace(parser)
    parser.add_argument("-m", "--message", default="", help="ask this, print the answer, end")
    parser.add_argument("--system", default="", metavar="TEXT", help="the system message")
    parser.add_argument("--model", default="", metavar="NAME", help="an adapter in its place")
    parser.add_argument("--temperature", type=float, default=_USUAL.temperature)
    parser.add_argument("--max-tokens", type=int, default=_USUAL.max_tokens)
    parser.add_argument("--top-p", type=float, default=_USUAL.top_p)
    parser.add_argument(
        "--api-key-env",
        default="KAITO_API_KEY",
        metavar="NAME",
        help="variable with the endpoint's key; else it is read from the Workspace's Secret",
    )
    cluster.add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Talk until the end of the input."""
    try:
        return asyncio.run(_talk(args))
    except KeyboardInterrupt:
        print()
        return exits.DONE
    except endpoint.NotServingError as error:
        return exits.failed(error, exits.NO)
    except (ConfigError, KubeError, OSError, LookupError, aiohttp.ClientError) as error:
        return exits.failed(error)


async def _talk(args: argparse.Namespace) -> int:
    async with cluster.client(args) as client:
        workspace = await endpoint.workspace_of(args, client)
        if workspace.inference is None:
            raise endpoint.NotServingError(f"{workspace.metadata.name} is a tuning, not a server")
        key = os.environ.get(args.api_key_env, "") or await _key(client, workspace, args)
    meta = workspace.metadata
    where = config.kubeconfig(cluster.kubeconfig(args), args.context)
    path = endpoint.proxy_path(meta.namespace, meta.name)
    async with proxy.service(where, path, key) as service:
        try:
            models = conversation.served(await service.json("/v1/models"))
        except KubeError as error:
            raise endpoint.NotServingError(
                f"{meta.name} does not answer: {error}; see: kaito explain {meta.name}"
            ) from error
        model = args.model or (models[0] if models else meta.name)
        sampling = Sampling(args.temperature, args.max_tokens, args.top_p)
        chat = Chat(service, model, sampling, args.system)
        if args.message:
            return await _put(chat, args.message)
        return await _converse(chat, meta.name)


async def _converse(chat: Chat, name: str) -> int:
    """Lines of standard input; the status of the last one where nobody watches."""
    shown = sys.stdin.isatty()
    if shown:
        import readline  # noqa: F401  # gives input() its line editing

        print(f"Connected to workspace: {name} (model: {chat.model})")
        print("Type /help for commands or /quit to exit.")
    status = exits.DONE
    while True:
        try:
            line = (await asyncio.to_thread(input, "\n> " if shown else "")).strip()
        except EOFError:
            return status
        if (told := command(line, chat)) is None:
            return exits.DONE if shown else status
        for each in told:
            print(each)
        if line and not told:
            status = await _put(chat, line)


def command(line: str, chat: Chat) -> list[str] | None:
    """What is printed for a command, [] for what is none; None ends the conversation."""
    words = line.casefold().removeprefix("/")
    if words in ("quit", "exit"):
        return None
    if words == "help":
        return _HELP.splitlines()
    if words == "clear":
        chat.turns = []
        return ["the conversation is forgotten"]
    if words == "status":
        return list(_status(chat))
    return []


def _status(chat: Chat) -> Iterator[str]:
    yield f"model {chat.model}, {len(chat.turns)} messages so far"
    of = chat.sampling
    yield f"temperature {of.temperature:g}, top_p {of.top_p:g}, at most {of.max_tokens} tokens"


async def _put(chat: Chat, text: str) -> int:
    """A refusal is told, and the conversation goes on."""
    try:
        await chat.say(text, sys.stdout)
    except (KubeError, BrokenStreamError) as error:
        return exits.failed(refusal(str(error)), exits.NO)
    except (OSError, TimeoutError, aiohttp.ClientError) as error:
        return exits.failed(f"the answer broke off: {error or type(error).__name__}", exits.NO)
    return exits.DONE


def refusal(text: str) -> str:
    """The engine's own sentence, where its JSON stands in what the API server passed on."""
    start = text.find("{")
    if start < 0:
        return text
    try:
        return conversation.reason(json.loads(text[start:]))
    except ValueError:
        return text


async def _key(client: Client, workspace: Workspace, args: argparse.Namespace) -> str:
    """From the Secret that the Workspace names; "" where it asks for no key."""
    name = workspace.metadata.annotations.get(API_KEY_SECRET_ANNOTATION, "")
    if not name:
        return ""
    hint = f"put the key into ${args.api_key_env}"
    try:
        secret = await client.get(SECRETS, name, workspace.metadata.namespace)
    except ForbiddenError as error:
        raise KeyMissingError(f"the Secret {name} is not yours to read: {hint}") from error
    keys = _first(secret.data.values()) if secret is not None else ""
    if not keys:
        raise KeyMissingError(f"the Secret {name} is absent or empty: {hint}")
    return keys


def _first(values: Iterable[str]) -> str:
    found = [base64.b64decode(each).decode().strip() for each in values]
    return next((each for each in found if each), "")
