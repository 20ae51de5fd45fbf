"""Docstrings, comments, messages, YAML and pages avoid the words that readers misunderstood most."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT = Path(__file__).with_name("words_left.txt")  # files still to be rewritten: the list may only get shorter
# What not to write, and the field's word for it. The rule is in CONTRIBUTING.md.
WORDS = {
    r"\b(told|tells?|telling)\b": "report, print, name, say",
    r"\bcut off\b": "interrupted, truncated",
    r"\b(goes|go|going|went) on\b": "resume, continue",
    r"\byardstick\b": "reference",
    r"\b(brings?|brought) along\b": "contain",
    r"\bbeside\b": "next to, with, compared with",
    r"\b(lies|stands)\b": "is, is stored",
    r"\bdoors?\b": "command, interface, entry point",
    r"\b(comes?|came|coming) out\b": "result, return",
    r"\bwants\b": "needs, expects",
    r"\bmend(s|ed)?\b": "fix, correct",
    r"\b(not|is|of) ours\b": "of lits_seg",
    r"\b(that|which) (is|are) none\b": "if there is no …",
    r"\bwhere (there|it|that|this|a|an|the|one) (is|are|may|has) ": "if …",
    r'^[rf]?"""What\b': "start with a verb",
}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text: the strings and comments of Python, every line of other files."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text().splitlines(), 1)
        return
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", None)}
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in kinds:
            yield from enumerate(token.string.splitlines(), token.start[0])


def found(path: Path) -> list[str]:
    """A message for each word of the list in a file."""
    return [
        f"{path.relative_to(ROOT)}:{number}: expected {hint!r}; found {hit[0]!r}"
        for number, text in texts(path)
        for pattern, hint in WORDS.items()
        for hit in re.finditer(pattern, text, re.IGNORECASE)
    ]


def written() -> Iterator[Path]:
    """All files with words for users and developers, except those that programs write."""
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml"))
    yield from ROOT.glob("docs/*.md")
    yield from ROOT.glob("experiments/*/README.md")
    for folder in ("lits_seg", "hydra_plugins", "experiments", "docs"):
        yield from ROOT.glob(f"{folder}/**/*.py")
    yield from ROOT.glob("conf/**/*.yaml")
    yield from (path for path in ROOT.glob("experiments/**/*.yaml") if "runs" not in path.parts)


def test_words() -> None:
    left = LEFT.read_text().split() if LEFT.exists() else []
    hits = {str(path.relative_to(ROOT)): found(path) for path in sorted(written())}
    rewritten = sorted(path for path in left if not hits.get(path))
    assert not rewritten, f"{LEFT.name}: remove {' '.join(rewritten)}"
    new = [message for path, messages in hits.items() if path not in left for message in messages]
    assert not new, "\n".join(["", *new])
