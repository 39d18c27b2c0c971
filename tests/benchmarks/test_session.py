# SPDX-License-Identifier: BSD-3-Clause
import json

import pytest

import fastclip
from fastclip._bench import accuracy, cold, environment, limit, session, sweeps
from fastclip._bench.cases import WORKLOADS
from fastclip._bench.contestants import OPERATIONS
from fastclip._bench.intervals import MIN_SAMPLES
from fastclip._bench.peers import PEERS
from fastclip._bench.record import load
from fastclip._bench.session import Orders, Session
from fastclip._bench.sweeps import Step, named, sweep


class Progress:
    def __init__(self, stop_at=None):
        self.stop_at, self.steps, self.said = stop_at, 0, []

    def begin(self, steps):
        self.steps = steps

    def next(self, what):
        if what == self.stop_at:
            raise KeyboardInterrupt
        self.said.append(what)


def run(steps, peers=("fastclip", "numpy"), progress=None, largest=0):
    progress = progress or Progress()
    session = Session(Orders(steps, peers, rounds=MIN_SAMPLES, seconds=1e-3, largest=largest), progress)
    session.run()
    return session.record, progress


@pytest.fixture(autouse=True)
def no_long_measurement_of_the_bandwidth(monkeypatch):
    monkeypatch.setattr("fastclip._bench.session.BANDWIDTH_BYTES", 1 << 20)


def test_a_record_is_whole_and_can_be_loaded(tmp_path):
    steps = [*named(["clip_10"], ["positional"]), *named(["rl_policy"], ["within", "clip_new", "value"])]
    record, progress = run(steps, largest=1000)
    assert not record["interrupted"]
    assert progress.steps == len(progress.said) == 1 + 2 + 5 + 3
    (tmp_path / "run.json").write_text(json.dumps(record, allow_nan=False))
    assert load(tmp_path / "run.json") == json.loads(json.dumps(record))
    assert [(row["workload"], row["operation"]) for row in record["rows"]] == [
        ("clip_10", "positional"),
        ("rl_policy", "within"),
        ("rl_policy", "value"),
    ]
    for row in record["rows"]:
        asked = set() if row["operation"] in ("positional", "value") else {"fastclip", "numpy"}
        assert set(row["errors"]) == asked
        assert set(row["seconds"]) >= {"fastclip", "numpy"}
        assert all(len(times) >= MIN_SAMPLES for times in row["seconds"].values())
        assert row["wrong"] == {}
        assert ("limit" in row["seconds"]) == (row["workload"] == "rl_policy")
    assert set(record["bandwidth"]) == set(limit.PASSES)
    assert all(gb > 0 for by_threads in record["bandwidth"].values() for gb in by_threads.values())
    assert record["environment"]["fastclip"]["isa"] == fastclip.show_config()["isa"]


def test_who_is_wrong_is_told_in_words_and_has_no_number_that_json_lacks():
    record, _ = run([], largest=1000)
    (huge,) = [entry for entry in record["accuracy"] if entry["case"] == "all 1e20"]
    assert huge["errors"] == {"fastclip": 0.0, "numpy": None}
    assert huge["wrong"] == {"numpy": "norm not finite"}
    (tiny,) = [entry for entry in record["accuracy"] if entry["case"] == "all 1e-25"]
    assert tiny["errors"]["numpy"] == 1.0
    assert tiny["wrong"] == {"numpy": "norm off by 1.0e+00"}
    assert all("fastclip" not in entry["wrong"] for entry in record["accuracy"])
    assert all(entry["exact"] > 0 for entry in record["accuracy"])


def test_nobody_is_judged_by_what_another_one_left(need):
    """NumPy finds an infinite norm of 1e20 and makes zeros of it; numba adds up in f64."""
    need("numba")
    record, _ = run([], ["fastclip", "numpy", "numba"], largest=1000)
    (huge,) = [entry for entry in record["accuracy"] if entry["case"] == "all 1e20"]
    assert huge["errors"]["numpy"] is None
    assert record["accuracy"][0]["errors"]["numba"] < 1e-6
    assert huge["errors"]["numba"] != 1.0  # of a norm of 0


