"""Writes Tests/RecogniteTests/Golden/tasks/more_splits.json: divisions of a table of 1,500 rows with 700 labels by the
reference library, for seeds at both ends of NumPy's range.

    ~/peers/bin/python Tools/make_split_fixtures.py

Needs pandas and recognite 0.0.1a0. The labels are numbers as text, of a formula that the tests have too.
"""
import json
import pathlib
import warnings

import pandas as pd
from recognite.data import k_fold_trainval_split, split_gallery_query

warnings.filterwarnings("ignore", message=".*labels did not contain enough.*")
OUT = pathlib.Path(__file__).parent.parent / "Tests/RecogniteTests/Golden/tasks/more_splits.json"
ROWS = 1500

labels = [str(i * 337 % 700 if i < 1000 else i * i % 700) for i in range(ROWS)]
assert len(set(labels)) == 700
table = pd.DataFrame({"image": [f"{i}.png" for i in range(ROWS)], "label": labels})


def number(part: pd.DataFrame) -> list:
    return [int(name[:-4]) for name in part["image"]]


cases = []
for folds, fold, seed, references in [
    (5, 0, 0, 1), (9, 8, 4294967295, 2), (64, 63, 1234567890, 1), (3, 1, 4294967295, 3), (700, 699, 0, 1)
]:
    train, validation = k_fold_trainval_split(table, folds, fold, seed)
    # The whole table: its shuffle is longer than the state of the generator.
    gallery, query = split_gallery_query(table, references, seed)
    assert number(train) == sorted(set(range(ROWS)) - set(number(validation)))
    assert number(query) == sorted(set(range(ROWS)) - set(number(gallery)))
    counts = gallery["label"].value_counts()
    cases.append({
        "num_folds": folds, "val_fold": fold, "seed": seed, "num_refs": references, "val": number(validation),
        "gallery_sum": sum(number(gallery)), "gallery_squares": sum(i * i for i in number(gallery)),
        "gallery": number(gallery)[:200], "gallery_count": len(gallery),
        "scarce": int((counts < references).sum()),
    })
OUT.write_text(json.dumps({"rows": ROWS, "cases": cases}) + "\n")
