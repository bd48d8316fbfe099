import pytest

from ttame.reporting.record_spool import RecordSpool


def test_records_come_back_in_order_and_more_can_follow(tmp_path):
    with RecordSpool(tmp_path) as spool:
        spool.append({"a": "Löwe\n"})
        assert list(spool) == [{"a": "Löwe\n"}]
        spool.append({"a": 2})
        assert [record["a"] for record in spool] == ["Löwe\n", 2]
        assert len(spool) == 2
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_json_does_not_have_are_refused(tmp_path):
    with RecordSpool(tmp_path) as spool:
        with pytest.raises(ValueError, match="JSON"):
            spool.append({"a": float("nan")})
        assert list(spool) == []
