"""What is ruled of single keys of training_config.yaml, as tables for `apis.trainingoptions`.

Standard library only: the tuning image carries a copy of this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose a key is, what the user does instead, and the values that change nothing (as do none
    at all, and empty ones)."""

    owner: str
    remedy: str
    harmless: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers that make sense; without `most` all from `least` on. Open ends are left out."""

    least: float
    most: float | None = None
    open_least: bool = False
    open_most: bool = False

    def holds(self, number: float) -> bool:
        above = number > self.least if self.open_least else number >= self.least
        if self.most is None:
            return above
        return above and (number < self.most if self.open_most else number <= self.most)

    def __str__(self) -> str:
        above = f"above {self.least:.10g}" if self.open_least else f"at least {self.least:.10g}"
        if self.most is None:
            return above
        return f"{above} and {'below' if self.open_most else 'at most'} {self.most:.10g}"


def _owned(
    names: str, owner: str, remedy: str = "leave it out", *, harmless: tuple[object, ...] = ()
) -> dict[str, Owned]:
    return {name: Owned(owner, remedy, harmless) for name in names.split()}


_PRESET = "tuning.preset, which says what weights are tuned"
_MOUNTED = "the image, which loads the weights from the pod's disk"
_OUTPUT = "tuning.output, which says where the result goes"
_PUSH = "name an image in tuning.output.image"
_REPORTS = "the image, which tells of loss and progress in metrics, log lines and the status"
_PROCESSES = "the image, which trains one process a GPU, each with the whole model (DDP)"
_RESUME = "the image, which goes on from the last checkpoint by itself"
_ADAPTER = "the image, which trains a LoRA adapter of a causal model"
_CODE = "a program of one's own: the library wants code for it"
_MODEL_SECTION = "section ModelConfig"
_READER = "the image, which reads and tokenizes the data"

OWNED: Final[Mapping[str, Mapping[str, Owned]]] = {
    "ModelConfig": {
        **_owned(
            "pretrained_model_name_or_path",
            _PRESET,
            "name another there",
            harmless=("/workspace/weights", "/workspace/tfs/weights"),
        ),
        **_owned("revision", _PRESET, harmless=("main",)),
        **_owned("state_dict proxies cache_dir", _MOUNTED),
        **_owned("force_download output_loading_info", _MOUNTED, harmless=(False,)),
        **_owned("local_files_only", _MOUNTED, harmless=(True, False)),
    },
    "QuantizationConfig": _owned(
        "quant_method", "the image, which has bitsandbytes alone", harmless=("bitsandbytes",)
    ),
    "LoraConfig": {
        **_owned("task_type", _ADAPTER, harmless=("CAUSAL_LM",)),
        **_owned("peft_type", _ADAPTER, harmless=("LORA",)),
        **_owned("inference_mode", _ADAPTER, harmless=(False,)),
        **_owned("auto_mapping peft_version megatron_config", _ADAPTER),
        **_owned("megatron_core", _ADAPTER, harmless=("megatron.core",)),
        **_owned("base_model_name_or_path revision", _PRESET),
        **_owned("layer_replication", _PRESET),
        **_owned(
            "loftq_config eva_config corda_config lora_ga_config velora_config monteclora_config"
            " runtime_config use_bdlora arrow_config kasa_config",
            _CODE,
        ),
    },
    "TrainingArguments": {
        **_owned("push_to_hub hub_always_push", _OUTPUT, _PUSH, harmless=(False,)),
        **_owned(
            "hub_token hub_model_id hub_private_repo hub_revision push_to_hub_model_id"
            " push_to_hub_organization push_to_hub_token",
            _OUTPUT,
            _PUSH,
        ),
        **_owned("hub_strategy", _OUTPUT, _PUSH, harmless=("every_save",)),
        **_owned("report_to", _REPORTS, harmless=("none", ["none"])),
        **_owned("trackio_space_id trackio_bucket_id trackio_static_space_id", _REPORTS),
        **_owned("resume_from_checkpoint", _RESUME, harmless=(False,)),
        **_owned("ignore_data_skip save_only_model", _RESUME, harmless=(False,)),
        **_owned("enable_jit_checkpoint", _RESUME, harmless=(False,)),
        **_owned("do_train", _PROCESSES, harmless=(True, False)),
        **_owned(
            "do_eval",
            "DatasetConfig.train_test_split, which says what is kept to evaluate with",
            harmless=(True, False),
        ),
        **_owned("do_predict save_on_each_node", _PROCESSES, harmless=(False,)),
        **_owned("local_rank", _PROCESSES, harmless=(-1, 0)),
        **_owned("fsdp fsdp_config deepspeed parallelism_config", _PROCESSES),
        **_owned("model_init_kwargs chat_template_path", _MODEL_SECTION, "set what you need there"),
        **_owned(
            "trust_remote_code", _MODEL_SECTION, "set trust_remote_code there", harmless=(False,)
        ),
        **_owned("dataset_kwargs", _READER),
        **_owned("remove_unused_columns", _READER, harmless=(True,)),
        **_owned("label_names include_for_metrics", _READER),
        **_owned("batch_eval_metrics", _READER, harmless=(False,)),
        **_owned(
            "shuffle_dataset",
            "section DatasetConfig",
            "set shuffle_dataset there",
            harmless=(False,),
        ),
        **_owned("use_liger_kernel", "the image, which has no Liger kernels", harmless=(False,)),
        **_owned("liger_kernel_config", "the image, which has no Liger kernels"),
        **_owned("adafactor", "optim", "set optim: adafactor", harmless=(False,)),
        **_owned(
            "group_by_length",
            "train_sampling_strategy",
            "set train_sampling_strategy: group_by_length",
            harmless=(False,),
        ),
        **_owned("save_safetensors", _OUTPUT, harmless=(True,)),
    },
    "DataCollator": {
        **_owned("tokenizer", _PRESET),
        **_owned("return_tensors", "the image, which trains with PyTorch", harmless=("pt",)),
    },
}
"""Keys that are not the user's to set."""

RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "ModelConfig": {"torch_dtype": "dtype"},
    "TrainingArguments": {
        "evaluation_strategy": "eval_strategy",
        "gradient_checkpointing": "activation_checkpointing",
        "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
        "max_seq_length": "max_length",
        "no_cuda": "use_cpu",
        "per_gpu_eval_batch_size": "per_device_eval_batch_size",
        "per_gpu_train_batch_size": "per_device_train_batch_size",
        "use_liger": "use_liger_kernel",
        "warmup_ratio": "warmup_steps",
    },
}
"""Names of earlier releases, with today's of the same meaning: a warm-up below 1 is a share."""

GONE: Final[Mapping[str, str]] = {
    "TrainingArguments": (
        "bf16_backend chars_per_token dataset_batch_size dispatch_batches fp16_backend"
        " fp16_opt_level fsdp_min_num_params fsdp_transformer_layer_cls_to_wrap"
        " half_precision_backend include_inputs_for_metrics include_tokens_per_second"
        " jit_mode_eval logging_dir mp_parameters num_of_sequences overwrite_output_dir past_index"
        " ray_scope split_batches torchdynamo tpu_metrics_debug tpu_num_cores use_ipex"
        " use_mps_device"
    ),
    "DataCollator": (
        "mlm mlm_probability whole_word_mask mask_replace_prob random_replace_prob seed"
    ),
}
"""Taken without effect: gone from the libraries, or of the collator, for causal models."""

UNFIT: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "LoraConfig": {
        "init_lora_weights": (
            "eva olora pissa pissa_niter_[n] corda loftq mica",
            "it changes the base model's weights, or wants code, and the result would not fit the"
            " preset: use true, gaussian or orthogonal",
        ),
    },
    "TrainingArguments": {
        "optim": (
            "adamw_torch_xla adamw_torch_npu_fused adamw_anyprecision adamw_torch_4bit"
            " adamw_torch_8bit galore_adamw galore_adamw_8bit galore_adafactor"
            " galore_adamw_layerwise galore_adamw_8bit_layerwise galore_adafactor_layerwise lomo"
            " adalomo grokadamw schedule_free_radam schedule_free_adamw schedule_free_sgd"
            " apollo_adamw apollo_adamw_layerwise stable_adamw",
            "the image has no package for it: use adamw_torch, adafactor, adamw_bnb_8bit or"
            " paged_adamw_8bit",
        ),
    },
}
"""Choices of the libraries that the image does not offer, and why."""

