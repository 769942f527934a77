"""Advantages against sums written out, and both views of a rollout against lists made lane by lane."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlsh_mpi.algorithm.advantage import gae, master_view, primitive_advantages

GAMMA, LAM = 0.97, 0.9
seeds = st.integers(0, 2**32 - 1)


def gae_by_sums(reward, value, next_value, continues, gamma, lam):
    """One lane: every advantage as its own sum of discounted temporal differences."""
    advantages = []
    for t in range(len(reward)):
        total, weight = 0.0, 1.0
        for s in range(t, len(reward)):
            total += weight * (reward[s] + gamma * next_value[s] - value[s])
            if not continues[s]:
                break
            weight *= gamma * lam
        advantages.append(total)
    return advantages


@given(seed=seeds, steps=st.integers(1, 12), lanes=st.integers(1, 4), gamma=st.floats(0, 1), lam=st.floats(0, 1))
def test_gae_is_the_sum_of_discounted_differences(seed, steps, lanes, gamma, lam):
    rng = np.random.default_rng(seed)
    reward, value, next_value = rng.standard_normal((3, steps, lanes))
    continues = rng.random((steps, lanes)) < 0.7
    found = gae(reward, value, next_value, continues, gamma, lam)
    for lane in range(lanes):
        arguments = (array[:, lane] for array in (reward, value, next_value, continues))
        np.testing.assert_allclose(found[:, lane], gae_by_sums(*arguments, gamma, lam), atol=1e-12)


@given(seed=seeds, steps=st.integers(1, 12), cut=st.booleans())
def test_with_lambda_1_it_is_the_discounted_return(seed, steps, cut):
    """After an end nothing follows; after a cut the value of what would have followed does."""
    rng = np.random.default_rng(seed)
    reward, value = rng.standard_normal((2, steps))
    bootstrap = rng.standard_normal() if cut else 0.0
    next_value = np.append(value[1:], bootstrap)
    continues = np.arange(steps) < steps - 1
    columns = [array[:, None] for array in (reward, value, next_value, continues)]
    found = gae(*columns, GAMMA, 1.0)[:, 0] + value
    returns = [sum(GAMMA**s * r for s, r in enumerate(reward[t:])) + GAMMA ** (steps - t) * bootstrap for t in range(steps)]
    np.testing.assert_allclose(found, returns)


def rollout(rng, steps, lanes, macro_length, end_rate):
    """What a collection could have seen: random ends, decisions where the macro clock stands at 0."""
    end = rng.random((steps, lanes)) < end_rate
    decides = np.zeros((steps, lanes), bool)
    primitive = np.zeros((steps, lanes), np.int64)
    for lane in range(lanes):
        clock = 0
        for t in range(steps):
            decides[t, lane] = clock == 0
            primitive[t, lane] = rng.integers(3) if clock == 0 else primitive[t - 1, lane]
            clock = 0 if end[t, lane] else (clock + 1) % macro_length
    return {
        "observation": rng.standard_normal((steps, lanes, 2)).astype(np.float32),
        "reward": rng.integers(-2, 4, size=(steps, lanes)).astype(np.float32),
        "end": end,
        "primitive": primitive,
        "decides": decides,
        "final_observation": rng.standard_normal((lanes, 2)).astype(np.float32),
        "macro_length": macro_length,
    }


def macro_actions(seen, lane):
    """One lane's macro-actions as dictionaries, in order."""
    found = []
    for t in range(len(seen["end"])):
        if seen["decides"][t, lane]:
            start = {"observation": seen["observation"][t, lane], "choice": seen["primitive"][t, lane]}
            found.append(start | {"reward": 0.0, "length": 0, "end": False})
        found[-1]["reward"] += seen["reward"][t, lane]
        found[-1]["length"] += 1
        found[-1]["end"] = bool(seen["end"][t, lane])
    for macro in found:
        macro["valid"] = macro["end"] or macro["length"] == seen["macro_length"]
    return found


sizes = {
    "seed": seeds,
    "steps": st.integers(1, 14),
    "lanes": st.integers(1, 4),
    "macro_length": st.integers(1, 6),
    "end_rate": st.sampled_from([0.0, 0.1, 0.5]),
}


@given(**sizes)
def test_master_view_equals_lists_made_lane_by_lane(seed, steps, lanes, macro_length, end_rate):
    seen = rollout(np.random.default_rng(seed), steps, lanes, macro_length, end_rate)
    view = master_view(**seen)
    lists = [macro_actions(seen, lane) for lane in range(lanes)]
    assert view.choice.shape == (max(map(len, lists)), lanes)
    for lane, macros in enumerate(lists):
        for m, macro in enumerate(macros):
            np.testing.assert_array_equal(view.observation[m, lane], macro["observation"])
            assert view.valid[m, lane] == macro["valid"]
            assert view.end[m, lane] == macro["end"]
            assert view.choice[m, lane] == macro["choice"]
            assert view.reward[m, lane] == macro["reward"]
        np.testing.assert_array_equal(view.observation[len(macros), lane], seen["final_observation"][lane])
        assert not view.valid[len(macros) :, lane].any()


@given(**sizes)
def test_master_advantages_equal_lists_made_lane_by_lane(seed, steps, lanes, macro_length, end_rate):
    """A lane's whole macro-actions, the last one bootstrapping from where the next began or would have."""
    rng = np.random.default_rng(seed)
    seen = rollout(rng, steps, lanes, macro_length, end_rate)
    view = master_view(**seen)
    value = rng.standard_normal(view.observation.shape[:2]).astype(np.float32)
    found = view.advantages(value, GAMMA, LAM)
    for lane in range(lanes):
        whole = [macro for macro in macro_actions(seen, lane) if macro["valid"]]
        now = value[: len(whole), lane]
        following = [0.0 if macro["end"] else value[m + 1, lane] for m, macro in enumerate(whole)]
        continues = [not macro["end"] for macro in whole]
        expected = gae_by_sums([macro["reward"] for macro in whole], now, following, continues, GAMMA, LAM)
        np.testing.assert_allclose(found[: len(whole), lane], expected, atol=1e-5)
        assert not found[len(whole) :, lane].any()


@given(**sizes, through=st.booleans())
def test_primitive_advantages_equal_sums_made_step_by_step(seed, steps, lanes, macro_length, end_rate, through):
    rng = np.random.default_rng(seed)
    seen = rollout(rng, steps, lanes, macro_length, end_rate)
    value, final_value = rng.standard_normal((steps, lanes)), rng.standard_normal(lanes)
    arguments = (seen["reward"], seen["end"], seen["decides"], value, final_value)
    found = primitive_advantages(*arguments, through_macro_actions=through, gamma=GAMMA, lam=LAM)
    for lane in range(lanes):
        reward, end, decides = (seen[name][:, lane].tolist() for name in ("reward", "end", "decides"))
        after = [*value[1:, lane], final_value[lane]]
        following = [0.0 if ended else v for ended, v in zip(end, after, strict=True)]
        hands_over = [*decides[1:], False]
        continues = [not e and (through or not h) for e, h in zip(end, hands_over, strict=True)]
        expected = gae_by_sums(reward, value[:, lane], following, continues, GAMMA, LAM)
        np.testing.assert_allclose(found[:, lane], expected, atol=1e-10)
