import pytest

from teleop.case.workflow import CaseState, GateClosed, ScrewStep, Step, complete, retreat, screw_step


def ready_case():
    state = complete(CaseState("SIM-1"), Step.IMAGES)
    state = complete(state, Step.APPROVED, plan_hash="aa")
    state = complete(state, Step.TRANSFERRED, plan_hash="aa")
    state = complete(state, Step.REGISTERED, registration_epoch=1)
    return complete(state, Step.TIME_OUT)


def test_a_time_out_without_a_registration_is_refused_and_names_what_is_missing():
    state = complete(CaseState("SIM-1"), Step.IMAGES)
    with pytest.raises(GateClosed, match="not registered"):
        complete(state, Step.TIME_OUT)


def test_a_screw_goes_through_every_step_in_order():
    state = ready_case()
    for step in (ScrewStep.SELECTED, ScrewStep.APPROACH, ScrewStep.STAND_OFF, ScrewStep.ADVANCE,
                 ScrewStep.VERIFIED, ScrewStep.CONFIRMED, ScrewStep.PLACED):
        state = screw_step(state, "L3_L", step)
    assert state.placed == ("L3_L",)


@pytest.mark.parametrize("skipped", [ScrewStep.APPROACH, ScrewStep.VERIFIED, ScrewStep.CONFIRMED])
def test_no_step_of_a_screw_can_be_skipped(skipped):
    order = [ScrewStep.SELECTED, ScrewStep.APPROACH, ScrewStep.STAND_OFF, ScrewStep.ADVANCE,
             ScrewStep.VERIFIED, ScrewStep.CONFIRMED, ScrewStep.PLACED]
    state = ready_case()
    with pytest.raises(GateClosed):
        for step in order:
            if step is not skipped:
                state = screw_step(state, "L3_L", step)


def test_a_new_plan_voids_the_time_out_and_the_transfer():
    state = complete(ready_case(), Step.APPROVED, plan_hash="bb")
    assert Step.TIME_OUT not in state.done
    assert Step.TRANSFERRED not in state.done


def test_a_new_registration_voids_the_time_out_and_the_screw_in_hand():
    state = screw_step(ready_case(), "L3_L", ScrewStep.SELECTED)
    state = complete(state, Step.REGISTERED, registration_epoch=2)
    assert Step.TIME_OUT not in state.done
    assert state.screw == ""


def test_a_second_screw_waits_until_the_first_is_placed_or_let_go():
    state = screw_step(screw_step(ready_case(), "L3_L", ScrewStep.SELECTED), "L3_L", ScrewStep.APPROACH)
    with pytest.raises(GateClosed, match="L3_L is at step approach"):
        screw_step(state, "L4_L", ScrewStep.SELECTED)
    assert screw_step(retreat(state), "L4_L", ScrewStep.SELECTED).screw == "L4_L"


def test_a_placed_screw_is_not_placed_twice():
    state = ready_case()
    for step in tuple(ScrewStep)[1:]:
        state = screw_step(state, "L3_L", step)
    with pytest.raises(GateClosed, match="already placed"):
        screw_step(retreat(state), "L3_L", ScrewStep.SELECTED)
