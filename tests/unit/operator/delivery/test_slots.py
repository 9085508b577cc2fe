"""How many deliveries are made at once."""

from backupexport_operator.delivery.slots import DeliverySlots


def test_one_for_each_project() -> None:
    slots = DeliverySlots(10)
    assert slots.take("a1", "a")
    assert not slots.take("a2", "a")
    assert slots.take("b1", "b")
    assert slots.take("a1", "a")
    assert slots.leave("b1") is None
    assert slots.leave("a1") == "a2"
    assert slots.take("a2", "a")


def test_so_many_in_all() -> None:
    slots = DeliverySlots(2)
    assert slots.take("a1", "a")
    assert slots.take("b1", "b")
    assert not slots.take("c1", "c")
    assert not slots.take("d1", "d")
    assert slots.leave("a1") == "c1"
    assert slots.take("c1", "c")
    assert not slots.take("d1", "d")


def test_who_delivers_already_counts() -> None:
    slots = DeliverySlots(1)
    slots.hold("a1", "a")
    assert not slots.take("b1", "b")
    assert slots.leave("a1") == "b1"


def test_who_was_woken_in_vain_wakes_the_next_one() -> None:
    slots = DeliverySlots(1)
    assert slots.take("a1", "a")
    assert not slots.take("a2", "a")
    assert not slots.take("a3", "a")
    assert slots.leave("a1") == "a2"
    assert slots.leave("a2") == "a3"
    assert slots.leave("a3") is None


def test_who_waits_no_more_wakes_nobody_while_there_is_no_room() -> None:
    slots = DeliverySlots(1)
    assert slots.take("a1", "a")
    assert not slots.take("b1", "b")
    assert not slots.take("c1", "c")
    assert slots.leave("b1") is None
    assert slots.leave("a1") == "c1"
