"""What no corpus should hold: text that models find poor or toxic, items of evaluation sets, secrets, personal data.

After the filters, which leave less to look at, and before deduplication: copies that differ in an address are one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_pipelines.config import CurationConfig

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage


def unwanted_stages(config: CurationConfig) -> list[ProcessingStage]:
    """The stages that a config asks for. Secrets go first: `name:word@host` of a URL is a password and no address."""
    from curator_pipelines.stages.classify_quality import ClassifyQuality
    from curator_pipelines.stages.filter_toxicity import FilterToxicity
    from curator_pipelines.stages.redact_pii import RedactPii
    from curator_pipelines.stages.redact_secrets import RedactSecrets
    from curator_pipelines.stages.score_perplexity import ScorePerplexity

    learned: list[ProcessingStage] = []
    if config.perplexity_model:
        learned.append(ScorePerplexity(config.perplexity_model, tuple(config.perplexity_keep)))
    if config.quality_model:
        learned.append(ClassifyQuality(config.quality_model, config.min_quality))
    toxicity = [FilterToxicity(config.max_toxicity, config.toxicity_lexicon)] if config.max_toxicity is not None else []
    secrets = [RedactSecrets()] if config.redact_secrets else []
    return [*learned, *toxicity, *config.decontamination.stages(), *secrets, RedactPii(config.pii)]
