"""`glide run`: a declared chain from its data to a certified export, each step an artifact in one run directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from glide_nemo.artifact import Artifact
from glide_nemo.export.certificate import CertificateConfig, certify
from glide_nemo.export.subjects import parse_against
from glide_nemo.export.targets import export
from glide_nemo.recipes.chain import Chain
from glide_nemo.training.chain import train_chain


def run_chain(
    chain: Chain,
    data: Mapping[str, Path],
    run: Path,
    certificate: CertificateConfig | None = None,
    *,
    after: Callable[[str, Artifact], None] = lambda *_: None,
) -> Artifact:
    """Trains what is not trained yet, exports the last checkpoint and certifies the exports: the certificate.

    `after(phase, checkpoint)` is called as each phase ends. Killed, the same call goes on.
    """
    trained = train_chain(chain, data, run, after=after)
    targets = ",".join(chain.exports)
    export(trained.path, targets, force=True)
    exports = parse_against(run, targets)
    return certify(certificate or CertificateConfig(), trained, exports, run / "certificate", force=True)
