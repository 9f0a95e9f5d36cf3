"""The pages agree with the tree: links lead somewhere, the README shows the program that is built, and the
tests that ARCHITECTURE.md names exist."""

import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
pages = sorted(root.glob("*.md"))
wrong = []


def anchors(text):
    """The anchors that headings get: lower case, blanks to dashes, other signs left out."""
    for heading in re.findall(r"^#+ +(.+)$", text, re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        yield kept.strip().replace(" ", "-")


for page in pages:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = root / path if path else page
        if not file.exists():
            wrong.append(f"{page.name}: {target} leads nowhere")
        elif anchor and anchor not in anchors(file.read_text()):
            wrong.append(f"{page.name}: {target} names no heading")

blocks = re.findall(r"^```rust\n(.*?)^```", (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)
program = (root / "examples/axum-minimal/src/main.rs").read_text()
if not blocks or blocks[0] != program:
    wrong.append("README.md: its first Rust block is not examples/axum-minimal/src/main.rs")

sources = "".join(file.read_text() for folder in ("crates", "tests", "examples") for file in (root / folder).rglob("*.rs"))
functions = set(re.findall(r"\bfn (\w+)", sources))
invariants = (root / "ARCHITECTURE.md").read_text().split("## Invariants")[1].split("\n## ")[0]
for name in re.findall(r"`(\w+_\w+_\w+)`", invariants):
    if name not in functions:
        wrong.append(f"ARCHITECTURE.md: there is no test {name}")

for line in wrong:
    print(line)
sys.exit(bool(wrong))
