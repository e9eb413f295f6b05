"""Writes a page (docs/benchmarks.md) and its chart (docs/benchmarks.svg) from the JSON lines of Tools/benchmark_peers.py.

    python3 Tools/benchmark_table.py RESULTS.jsonl [--out docs] [--page benchmarks] [--notes FILE]

A line is one cell: {"model", "batch", "ours", "best_peer", "ratio", "spread", and each peer's name: milliseconds}. `ratio`
is the fastest peer's time over ours. A line without "model" says what the run was made with. Of several lines for one cell
the last counts.
"""
import argparse, html, json, math, pathlib, re

PEERS = {"torch": "PyTorch", "torch_cl": "PyTorch, channels last", "ort": "ONNX Runtime", "openvino": "OpenVINO"}
# Models by the beginning of their names, and the goal: what every one's ratio should be at least.
FAMILIES = [
    ("VGG, ResNet-18 and -34", r"vgg|resnet(18|34)$", 1.7),
    ("other ResNets, ResNeXt, Wide ResNet", r"resnet|resnext|wide_resnet", 1.25),
    ("DenseNet, GoogLeNet, Inception", r"densenet|googlenet|inception", 1.25),
    ("MobileNet, MNASNet", r"mobilenet|mnasnet", 1.3),
    ("EfficientNet", r"efficientnet", 1.3),
    ("ShuffleNet", r"shufflenet", 1.3),
    ("RegNet-400mf", r"regnet_[xy]_400mf", 1.3),
    ("other RegNets", r"regnet", 1.0),
    ("ConvNeXt", r"convnext", 1.1),
    ("ViT, Swin, MaxViT", r"vit|swin|maxvit", 1.1),
    ("AlexNet", r"", 1.0),
]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("results")
parser.add_argument("--out", default=pathlib.Path(__file__).resolve().parent.parent / "docs", type=pathlib.Path)
parser.add_argument("--page", default="benchmarks", help="the name of the page and of its chart: one for each kind of machine")
parser.add_argument("--notes", type=pathlib.Path, help="a text to put behind the summary, on cells behind their goals")
args = parser.parse_args()

about, cells = {}, {}
with open(args.results) as file:
    for row in map(json.loads, file):
        if "model" not in row:
            about = row
        elif "ratio" in row:
            cells[row["model"], row["batch"]] = row
if not cells:
    parser.error(f"{args.results} has no cell with a ratio")


def family(model):
    return next(index for index, (_, pattern, _) in enumerate(FAMILIES) if re.match(pattern, model))


def natural(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


models = sorted({model for model, _ in cells}, key=lambda model: (family(model), natural(model)))
batches = sorted({batch for _, batch in cells})
peers = [peer for peer in PEERS if any(peer in row for row in cells.values())]


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def named(cells):
    return ", ".join(f"{model} at {batch} ({row['ratio']:.2f})" for (model, batch), row in cells) or "none"


def table(header, rows):
    """The first column is text, the others numbers."""
    return ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)] + \
        ["| " + " | ".join(row) + " |" for row in rows]


