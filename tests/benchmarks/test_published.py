from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets.base import Sequence
from benchmarks.published import read_published
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import GroundTruth

TABLE = """tracker,split,sequence,success_auc,precision_20px
ECO,dev,Basket,0.8,1.0
ECO,dev,Couple,0.6,0.9
ECO,report,Dog,0.5,0.5
KCF,dev,Basket,0.4,0.5
KCF,report,Dog,0.3,0.2
"""


def sequence_of(split: str, name: str, *attributes: str) -> Sequence:
    truth = GroundTruth(np.zeros((0, 4)), np.zeros(0, bool))
    return Sequence(name, "otb", (), truth, frozenset(attributes), split)


def test_means_over_the_sequences_that_are_ours(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(TABLE)
    ours = [sequence_of("dev", "Basket", "IV"), sequence_of("dev", "Couple", "IV", "OCC")]
    (eco,) = read_published(tmp_path / "p.csv", ours)  # KCF lacks Couple; nothing of ours is in report
    assert (eco.tracker, eco.split) == ("ECO", "dev")
    assert eco.summary() == {"sequences": 2, "auc": pytest.approx(0.7), "p20": pytest.approx(0.95)}
    assert eco.by_attribute(ours) == {"IV": pytest.approx(0.7), "OCC": pytest.approx(0.6)}
    both = read_published(tmp_path / "p.csv", ours[:1])
    assert [(p.tracker, p.summary()["auc"]) for p in both] == [("ECO", 0.8), ("KCF", 0.4)]
    (kcf,) = read_published(tmp_path / "p.csv", ours[:1], ["KCF"])
    assert kcf.tracker == "KCF"


def test_bad_tables(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(TABLE)
    with pytest.raises(SourceError, match=r"p.csv: has no tracker 'ECCO'; use ECO, KCF"):
        read_published(path, [], ["ECCO"])
    for text in ("a,b\n1,2\n", TABLE + "ECO,dev,Dog,x,1\n", TABLE + "ECO,dev,Dog\n"):
        path.write_text(text)
        with pytest.raises(SourceError, match=r"p.csv:\d+: is not a row of scores"):
            read_published(path, [])
