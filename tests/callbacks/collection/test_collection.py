import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback

from tests.callbacks.runs import Listener, StopAt, make_env, make_model
from velora_sb3 import resume_training, save_checkpoint
from velora_sb3.callbacks import CallbackCollection, EarlyStopping, StopOnPlateau, VeloraCallback
from velora_sb3.checkpoints.state.callbacks import named_callbacks, walk


class A(VeloraCallback):
    pass


class B(VeloraCallback):
    pass


class First(VeloraCallback):
    priority = 10


class SB3sOwn(BaseCallback):
    priority = -1

    def _on_step(self):
        return True


def test_it_is_a_list():
    a, b, c = A(), B(), B()
    callbacks = CallbackCollection([a, b])
    callbacks.append(c)
    assert list(callbacks) == callbacks.callbacks == [a, b, c]
    assert (len(callbacks), callbacks[1], callbacks[-1], callbacks[:2]) == (3, b, c, [a, b])
    assert (callbacks.index(c), callbacks.count(b)) == (2, 1)
    assert a in callbacks and B in callbacks and SB3sOwn not in callbacks and A() not in callbacks
    callbacks.reverse()
    assert list(callbacks) == [c, b, a]
    callbacks[0] = d = A()
    del callbacks[1]
    callbacks.insert(1, c)
    assert list(callbacks) == [d, c, a]
    assert callbacks.pop() is a
    callbacks += [a]
    callbacks.extend([b])
    assert list(callbacks) == [d, c, a, b]
    assert repr(callbacks) == "CallbackCollection([A, B, A, B])"
    callbacks.clear()
    assert len(callbacks) == 0


def test_slices_are_assigned_from_any_iterable():
    a, b, c = A(), B(), B()
    callbacks = CallbackCollection([a, b])
    callbacks[:] = reversed(callbacks)
    assert list(callbacks) == [b, a]
    callbacks[1:] = (one for one in (c, a))
    assert list(callbacks) == [b, c, a]
    callbacks[1] = c
    assert list(callbacks) == [b, c, a]


@pytest.mark.parametrize(("index", "value"), [(0, [1]), (slice(0, 1), [1]), (slice(None), [0, 0])])
def test_no_assignment_lists_one_twice(index, value):
    ab = [A(), B()]
    callbacks = CallbackCollection(ab)
    given = [ab[number] for number in value]
    with pytest.raises(ValueError, match="already in the collection"):
        callbacks[index] = given if isinstance(index, slice) else given[0]
    assert list(callbacks) == ab


def test_removing_by_instance_and_by_class():
    a, b, c = A(), B(), B()
    callbacks = CallbackCollection([a, b, c])
    callbacks.remove(b)
    assert list(callbacks) == [a, c]
    callbacks.append(b)
    callbacks.remove(B)
    assert list(callbacks) == [a]
    with pytest.raises(ValueError, match=r"B is not in CallbackCollection\(\[A\]\)"):
        callbacks.remove(B)


def test_moving():
    a, b, c, d = A(), B(), First(), B()
    callbacks = CallbackCollection([a, b, d])
    callbacks.append(c)
    assert list(callbacks) == [c, a, b, d]
    callbacks.move_to_front(a)
    callbacks.move_to_back(First)
    assert list(callbacks) == [a, b, d, c]
    callbacks.move_to_position(c, 1)
    callbacks.move_to_position(a, -2)
    assert list(callbacks) == [c, b, a, d]
    with pytest.raises(IndexError, match="position must be from -4 to 3, got 4"):
        callbacks.move_to_position(a, 4)
    with pytest.raises(ValueError, match="the collection has 2 B callbacks: pass the one"):
        callbacks.move_to_front(B)


def test_higher_priorities_come_first_and_equal_ones_in_their_order():
    low, a, first, b, second = SB3sOwn(), A(), First(), B(), First()
    callbacks = CallbackCollection([low, a, first, b, second])
    assert list(callbacks) == [first, second, a, b, low]
    a2 = A()
    a2.priority = 10.5
    callbacks.append(a2)
    assert callbacks[0] is a2


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match=r"got <class .*A'>: create an instance, A\(...\)"):
        CallbackCollection([A])
    with pytest.raises(TypeError, match="a collection holds SB3 callbacks, got 3"):
        CallbackCollection([A()])[0] = 3
    a = A()
    with pytest.raises(ValueError, match="this A is already in the collection"):
        CallbackCollection([a, a])
    a.priority = "high"
    with pytest.raises(TypeError, match="the priority of A must be a number, got 'high'"):
        CallbackCollection([a])
    with pytest.raises(ValueError, match="on_error must be one of 'raise', 'warn', got 'ignore'"):
        CallbackCollection(on_error="ignore")
    with pytest.raises(ValueError, match="max_errors must be an integer"):
        CallbackCollection(max_errors=0)


