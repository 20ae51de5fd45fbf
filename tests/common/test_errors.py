import pickle

from lits_seg.common.errors import InputError


def test_an_error_of_a_worker_keeps_its_message() -> None:
    error = InputError("file", "this", "that")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InputError
    assert str(again) == str(error) == "file: expected this; found that"