def text():
    ratios = [row["ratio"] for row in cells.values()]
    ordered = sorted(cells.items(), key=lambda cell: cell[1]["ratio"])
    threads = f"{about['threads']} thread{'s' * (about['threads'] > 1)}, " if about else ""
    lines = ["# Benchmarks", ""]
    if about:
        caches = "".join(f", {about[level]} {level}" for level in ("L2", "L3") if about.get(level))
        lines += [f"Measured on {about['date']} on {about['processor']}, {about['processors']} processor{'s' * (about['processors'] > 1)}{caches}"
                  + (f", instruction set {about['instruction_set']}" if about.get("instruction_set") else "") + "; "
                  + ", ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".", ""]
    page = "" if args.page == parser.get_default("page") else f" PAGE={args.page}"
    lines += [f"`make benchmark-table PEERS=VENV/bin/python{page}` makes this page; a virtual environment with the peers comes from",
              "`python3 -m venv VENV && VENV/bin/pip install torch torchvision onnx onnxscript onnxruntime openvino numpy`."]
    if about:
        lines += ["The run was:", "", f"    {about['command']}"]
    turns = ("Ours runs before and\nafter the peers; *spread* is how far the two medians are apart, as a part of their mean.")
    if (rounds := (about or {}).get("rounds", 1)) > 1:
        turns = (f"Ours and\nthe peers take turns {rounds} times, and the least median of each counts; *spread* is how far our "
                 "two least are apart.")
    size = (about or {}).get("size")
    pixels = f"{size} x {size} pixels" if size else "224 x 224 pixels (299 x 299 for inception_v3)"
    lines += ["",
              f"Milliseconds per batch of images of {pixels}, {threads}float32, random weights,",
              "without the classifier. *ratio* is the fastest peer's time over ours: above 1 we are ahead. " + turns, "",
              f"![The fastest peer's time over ours, for each model]({args.page}.svg)", "",
              "## Summary", "",
              f"Geometric mean of the ratios of {len(cells)} cells ({len(models)} models): **{geomean(ratios):.2f}**; "
              + ", ".join(f"batch {batch}: {geomean([row['ratio'] for (_, b), row in cells.items() if b == batch]):.2f}"
                          for batch in batches)
              + f"; lowest {min(ratios):.2f}, highest {max(ratios):.2f}; median spread "
              + f"{100 * sorted(row['spread'] for row in cells.values())[len(cells) // 2]:.1f} %.", "",
              f"Behind the fastest peer: {named([cell for cell in ordered if cell[1]['ratio'] < 1])}.", ""]
    rows, missed = [], []
    for index, (title, _, goal) in enumerate(FAMILIES):
        members = [cell for cell in ordered if family(cell[0][0]) == index]
        if not members:
            continue
        below = [cell for cell in members if cell[1]["ratio"] < goal]
        missed += below
        values = [row["ratio"] for _, row in members]
        rows.append([title, f"{len(members)}", f"{geomean(values):.2f}", f"{min(values):.2f}", f"{goal:.2f}", f"{len(below)}"])
    lines += table(["family", "cells", "geometric mean", "lowest", "goal of each", "cells below it"], rows)
    lines += ["", f"Below their goals: {named(missed)}.", ""]
    if args.notes:
        lines += [args.notes.read_text().strip(), ""]
    lines += ["Cells in which each peer is the fastest of them: "
              + ", ".join(f"{PEERS[peer]} {sum(row.get('best_peer') == peer for row in cells.values())}" for peer in peers)
              + ".", "", "## All cells", ""]
    rows = []
    for model in models:
        for batch in batches:
            if row := cells.get((model, batch)):
                times = [f"{row[peer]:.2f}" if peer in row else "–" for peer in peers]
                times = [f"*{time}*" if peer == row.get("best_peer") else time for peer, time in zip(peers, times)]
                rows.append([model, f"{batch}", f"{row['ours']:.2f}", *times, f"**{row['ratio']:.2f}**",
                             f"{100 * row['spread']:.1f} %"])
    return lines + table(["model", "batch", "ours"] + [PEERS[peer] for peer in peers] + ["ratio", "spread"], rows)


def chart():
    """Two columns of models, each with a bar a batch size; as wide as a page of a repository."""
    ink, muted, grid, colors = "#1f2328", "#59636e", "#d1d9e0", ["#2f6db3", "#e08a2e", "#4a9c5d", "#8a5ab5"]
    width, top, label, gap, bar = 880, 52, 128, 24, 8
    columns = 2 if len(models) > 20 else 1
    rows, step = math.ceil(len(models) / columns), bar * len(batches) + 6
    column = (width - gap * (columns - 1)) / columns
    # The number behind the longest bar needs room.
    limit = max(1.5, *(row["ratio"] for row in cells.values()))
    scale = (column - label - 34) / limit
    ticks = [tick / 2 for tick in range(0, int(limit * 2) + 1)]
    if len(ticks) > 9:
        ticks = [float(tick) for tick in range(0, int(limit) + 1, math.ceil(limit / 9))]
    height = top + rows * step + 22
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
             f'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="10.5" fill="{ink}">',
             "<title>The fastest peer's time over ours, for each model</title>",
             f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
             '<text x="8" y="18" font-size="14" font-weight="600">Time of the fastest of '
             + html.escape(", ".join(dict.fromkeys(PEERS[peer].split(",")[0] for peer in peers)))
             + ' over ours; past the line at 1 we are ahead</text>']
    for index, batch in enumerate(batches):
        x = 8 + 76 * index
        parts += [f'<rect x="{x}" y="28" width="10" height="10" fill="{colors[index % len(colors)]}"/>',
                  f'<text x="{x + 14}" y="37">batch {batch}</text>']
    for side in range(columns):
        left = side * (column + gap) + label
        members = models[side * rows:(side + 1) * rows]
        bottom = top + len(members) * step
        for tick in ticks:
            x = left + tick * scale
            parts += [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{bottom}" stroke="{grid}" stroke-width="0.7"/>',
                      f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" fill="{muted}">{tick:g}</text>']
        x = left + scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{bottom}" stroke="{ink}" stroke-width="1.2"/>')
        for position, model in enumerate(members):
            y = top + position * step
            parts.append(f'<text x="{left - 6:.1f}" y="{y + (step - 6) / 2 + 3.5:.1f}" text-anchor="end">'
                         f"{html.escape(model)}</text>")
            for index, batch in enumerate(batches):
                if row := cells.get((model, batch)):
                    length = row["ratio"] * scale
                    parts += [f'<rect x="{left:.1f}" y="{y + bar * index}" width="{length:.1f}" height="{bar - 1}" '
                              f'fill="{colors[index % len(colors)]}"/>',
                              f'<text x="{left + length + 3:.1f}" y="{y + bar * index + 6.5}" font-size="7.5" '
                              f'fill="{muted}" stroke="#ffffff" stroke-width="2" paint-order="stroke">{row["ratio"]:.2f}</text>']
    return parts + ["</svg>"]


args.out.mkdir(parents=True, exist_ok=True)
(args.out / f"{args.page}.md").write_text("\n".join(text()) + "\n")
(args.out / f"{args.page}.svg").write_text("\n".join(chart()) + "\n")
ratios = [row["ratio"] for row in cells.values()]
print(f"{len(cells)} cells, geometric mean {geomean(ratios):.3f}, lowest {min(ratios):.3f}, "
      f"behind {sum(ratio < 1 for ratio in ratios)}; written: {args.out}/{args.page}.md, {args.page}.svg")
