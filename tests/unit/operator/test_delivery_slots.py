"""How many deliveries are made at once."""

from backupexport_operator.delivery_slots import DeliverySlots


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


def test_who_gives_up_waiting_is_forgotten() -> None:
    slots = DeliverySlots(1)
    assert slots.take("a1", "a")
    assert not slots.take("b1", "b")
    assert slots.leave("b1") is None
    assert slots.leave("a1") is None
