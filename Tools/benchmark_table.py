"""Writes docs/benchmarks.md and docs/benchmarks.svg from the JSON lines of a side-by-side benchmark.

    python3 Tools/benchmark_table.py RESULTS.jsonl [--command "how the results were made"]

A line is one cell: {"model", "batch", "ours", "best_peer", "ratio", "spread", and each peer's name: milliseconds}. `ratio`
is the fastest peer's time over ours.
"""
import argparse, datetime, html, json, math, pathlib, re, subprocess

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("results")
parser.add_argument("--command", default="")
parser.add_argument("--versions", default="", help="of the peers, for the heading")
args = parser.parse_args()
docs = pathlib.Path(__file__).resolve().parent.parent / "docs"

cells = {}
for line in open(args.results):
    row = json.loads(line)
    if "ratio" in row:
        cells[row["model"], row["batch"]] = row
models = sorted({model for model, _ in cells})
batches = sorted({batch for _, batch in cells})
peers = [p for p in ("torch", "torch_cl", "ort", "openvino") if any(p in row for row in cells.values())]
titles = {"torch": "PyTorch", "torch_cl": "PyTorch, channels last", "ort": "ONNX Runtime", "openvino": "OpenVINO"}


def geomean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def processor():
    try:
        text = subprocess.run(["lscpu"], capture_output=True, text=True).stdout
        name = re.search(r"Model name:\s*(.*)", text).group(1)
        return name + ", " + re.search(r"CPU.s.:\s*(.*)", text).group(1) + " processors"
    except (OSError, AttributeError):
        return "an unknown processor"


lines = [
    "# Benchmarks", "",
    f"Written by `Tools/benchmark_table.py` on {datetime.date.today()}: {processor()}. {args.versions}".rstrip(), "",
    "Milliseconds for a batch of 224 x 224 images (299 x 299 for inception_v3), float32, two threads, random weights, without the",
    "classifier. *ratio* is the fastest peer's time over ours: above 1 we are ahead. Ours runs before and after the peers;",
    "*spread* is how far the two differ. The machine is shared: ratios of one row mean more than times of different rows.", "",
]
if args.command:
    lines += [f"    {args.command}", ""]
ratios = [row["ratio"] for row in cells.values()]
behind = sorted((row["ratio"], model, batch) for (model, batch), row in cells.items() if row["ratio"] < 1)
lines += [f"Geometric mean of {len(ratios)} cells: **{geomean(ratios):.2f}**; lowest {min(ratios):.2f}."]
if behind:
    lines += ["Behind the fastest peer: " + ", ".join(f"{m} at {b} ({r:.2f})" for r, m, b in behind) + "."]
lines += ["", "![Ratios](benchmarks.svg)", ""]
lines += ["| model | batch | ours | " + " | ".join(titles[p] for p in peers) + " | ratio | spread |",
          "|---|---:|---:|" + "---:|" * len(peers) + "---:|---:|"]
for model in models:
    for batch in batches:
        if (row := cells.get((model, batch))):
            times = " | ".join(f"{row[p]:.1f}" if p in row else "–" for p in peers)
            lines.append(f"| {model} | {batch} | {row['ours']:.1f} | {times} | {row['ratio']:.2f} | {row['spread']:.2f} |")
(docs / "benchmarks.md").write_text("\n".join(lines) + "\n")

colors, width, left, top, step = ["#2f6db3", "#e08a2e"], 860, 170, 44, 8 * len(batches) + 6
scale = (width - left - 40) / max(2.0, max(ratios))
height = top + step * len(models) + 10
svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
       f'<rect width="{width}" height="{height}" fill="white"/>',
       f'<text x="{left}" y="16" font-size="13">Time of the fastest peer over ours; right of the line we are ahead</text>']
for index, batch in enumerate(batches):
    x = left + 90 * index
    svg.append(f'<rect x="{x}" y="24" width="10" height="8" fill="{colors[index % 2]}"/><text x="{x + 14}" y="32">batch {batch}</text>')
for row, model in enumerate(models):
    y = top + step * row
    svg.append(f'<text x="{left - 6}" y="{y + step / 2 + 2}" text-anchor="end">{html.escape(model)}</text>')
    for index, batch in enumerate(batches):
        if (cell := cells.get((model, batch))):
            svg.append(f'<rect x="{left}" y="{y + 8 * index}" width="{cell["ratio"] * scale:.1f}" height="7" '
                       f'fill="{colors[index % 2]}"/>')
x = left + scale
svg += [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{height - 6}" stroke="#222"/>', "</svg>"]
(docs / "benchmarks.svg").write_text("\n".join(svg) + "\n")
print(f"{len(cells)} cells, geometric mean {geomean(ratios):.3f}, lowest {min(ratios):.3f}, behind {len(behind)}")
