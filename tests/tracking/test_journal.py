"""The journal: what was appended is there after any end of its process, once and in order."""

import json
from pathlib import Path

import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.tracking.journal import Journal, JournalInUse


def _write(path: Path, epochs: range) -> Journal:
    journal = Journal(path)
    for epoch in epochs:
        journal.append("metrics", {"step": epoch}, epoch=epoch)
    return journal


def _epochs(journal: Journal) -> list[int | None]:
    return [record.epoch for record in journal.pending()]


def test_records_survive_reopening_with_their_times_and_numbers(tmp_path: Path) -> None:
    journal = _write(tmp_path, range(1, 4))
    before = journal.pending()
    journal.close()
    assert Journal(tmp_path).pending() == before
    assert [record.seq for record in before] == [1, 2, 3]


def test_a_torn_last_line_is_cut_off_and_appending_goes_on(tmp_path: Path) -> None:
    _write(tmp_path, range(1, 4)).close()
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    journal = Journal(tmp_path)
    assert _epochs(journal) == [1, 2]
    journal.append("metrics", {"step": 3}, epoch=3)
    journal.close()
    assert _epochs(Journal(tmp_path)) == [1, 2, 3]


def test_a_damaged_line_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    _write(tmp_path, range(1, 4)).close()
    path = tmp_path / "journal.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:10], lines[2]]) + "\n")
    with pytest.raises(UserError, match=r"journal\.jsonl is damaged"):
        Journal(tmp_path)


def test_rewind_drops_what_cannot_have_left_and_keeps_the_rest(tmp_path: Path) -> None:
    journal = _write(tmp_path, range(1, 7))
    journal.start_sending(4)  # may or may not have arrived
    journal.mark_sent(2)
    journal.rewind(3)
    assert _epochs(journal) == [3, 4]
    journal.append("metrics", {"step": 5, "again": True}, epoch=5)
    journal.close()
    reopened = Journal(tmp_path)
    assert _epochs(reopened) == [3, 4, 5]
    assert reopened.pending()[-1].content["again"]


def test_rewinding_twice_keeps_what_was_recorded_in_between(tmp_path: Path) -> None:
    journal = _write(tmp_path, range(1, 4))
    journal.rewind(1)
    journal.append("metrics", {"step": 2}, epoch=2)
    journal.rewind(2)
    journal.close()
    assert _epochs(Journal(tmp_path)) == [1, 2]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(JournalInUse):
        Journal(tmp_path, wait=0)
    journal.close()
    Journal(tmp_path, wait=0).close()


def test_files_of_a_record_go_when_it_has_arrived(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    record = journal.append("files", fill=lambda folder: (folder / "a.txt").write_text("a"))
    assert record.files is not None
    assert (tmp_path / record.files / "a.txt").read_text() == "a"
    journal.mark_sent(record.seq)
    assert not (tmp_path / record.files).exists()


def test_a_failed_fill_leaves_no_record(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    journal = Journal(tmp_path)
    with pytest.raises(UserError, match="No space left"):
        journal.append("files", fill=fail)
    assert journal.pending() == []
    assert list((tmp_path / "files").iterdir()) == []


def test_not_finite_metrics_survive(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("metrics", {"step": 1, "values": {"loss": float("nan"), "a": float("inf")}})
    journal.close()
    values = Journal(tmp_path).pending()[0].content["values"]
    assert json.dumps(values) == '{"loss": NaN, "a": Infinity}'


def test_a_full_disk_leaves_no_part_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    journal = _write(tmp_path, range(1, 3))
    with monkeypatch.context() as patch:

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="No space left"):
            journal.append("metrics", {"step": 3}, epoch=3)
    journal.append("metrics", {"step": 4}, epoch=4)
    journal.close()
    assert _epochs(Journal(tmp_path)) == [1, 2, 4]


def test_files_that_no_record_claims_are_cleared_away(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    kept = journal.append("files", fill=lambda folder: (folder / "a.txt").write_text("a"))
    (tmp_path / "files" / "half").mkdir()
    journal.close()
    Journal(tmp_path)
    assert [f"files/{path.name}" for path in (tmp_path / "files").iterdir()] == [kept.files]


def test_two_threads_add_to_one_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the later one adds is not written over by the earlier one, which is slow."""
    from threading import Thread

    from saliencymixplus.tracking import journal as module

    journal = Journal(tmp_path)
    write = module.write_json
    second = Thread(target=journal.set_header, kwargs={"run_id": "b"})

    def slowly(path: Path, value: dict[str, str]) -> None:
        content = dict(value)
        if "run_id" not in content:
            second.start()
            second.join(0.2)
        write(path, content)

    monkeypatch.setattr(module, "write_json", slowly)
    journal.set_header(status="FINISHED")
    second.join()
    journal.close()
    assert Journal(tmp_path).header == {"status": "FINISHED", "run_id": "b"}
