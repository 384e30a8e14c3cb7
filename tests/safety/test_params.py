"""Parameters: validated, typed, from words of a command line, all within their envelopes."""

from dataclasses import fields

import pytest

from safety.params import ENVELOPE, MS, ParamError, Params


def test_every_numeric_parameter_has_an_envelope_and_its_default_lies_inside() -> None:
    for f in fields(Params):
        if f.type is bool:
            continue
        low, high, why = ENVELOPE[f.name]
        assert low <= f.default <= high
        assert why


def test_a_lease_longer_than_validated_is_refused() -> None:
    with pytest.raises(ParamError, match="lease_ns"):
        Params(lease_ns=300 * MS)


@pytest.mark.parametrize("name", sorted(ENVELOPE))
def test_outside_its_envelope_each_parameter_is_refused(name: str) -> None:
    low, high, _ = ENVELOPE[name]
    kind = next(f.type for f in fields(Params) if f.name == name)
    for bad in (low - 1, high + 1):
        with pytest.raises(ParamError):
            Params(**{name: kind(bad)})  # type: ignore[operator]


def test_wrong_type_is_refused_even_where_the_value_fits() -> None:
    with pytest.raises(ParamError, match="a_max"):
        Params(a_max=1)  # type: ignore[arg-type]
    with pytest.raises(ParamError, match="require_view"):
        Params(require_view=1)  # type: ignore[arg-type]


def test_zones_and_thresholds_in_order() -> None:
    with pytest.raises(ParamError, match="order"):
        Params(m_near=0.0002, m_bone=0.0005)
    with pytest.raises(ParamError, match="order"):
        Params(a_hold_ns=250 * MS, a_servo_ns=300 * MS)


def test_words() -> None:
    p = Params.from_words(["lease_ms=120", "a_max=0.3", "require_view=1", "rejects_hold=5"])
    assert (p.lease_ns, p.a_max, p.require_view, p.rejects_hold) == (120 * MS, 0.3, True, 5)


@pytest.mark.parametrize("word", ["lease_ms", "nonsense=1", "a_max=fast", "require_view=maybe", "rejects_hold=2.5"])
def test_bad_words_say_which(word: str) -> None:
    with pytest.raises(ParamError, match=word.partition("=")[0]):
        Params.from_words([word])


def test_dict_round_trip_and_unknown_name() -> None:
    p = Params(a_max=0.25)
    assert Params.from_dict(p.to_dict()) == p
    with pytest.raises(ParamError, match="unknown"):
        Params.from_dict({"speed": 1.0})
