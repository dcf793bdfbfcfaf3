"""Real text that nobody here wrote, from Debian packages, source distributions and this environment, with licences."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from curator_pipelines.code import PERMISSIVE
from curator_pipelines.formats.document import Unusable, decode_text
from glide_nemo.artifact import write_atomically
from glide_nemo.crawl.common_crawl import spread
from glide_nemo.errors import GlideError

HANDBOOK, HELP = "GPL-2.0-or-later OR CC-BY-SA-3.0", "MPL-2.0"
SITES = {  # package -> directory of HTML, licence, by language
    "english": [
        ("debian-handbook", "usr/share/doc/debian-handbook/html/en-US", HANDBOOK),
        ("libreoffice-help-en-us", "usr/share/libreoffice/help/en-US", HELP),
    ],
    "german": [
        ("debian-handbook", "usr/share/doc/debian-handbook/html/de-DE", HANDBOOK),
        ("libreoffice-help-de", "usr/share/libreoffice/help/de", HELP),
    ],
}
GPL = "GPL-2.0-or-later"
MANUALS = {  # package -> texts in it, licence
    "debian-faq": ("**/FAQ/*.txt.gz", GPL),
    "debian-history": ("**/*.txt.gz", GPL),  # in ten languages
    "debian-policy": ("**/*.txt.gz", GPL),
    "debian-reference-en": ("**/*.txt.gz", GPL),
    "developers-reference": ("**/developers-reference.txt.gz", GPL),
    "installation-guide-amd64": ("**/install.*.txt.gz", GPL),  # in nineteen languages
    "maint-guide": ("**/*.txt.gz", GPL),
}
SDISTS = {"pywb": "2.10.0", "Warcat": "2.2.5", "brotli": "1.2.1"}  # WARC files of other tools, and four books
NOVELS = ("brotli", "**/testdata/*.txt", "LicenseRef-public-domain")  # as they stand in the Canterbury corpus
SOURCE_FILES = (".py", ".pyx", ".c", ".h", ".cpp", ".hpp", ".cu", ".cuh", ".js", ".ts", ".go", ".java", ".rb", ".sh")
FILES_OF_PACKAGE = 8  # spread over it, so that no package makes the corpus
SPDX = {  # of trove classifiers that name one licence; "BSD License" names several
    "MIT License": "MIT", "Apache Software License": "Apache-2.0", "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}  # fmt: skip


def fetch_all(folder: Path) -> None:
    """Unpacks the packages into `folder`, each once. GlideError where one cannot be had."""
    for package in sorted({package for sites in SITES.values() for package, _, _ in sites} | set(MANUALS)):
        _once(folder / package, lambda target, package=package: _debian(package, target))
    for name, version in SDISTS.items():
        _once(folder / name, lambda target, name=name, version=version: _sdist(f"{name}=={version}", target))


def warcs(folder: Path) -> list[Path]:
    """WARC files that other tools wrote, the damaged ones among them."""
    found = (path for name in SDISTS for ending in ("*.warc", "*.warc.gz") for path in (folder / name).rglob(ending))
    return sorted(path for path in found if path.is_file())


def books(folder: Path) -> Iterator[dict[str, str]]:
    """Manuals and novels in plain text, as rows of JSON lines."""
    for package, (pattern, license_) in {**MANUALS, NOVELS[0]: NOVELS[1:]}.items():
        for path in sorted((folder / package).glob(pattern)):
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            yield {"url": f"{package}/{path.name}", "license": license_, "text": decode_text(raw)}


def code(_: Path) -> Iterator[dict[str, str]]:
    """The standard library, and files of each package installed here whose metadata name its licence."""
    root = Path(sysconfig.get_path("stdlib"))
    inside = sorted(path.relative_to(root) for path in root.rglob("*.py"))
    for path in inside:
        if not {"site-packages", "test", "tests"} & set(path.parts):
            yield from _row(root / path, f"stdlib/{path.as_posix()}", "PSF-2.0")
    for package in sorted(distributions(), key=lambda package: str(package.metadata["Name"]).lower()):
        files = [file for file in package.files or [] if file.suffix in SOURCE_FILES and ".." not in file.parts]
        for file in spread(sorted(files, key=str), FILES_OF_PACKAGE):
            yield from _row(Path(str(package.locate_file(file))), file.as_posix(), license_of(package))


def license_of(package: Distribution) -> str:
    """An SPDX expression from a package's metadata: its own, or that of its one classifier. "" where neither says."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    if metadata.get("License") in PERMISSIVE:  # free text, which may be an identifier
        return str(metadata["License"])
    named = [
        line.split("::")[-1].strip() for line in metadata.get_all("Classifier") or [] if line.startswith("License")
    ]
    return SPDX.get(named[0], f"LicenseRef-{named[0]}") if len(named) == 1 else ""


def write_rows(path: Path, rows: Iterator[Mapping[str, str]]) -> Path:
    """JSON lines, written once: what a later run finds is what an earlier one read."""
    if not path.exists():
        write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def _row(path: Path, name: str, license_: str) -> Iterator[dict[str, str]]:
    try:
        yield {"url": name, "license": license_, "text": decode_text(path.read_bytes())}
    except (OSError, Unusable):  # empty, binary, or named by the metadata and not installed
        return


def _once(target: Path, make: Callable[[Path], None]) -> None:
    if not target.exists():
        partial = target.with_name(f".{target.name}.partial")
        subprocess.run(["rm", "-rf", str(partial)], check=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.rename(target)


def _debian(package: str, target: Path) -> None:
    # -o: the package's own folder is not readable for the user that apt drops to.
    _run(["apt-get", "download", "-o", "APT::Sandbox::User=root", package], target, package)
    (deb,) = target.glob("*.deb")
    _run(["dpkg", "-x", deb.name, "."], target, package)
    deb.unlink()


def _sdist(requirement: str, target: Path) -> None:
    options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
    _run([sys.executable, "-m", "pip", "download", *options, requirement], target, requirement)
    (packed,) = target.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(target, filter="data")
    packed.unlink()


def _run(command: list[str], folder: Path, what: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        raise GlideError(f"cannot fetch {what} ({' '.join(said)}): run `apt-get update` once, on Debian") from None