_ONE_UP = Range(1)
_NOT_NEGATIVE = Range(0)
_POSITIVE = Range(0, open_least=True)
_BELOW_ONE = Range(0, 1, open_most=True)
_SEED = Range(0, 2**32 - 1)

RANGES: Final[Mapping[str, Mapping[str, Range]]] = {
    "QuantizationConfig": {"llm_int8_threshold": _NOT_NEGATIVE},
    "LoraConfig": {
        "r": _ONE_UP, "lora_alpha": _ONE_UP, "lora_dropout": _BELOW_ONE,
        "qalora_group_size": _ONE_UP,
    },
    "TrainingArguments": {
        "per_device_train_batch_size": _ONE_UP, "per_device_eval_batch_size": _ONE_UP,
        "num_train_epochs": _POSITIVE, "max_steps": Range(-1), "learning_rate": _POSITIVE,
        "warmup_steps": _NOT_NEGATIVE, "weight_decay": _NOT_NEGATIVE, "adam_beta1": _BELOW_ONE,
        "adam_beta2": _BELOW_ONE, "adam_epsilon": _POSITIVE,
        "gradient_accumulation_steps": _ONE_UP, "max_grad_norm": _NOT_NEGATIVE,
        "label_smoothing_factor": _BELOW_ONE, "neftune_noise_alpha": _NOT_NEGATIVE,
        "logging_steps": _POSITIVE, "eval_steps": _POSITIVE, "save_steps": _POSITIVE,
        "eval_delay": _NOT_NEGATIVE, "eval_accumulation_steps": _ONE_UP,
        "save_total_limit": _ONE_UP, "torch_empty_cache_steps": _ONE_UP, "seed": _SEED,
        "data_seed": _SEED, "dataloader_num_workers": _NOT_NEGATIVE,
        "dataloader_prefetch_factor": _ONE_UP, "ddp_timeout": _ONE_UP, "max_length": _ONE_UP,
        "dataset_num_proc": _ONE_UP, "pad_to_multiple_of": _ONE_UP,
    },
    "DatasetConfig": {"train_test_split": Range(0, 1, open_least=True), "shuffle_seed": _SEED},
    "DataCollator": {"pad_to_multiple_of": _ONE_UP},
}  # fmt: skip


_OF_ADAPTERS: Mapping[str, Mapping[str, object]] = {
    "ModelConfig": {"dtype": "bfloat16", "device_map": "auto"},
    "LoraConfig": {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0},
    "TrainingArguments": {
        "output_dir": "/mnt/results",
        "ddp_find_unused_parameters": False,
        "save_strategy": "no",
        "per_device_train_batch_size": 1,
    },
    "DatasetConfig": {"shuffle_dataset": True},
}

TEMPLATES: Final[Mapping[str, Mapping[str, Mapping[str, object]]]] = {
    "lora": _OF_ADAPTERS,
    "qlora": {
        **_OF_ADAPTERS,
        "QuantizationConfig": {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_compute_dtype": "bfloat16",
            "bnb_4bit_use_double_quant": True,
        },
    },
    "full": {
        "ModelConfig": {"dtype": "float32", "device_map": "auto"},
        "TrainingArguments": _OF_ADAPTERS["TrainingArguments"],
        "DatasetConfig": _OF_ADAPTERS["DatasetConfig"],
    },
}
"""What is trained with where a Workspace names no ConfigMap: KAITO's lora-params-template and
qlora-params-template, less what has no effect, and train_test_split.

KAITO's says train_test_split 1, which keeps nothing to evaluate with: nobody could then tell
whether the tuning has helped or only learnt by heart. Left out, a small part is held out (see
`tuning.data.split`); who writes 1 gets what KAITO does.

full is ours: steps on all weights are small, and bfloat16 weights, with 8 bits of precision, would
swallow them; so weights are float32, and the arithmetic bfloat16 where there is a GPU."""