def test_an_interrupt_leaves_what_is_done():
    steps = list(named(["rl_policy"], ["within", "clip"]))
    record, _ = run(steps, progress=Progress(stop_at="rl_policy, clip"))
    assert record["interrupted"]
    assert [row["operation"] for row in record["rows"]] == ["within"]


def test_an_isolated_peer_is_asked_and_timed(need):
    need("optax")
    record, _ = run(list(named(["rl_policy"], ["within"])), ["fastclip", "optax"], largest=1000)
    (row,) = record["rows"]
    assert row["errors"]["optax"] < 1e-6
    assert len(row["seconds"]["optax"]) == len(row["seconds"]["fastclip"])
    errors = {entry["case"]: entry["errors"]["optax"] for entry in record["accuracy"] if "optax" in entry["errors"]}
    assert errors["uniform"] < 1e-6
    assert errors["all 1e20"] is None


def test_a_row_that_fails_is_told_and_the_others_remain(monkeypatch):
    from fastclip._bench.peers import fastclip as ours

    bind = ours.bind

    def broken(arrays):
        if len(arrays) > 1:
            raise MemoryError("no room")
        return bind(arrays)

    monkeypatch.setattr(ours, "bind", broken)
    record, _ = run(list(named(["rl_policy", "clip_10"], ["within", "positional"])))
    assert list(record["failed"]) == ["rl_policy, within"]
    assert "no room" in record["failed"]["rl_policy, within"]
    assert [row["workload"] for row in record["rows"]] == ["clip_10"]
    assert not record["interrupted"]


def test_without_the_native_loops_there_is_no_limit_and_everything_else(monkeypatch, tmp_path):
    """As where fastclip was installed without a compiler."""
    monkeypatch.setattr(limit, "LIBRARY", tmp_path / "none.so")
    record, _ = run(list(named(["rl_policy", "clip_10"], ["within", "positional"])))
    assert record["bandwidth"] == {}
    assert [set(row["seconds"]) for row in record["rows"]] == [{"fastclip", "numpy"}] * 2


def test_threads_are_set_for_a_row_and_given_back():
    before = fastclip.show_config()["threads"]
    try:
        fastclip.set_num_threads(3)
        steps = [step for step in sweep("threads", list(OPERATIONS)) if step.threads == 1]
        assert {step.operation for step in steps} == {"within", "clip"}
        assert not any(step.takes("numpy") for step in steps)
        record, _ = run([Step(WORKLOADS["rl_policy"], "within", "threads", threads=1)], ["fastclip", "numpy"])
        (row,) = record["rows"]
        assert row["threads"] == 1
        assert "numpy" not in row["seconds"]
        assert row["limit_loops"]["read"].endswith("1 thread")
        assert fastclip.show_config()["threads"] == 3
    finally:
        fastclip.set_num_threads(before)


def test_peers_that_share_their_threads_get_them_back(monkeypatch):
    """As "torch" and "torch loop" do; numba asks for more than it was started with, and raises."""
    shared = {"now": 4}

    def set_threads(name, count):
        if name == "numba":
            raise ValueError("too many")
        before, shared["now"] = shared["now"], count
        return before

    monkeypatch.setattr(session, "set_threads", set_threads)
    with session._threads(["torch", "torch loop"], 1):
        assert shared["now"] == 1
    assert shared["now"] == 4
    with pytest.raises(ValueError, match="too many"), session._threads(["torch", "numba"], 1):
        pass
    assert shared["now"] == 4


@pytest.mark.parametrize("name", [name for name, entry in PEERS.items() if entry.threads])
def test_a_peer_takes_a_number_of_threads(need, name):
    from fastclip._bench.peers import set_threads

    need(name)
    before = set_threads(name, 1)
    assert set_threads(name, before) == 1
    assert before >= 1