def test_nested_groups_are_walked_and_numbered():
    a, b, c, d = A(), B(), A(), A()
    group = CallbackCollection([b, CallbackList([c])])
    callbacks = CallbackCollection([a, group, d])
    assert list(walk(callbacks)) == [a, b, c, d]
    assert dict(named_callbacks(callbacks)) == {"A 1": a, "B 1": b, "A 2": c, "A 3": d}


def test_it_trains_as_a_list_of_sb3s_does(tmp_path):
    first, second = Listener(), Listener()
    callbacks = CallbackCollection([first, CallbackCollection([second])])
    make_model(PPO, make_env(tmp_path)).learn(16, callback=callbacks)
    assert first.told == second.told == ["start", *["step"] * 16, "end"]
    assert first.heard == second.heard != []


@pytest.mark.parametrize("stop_first", [True, False])
def test_one_stops_training_and_all_are_told(tmp_path, stop_first):
    listener, stop = Listener(), StopAt(3)
    order = [stop, listener] if stop_first else [listener, stop]
    model = make_model(PPO, make_env(tmp_path))
    model.learn(16, callback=CallbackCollection(order))
    assert model.num_timesteps == 3
    assert listener.told == ["start", "step", "step", "step", "end"]


def test_in_an_evaluation_it_has_its_parent(tmp_path):
    (tmp_path / "evaluation").mkdir()
    listener = Listener()
    callbacks = CallbackCollection([CallbackCollection([listener])])
    evaluation = EvalCallback(
        make_env(tmp_path / "evaluation"), callback_after_eval=callbacks, eval_freq=8, verbose=0, warn=False
    )
    make_model(PPO, make_env(tmp_path)).learn(16, callback=evaluation)
    assert listener.evaluation() is evaluation
    assert listener.told.count("step") == 2


def test_in_a_list_in_an_evaluation_it_has_its_parent(tmp_path):
    (tmp_path / "evaluation").mkdir()
    listener = Listener()
    callbacks = CallbackList([CallbackCollection([listener])])  # SB3 sets its parent after it is initialized
    evaluation = EvalCallback(
        make_env(tmp_path / "evaluation"), callback_after_eval=callbacks, eval_freq=8, verbose=0, warn=False
    )
    make_model(PPO, make_env(tmp_path)).learn(16, callback=evaluation)
    assert listener.parent is evaluation
    assert listener.evaluation() is evaluation


@pytest.mark.filterwarnings("ignore:the running episode")
def test_a_checkpoint_keeps_what_its_callbacks_know(tmp_path):
    def callbacks():
        group = CallbackCollection([StopOnPlateau("rollout/ep_rew_mean", patience=100), EarlyStopping(1e9)])
        return CallbackCollection([Listener(), group, EarlyStopping(-1e9, patience=90)])

    model, first, second = make_model(PPO, make_env(tmp_path, monitor=True)), callbacks(), callbacks()
    model.learn(48, callback=first)
    path = save_checkpoint(model, tmp_path / "checkpoint", callbacks=first)
    resume_training(path, make_env(tmp_path, monitor=True), callback=second, total_timesteps=48)
    assert second[1][0].best == first[1][0].best is not None
    assert second[1][0].failures == first[1][0].failures
    assert second[2]._hits == first[2]._hits > 1
    assert second[0].n_calls == 48


def test_it_cannot_hold_itself():
    outer, inner = CallbackCollection(), CallbackCollection()
    outer.append(inner)
    for collection, held in ((outer, outer), (inner, outer), (inner, CallbackList([outer]))):
        with pytest.raises(ValueError, match="a collection cannot contain itself"):
            collection.append(held)


@pytest.mark.parametrize("callbacks", ["LogMetrics", None, 3])
def test_something_else_than_a_list(callbacks):
    with pytest.raises(TypeError, match=f"callbacks must be a list of callbacks, got {callbacks!r}"):
        CallbackCollection(callbacks)
