"""Which server this machine can run a model with, and the command line that makes it answer as OpenAI's API says.

Sampling is OpenAI's unless a request says otherwise (temperature 1, nothing cut off, nothing penalised): llama.cpp's
own defaults (temperature 0.8, top-k 40, top-p 0.95, min-p 0.05) and a model's generation_config.json are overridden.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from glide_nemo.errors import GlideError
from glide_nemo.export.hf_config import read_config
from glide_nemo.serving.find import Found, find, find_packed

BESIDE = Path(sys.prefix) / "serve/bin/python"  # the environment of `make serve-env`
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Settings:
    """How a server listens and what it holds: `parallel` requests at once, of `context` tokens each."""

    host: str
    port: int
    name: str
    context: int
    parallel: int
    threads: int = 0  # 0 is one for each core
    api_key: str | None = field(default=None, repr=False)
    template: Path | None = None  # a chat template to use in place of the model's
    page: Path | None = None  # a directory of static files; only llama.cpp's server serves one


@dataclass(frozen=True)
class Command:
    """A server's command line, and what its environment has beside ours."""

    words: list[str]
    environment: dict[str, str]


def choose(model: Path, runtime: str) -> Found:
    """Which file of a model to serve, and which runtime is to serve it.

    `auto`: with a GPU vLLM, or TensorRT-LLM where that is what is installed; without one llama.cpp, which reads
    quantized weights, or vLLM for CPUs where the model was not exported to GGUF.
    Raises GlideError where the runtime or the model's export for it is not here.
    """
    if runtime == "auto":
        return _first_that_runs(model)
    form = "llama_cpp" if runtime == "llama_cpp" else "transformers"
    found = find_packed(model, runtime) or find(model, form)
    missing = _missing(runtime)
    if missing:
        raise GlideError(missing)
    return Found(found.path, runtime, found.chat)


def _first_that_runs(model: Path) -> Found:
    order = ("vllm", "tensorrt_llm", "llama_cpp") if has_gpu() else ("llama_cpp", "vllm")
    if not model.exists():
        find(model)  # which says so once, and not for each runtime
    reasons = []
    for runtime in order:
        try:
            return choose(model, runtime)
        except GlideError as error:
            reasons.append(f"for {runtime} {error}")
    raise GlideError(f"nothing here serves {model}: {'; '.join(reasons)}")


def _missing(runtime: str) -> str | None:
    """Why a runtime cannot serve here, or None."""
    if runtime == "llama_cpp" and llama_server() is None:
        return "no llama-server, neither in this environment nor on PATH: run `make serve-env`, which builds it"
    if runtime == "vllm" and vllm_python() is None:
        return "no vLLM, neither installed for a GPU nor for CPUs: run `make serve-env`"
    if runtime == "tensorrt_llm" and not (has_gpu() and shutil.which("trtllm-serve")):
        return "no TensorRT-LLM, it needs an NVIDIA GPU and trtllm-serve on PATH: use NVIDIA's container, or --runtime"
    return None


def command(found: Found, settings: Settings) -> Command:
    """The command line of a model's server."""
    return {"llama_cpp": _llama_cpp, "vllm": _vllm, "tensorrt_llm": _tensorrt_llm}[found.runtime](found.path, settings)


def _llama_cpp(path: Path, settings: Settings) -> Command:
    threads = str(settings.threads or len(os.sched_getaffinity(0)))
    words = [
        llama_server() or "llama-server", "--model", str(path), "--alias", settings.name,
        "--host", settings.host, "--port", str(settings.port), "--metrics", "--no-slots", "--offline",
        "--ctx-size", str(settings.context * settings.parallel), "--parallel", str(settings.parallel), "--fit", "off",
        "--threads", threads, "--threads-batch", threads,
        "--cache-ram", "0",  # else up to 8 GiB of earlier prompts
        "--temp", "1.0", "--top-k", "0", "--top-p", "1.0", "--min-p", "0.0",
        "--repeat-penalty", "1.0", "--presence-penalty", "0.0", "--frequency-penalty", "0.0",
        "--jinja", "--reasoning-format", "none",
    ]  # fmt: skip
    words += ["--chat-template-file", str(settings.template)] if settings.template else []
    words += ["--path", str(settings.page)] if settings.page else ["--no-ui"]
    return Command(words, _with_key("LLAMA_API_KEY", settings))


def _vllm(path: Path, settings: Settings) -> Command:
    words = [
        str(vllm_python()), "-m", "vllm.entrypoints.openai.api_server", "--model", str(path.resolve()),
        "--served-model-name", settings.name, "--host", settings.host, "--port", str(settings.port),
        "--max-model-len", str(settings.context), "--max-num-seqs", str(settings.parallel),
        "--generation-config", "vllm",
    ]  # fmt: skip
    words += ["--chat-template", str(settings.template)] if settings.template else []
    environment = OFFLINE | _with_key("VLLM_API_KEY", settings)
    if settings.threads:
        environment |= {"OMP_NUM_THREADS": str(settings.threads)}
    if not has_gpu():
        # Its kernel for four bits has no float32, and in bfloat16 dies where a virtual machine announces AMX in vain.
        dtype = "float16" if "quantization_config" in read_config(path) else "float32"
        words += ["--dtype", dtype, "--enforce-eager"]
        environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}  # GiB
    return Command(words, environment)


def _tensorrt_llm(path: Path, settings: Settings) -> Command:
    if settings.api_key:
        raise GlideError("trtllm-serve checks no API key: serve it on the loopback interface, or --runtime vllm")
    words = [
        shutil.which("trtllm-serve") or "trtllm-serve", "serve", str(path.resolve()), "--backend", "pytorch",
        "--host", settings.host, "--port", str(settings.port),
        "--max_seq_len", str(settings.context), "--max_batch_size", str(settings.parallel),
    ]  # fmt: skip
    words += ["--chat_template", str(settings.template)] if settings.template else []
    return Command(words, dict(OFFLINE))


def _with_key(variable: str, settings: Settings) -> dict[str, str]:
    """The key goes through the environment: everyone on a machine may read command lines."""
    return {variable: settings.api_key} if settings.api_key else {}


def llama_server(environment: Mapping[str, str] = os.environ) -> str | None:
    """The llama-server of this environment, else one on PATH."""
    return shutil.which("llama-server", path=f"{Path(sys.prefix) / 'bin'}{os.pathsep}{environment.get('PATH', '')}")


def vllm_python() -> Path | None:
    """A Python that has vLLM for this machine: what GLIDE_VLLM_PYTHON names, else this one or `make serve-env`'s."""
    if given := os.environ.get("GLIDE_VLLM_PYTHON"):
        return Path(given)
    if has_gpu():  # the other environment's vLLM is built for CPUs
        return Path(sys.executable) if importlib.util.find_spec("vllm") else None
    return BESIDE if BESIDE.exists() else None


def has_gpu() -> bool:
    """Whether NVIDIA's driver knows a GPU."""
    from glide_nemo.planning.machine import this_machine

    return bool(this_machine().gpus)
