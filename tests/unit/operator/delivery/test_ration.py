"""How many mails an address may get within an hour."""

from backupexport_operator.delivery.ration import HOUR_SECONDS, Ration


def test_the_next_one_waits_until_the_oldest_is_an_hour_old() -> None:
    ration = Ration()
    assert ration.take("a", 2, "1", 0) == 0
    assert ration.take("a", 2, "2", 100) == 0
    assert ration.take("a", 2, "3", 200) == HOUR_SECONDS - 200
    assert ration.take("b", 2, "4", 200) == 0
    assert ration.take("a", 2, "3", HOUR_SECONDS) == 0
    assert ration.take("a", 2, "5", HOUR_SECONDS) == 100


def test_another_attempt_at_the_same_one_does_not_count() -> None:
    ration = Ration()
    for now in range(5):
        assert ration.take("a", 1, "1", now) == 0
    assert ration.take("a", 1, "2", 5) == HOUR_SECONDS - 5


def test_what_is_an_hour_old_is_forgotten() -> None:
    ration = Ration()
    for number in range(100):
        ration.take(f"a{number}", 1, "1", 0)
    ration.take("b", 1, "1", HOUR_SECONDS)
    assert list(ration._given) == ["b"]