def test_the_caches_are_emptied_before_each_cold_call(monkeypatch):
    done = []

    class Room:
        def read(self):
            done.append("emptied")

    class Contestant:
        def sample(self, calls):
            done.append(calls)
            return 2.0

    monkeypatch.setattr(cold, "_room", Room)
    assert cold.Cold(Contestant()).sample(3) == 2.0
    assert done == ["emptied", 1] * 3
    assert cold.Cold(Contestant()).sample(10**6) == 2.0
    assert done == ["emptied", 1] * (3 + cold.CALLS)


def test_what_empties_the_caches_is_larger_than_all_and_each_core_reads_a_part(monkeypatch, tmp_path):
    monkeypatch.setattr(cold, "last_level_bytes", lambda: 3 << 20)
    room = cold._Room()
    assert room.data.nbytes == 12 << 20
    assert room.setting.threads == limit.thread_counts()[-1]
    seen = []
    monkeypatch.setattr(room.probe, "seconds", lambda setting, kind, warm: seen.append((setting, kind)))
    room.read()
    assert seen == [(room.setting, "read")]
    monkeypatch.setattr(cold, "last_level_bytes", lambda: 0)
    monkeypatch.setattr(limit, "LIBRARY", tmp_path / "none.so")
    room = cold._Room()
    assert room.data.nbytes == 128 << 20
    assert room.setting is None
    room.read()


def test_the_last_caches_of_all_cores_are_counted_once_each(monkeypatch, tmp_path):
    for core in range(4):
        for index, (level, size) in enumerate([(1, "32K"), (2, "1M"), (3, "16M"), (4, None)]):
            folder = tmp_path / f"cpu{core}/cache/index{index}"
            folder.mkdir(parents=True)
            (folder / "level").write_text(f"{level}\n")
            (folder / "type").write_text("Unified\n")
            (folder / "shared_cpu_list").write_text(f"{core // 2 if level == 3 else core}\n")
            if size:
                (folder / "size").write_text(f"{size}\n")
    monkeypatch.setattr(environment, "CORES", tmp_path)
    monkeypatch.setattr(environment, "usable_cores", lambda: [0, 1, 2, 3])
    assert environment.last_level_bytes() == 2 * 16 << 20
    assert environment.caches() == {"L1": "32K", "L2": "1M", "L3": "16M"}
    monkeypatch.setattr(environment, "CORES", tmp_path / "none")
    assert environment.last_level_bytes() == 0


def test_a_cold_row_is_told_as_such():
    (row,) = run([Step(WORKLOADS["cache_1mb"], "within", "cache", "cold")])[0]["rows"]
    assert row["cache"] == "cold"
    assert 1 <= row["calls_per_sample"]["fastclip"] <= cold.CALLS


def test_sizes_are_told_and_end_where_the_memory_does(monkeypatch):
    steps = list(sweep("size", ["within"]))
    assert [step.workload.nbytes for step in steps] == [size for size in sweeps.SIZES if 6 * size <= sweeps._memory()]
    assert steps[0].workload.nbytes == 1 << 10
    monkeypatch.setattr(sweeps, "_memory", lambda: 6 << 20)
    assert [step.workload.nbytes for step in sweep("size", ["within"])][-1] == 1 << 20


def test_large_data_is_not_copied_into_every_process():
    large = Step(sweeps.Workload("one array", "memory", ((1 << 28,),)), "within", "size")
    small = Step(sweeps.Workload("one array", "memory", ((1 << 20,),)), "within", "size")
    assert PEERS["optax"].isolated
    assert not large.takes("optax")
    assert small.takes("optax")
    assert large.takes("numpy")
    assert Step(WORKLOADS["gpt2"], "within").takes("optax")
    assert not Step(WORKLOADS["rl_policy"], "within", "cache", "cold").takes("optax")


def test_inputs_are_what_they_say():
    found = list(accuracy.inputs(1000))
    assert [(given.case, given.elements) for given in found if given.group == "size"] == [
        ("all 0.1", 1000),
        ("uniform", 1000),
    ]
    for given in found:
        (array,) = given.arrays()
        assert array.size == given.elements
    assert {given.dtype for given in found} == {"f16", "f32", "f64"}
