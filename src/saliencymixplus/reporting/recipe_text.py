"""A training's recipe in words, for the report and the model cards."""

from saliencymixplus.settings import ModelSettings, TrainingSettings

# Further settings, listed if they differ from their defaults.
_FURTHER = {
    "accumulate": "gradients of {} batches for each step",
    "no_decay": "no weight decay on norms and biases",
    "loss": "binary cross-entropy",
    "label_smoothing": "label smoothing {:g}",
    "clip_grad_norm": "gradients clipped to a norm of {:g}",
    "backbone_lr": "backbone at {:g} of the learning rate",
    "layer_decay": "learning rate times {:g} from layer to layer",
    "freeze_epochs": "only the head in the first {} epochs",
    "test_crop": "test images cropped to their centre",
    "weight_average": "moving average of the weights, decay {:g}",
}


def optimizer(training: TrainingSettings) -> str:
    """``SGD, Nesterov momentum 0.9, weight decay 0.0005``."""
    name = training.optimizer.removeprefix("timm/")
    parts = [{"sgd": "SGD", "adamw": "AdamW"}.get(name, f"{name} (timm)")]
    if name == "sgd":
        parts.append(f"{'Nesterov ' if training.nesterov else ''}momentum {training.momentum}")
    if training.betas is not None:
        parts.append(f"betas {training.betas[0]:g} and {training.betas[1]:g}")
    return ", ".join([*parts, f"weight decay {training.weight_decay:g}"])


def schedule(training: TrainingSettings) -> str:
    """``cosine, 5 epochs of warm-up``."""
    if training.schedule == "one_cycle":
        return "one cycle"
    if training.schedule == "steps":
        text = f"×{training.gamma} after epochs {', '.join(map(str, training.milestones))}"
    else:
        text = "cosine" + (f" down to {training.min_lr:g}" if training.min_lr else "")
    if training.warmup_epochs:
        plural = "" if training.warmup_epochs == 1 else "s"
        text += f", {training.warmup_epochs:g} epoch{plural} of warm-up"
        if training.warmup_start_lr is not None:
            text += f" from {training.warmup_start_lr:g}"
    return text


def further(training: TrainingSettings) -> list[str]:
    """Other settings that differ from their defaults, except augmentation and mixing."""
    defaults = TrainingSettings()
    return [
        text.format(getattr(training, name))
        for name, text in _FURTHER.items()
        if getattr(training, name) != getattr(defaults, name)
    ]


def start(model: ModelSettings) -> str:
    """``trained from scratch``, or what the weights started from."""
    if model.weights is None:
        return "trained from scratch"
    head = ", with a new head initialised to zero" if model.head_init == "zero" else ""
    if model.weights == "pretrained":
        return f"fine-tuned from the pretrained weights of {publisher(model)}{head}"
    return f"fine-tuned from the weights in {model.weights.rpartition('/')[2]}{head}"


def publisher(model: ModelSettings) -> str:
    """Who publishes the network and its pretrained weights."""
    return "timm" if model.name.startswith("timm/") else "torchvision"
