"""Where the simulated patient of a case lies."""

from sim.layout import truth_folder


def test_the_truth_lies_beside_the_case_and_is_none_where_nobody_made_one(tmp_path):
    assert truth_folder(None) is None and truth_folder(tmp_path / "case") is None
    (tmp_path / "truth").mkdir()
    assert truth_folder(tmp_path / "case") == tmp_path / "truth"
