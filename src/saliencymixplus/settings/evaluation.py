"""Settings of what is done with a trained run."""

from saliencymixplus.settings.schema import Count, Section


class EvaluationSettings(Section):
    """``evaluation:`` in params.yaml, for every experiment alike."""

    batch_size: Count = 256


class AuditSettings(Section):
    """``audit:`` in params.yaml: the label-noise audit."""

    images: Count = 1000
