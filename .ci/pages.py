"""The pages agree with the tree: links lead somewhere, the README shows the program that is built, the tests that
ARCHITECTURE.md names exist, every page of the guide is in its table of contents and among its doctests, and
dashboard and alert rules use metrics that there are."""

import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
guide = sorted((root / "docs/guide/src").glob("*.md"))
pages = sorted(root.glob("*.md")) + sorted((root / "docs").glob("*.md")) + guide
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
        file = page.parent / path if path else page
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

contents = (root / "docs/guide/src/SUMMARY.md").read_text()
compiled = (root / "crates/plimsoll/src/guide.rs").read_text()
for page in guide:
    if page.name != "SUMMARY.md":
        if f"({page.name})" not in contents:
            wrong.append(f"docs/guide/src/SUMMARY.md: {page.name} is missing")
        if f'"{page.name}"' not in compiled:
            wrong.append(f"crates/plimsoll/src/guide.rs: {page.name} is missing")

# The names that users may rely on.
metrics = set(
    """plimsoll_memory_bytes plimsoll_limit_bytes plimsoll_threshold_bytes plimsoll_pressure_level
    plimsoll_checks_total plimsoll_cleanups_total plimsoll_cleanup_duration_seconds plimsoll_cleanup_freed_bytes_total
    plimsoll_pruner_removed_total plimsoll_requests_admitted_total plimsoll_requests_shed_total
    plimsoll_inflight_requests plimsoll_reserved_bytes plimsoll_sockets plimsoll_sockets_forced_total
    plimsoll_retention_rows_deleted_total plimsoll_retention_backlog_rows
    plimsoll_retention_last_success_timestamp_seconds plimsoll_alerts_firing plimsoll_alert_notifications_total
    plimsoll_monitor_bytes plimsoll_build_info""".split()
)
json.loads((root / "docs/grafana/plimsoll.json").read_text())
for name in ("docs/grafana/plimsoll.json", "docs/prometheus/plimsoll.rules.yml", "docs/prometheus/plimsoll.test.yml", "docs/guide/src/prometheus.md"):
    for metric in sorted(set(re.findall(r"\bplimsoll_\w+", (root / name).read_text())) - metrics):
        wrong.append(f"{name}: there is no metric {metric}")

for line in wrong:
    print(line)
sys.exit(bool(wrong))
