"""The kinds of delivery, as everything else reads them."""

import pytest
from backupexport_contract.deliveries import Deliveries, Delivery, EmailDelivery, TelegramDelivery


class _Nameless(Delivery):
    pass


class _Copy(Delivery):
    condition_type = EmailDelivery.condition_type


def test_every_kind_has_a_condition_of_its_own() -> None:
    assert Deliveries.kinds() == {"email": EmailDelivery, "telegram": TelegramDelivery}


def test_a_kind_without_a_condition_is_refused() -> None:
    class Wrong(Deliveries):
        pigeon: _Nameless | None = None

    with pytest.raises(TypeError, match="_Nameless has no condition_type"):
        Wrong.kinds()


def test_two_kinds_with_one_condition_are_refused() -> None:
    class Wrong(Deliveries):
        pigeon: _Copy | None = None

    with pytest.raises(TypeError, match="email and pigeon have one condition_type, Notified"):
        Wrong.kinds()
