"""What one flow does with values, ends and progress: decisions alone, without any I/O."""

from __future__ import annotations

import pytest

from oocana_async.engine.flow.actions import FinishFlow
from oocana_async.engine.manifests.blocks import ConditionBlock
from oocana_async.errors import StateError
from oocana_async.wire.messages.shared import OutputTarget, TargetFlow, TargetNode
from tests.engine.graphs import Play, node, raw

SOURCE = node("a")
SINK = node("b", {"x": [("a", "out")]})


def test_start_starts_nodes_without_inputs_only() -> None:
    assert Play(SOURCE, SINK).start() == ["a1"]


def test_start_keeps_the_order_of_the_file() -> None:
    assert Play(node("z"), node("a"), node("m")).start() == ["z1", "a1", "m1"]


def test_start_without_satisfied_nodes_ends_the_flow() -> None:
    play = Play(SINK)
    assert play.start() == []
    assert play.finish == FinishFlow(instant=True)


def test_start_twice_is_refused() -> None:
    play = Play(SOURCE)
    play.start()
    with pytest.raises(StateError, match="starts once"):
        play.start()


def test_start_delivers_the_inputs_of_the_flow() -> None:
    play = Play(node("a", {"x": [("", "n")]}), node("b", {"x": [("", "n")]}))
    assert play.start(n=5) == ["a1", "b1"]
    assert play.inputs == {"a1": {"x": 5}, "b1": {"x": 5}}


def test_start_passes_an_input_straight_to_an_output() -> None:
    play = Play(outputs={"res": [("", "n")]})
    play.start(n=5)
    assert play.outputs == [("res", 5)]
    assert play.finish is not None
    assert play.finish.instant


def test_start_ignores_inputs_that_lead_nowhere() -> None:
    assert Play(SOURCE).start(ghost=1) == ["a1"]


def test_output_starts_the_consumer_while_its_source_runs() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    assert play.output("a1", "out", 1) == ["b1"]
    assert play.running == ["a1", "b1"]


def test_result_starts_the_consumer() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    assert play.end("a1", {"out": 1}) == ["b1"]
    assert play.finish is None


def test_flow_ends_when_nothing_runs() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    play.end("a1", {"out": 1})
    play.end("b1")
    assert play.finish == FinishFlow()


def test_values_wait_for_the_single_run_slot() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    assert [play.output("a1", "out", value) for value in (1, 2, 3)] == [["b1"], [], []]
    assert play.end("a1") == []
    assert [play.end("b1"), play.end("b2"), play.end("b3")] == [["b2"], ["b3"], []]
    assert [play.inputs[f"b{n}"]["x"] for n in (1, 2, 3)] == [1, 2, 3]


def test_concurrency_allows_as_many_runs() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "out")]}, concurrency=2))
    play.start()
    assert [play.output("a1", "out", value) for value in (1, 2, 3)] == [["b1"], ["b2"], []]


def test_negative_concurrency_is_unlimited() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "out")]}, concurrency=-1))
    play.start()
    assert [play.output("a1", "out", value) for value in range(3)] == [["b1"], ["b2"], ["b3"]]


def test_concurrency_zero_runs_at_the_start_of_the_flow_only() -> None:
    play = Play(node("a", concurrency=0), node("b", {"x": [("a", "out")]}, concurrency=0))
    assert play.start() == ["a1"]
    assert play.end("a1", {"out": 1}) == []
    assert play.finish is not None


def test_two_queues_pair_by_position() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "p")], "y": [("a", "q")]}, concurrency=5))
    play.start()
    started = [play.output("a1", handle, value) for handle, value in [("p", 1), ("p", 2), ("q", 3), ("q", 4)]]
    assert started == [[], [], ["b1"], ["b2"]]
    assert play.inputs == {"a1": {}, "b1": {"x": 1, "y": 3}, "b2": {"x": 2, "y": 4}}


def test_left_over_values_do_not_keep_the_flow_alive() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "p")], "y": [("a", "q")]}))
    play.start()
    play.output("a1", "p", 1)
    play.end("a1")
    assert play.finish == FinishFlow()


def test_pairs_wait_for_a_slot_once_each() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "p")], "y": [("a", "q")]}))
    play.start()
    for handle in ("p", "q", "p", "p", "q", "q"):
        play.output("a1", handle, handle)
    play.end("a1")
    assert [play.end("b1"), play.end("b2"), play.end("b3")] == [["b2"], ["b3"], []]


def test_several_connections_share_one_queue() -> None:
    play = Play(node("a"), node("c"), node("b", {"x": [("a", "out"), ("c", "out")]}, concurrency=9))
    play.start()
    play.output("c1", "out", "c")
    play.output("a1", "out", "a")
    assert (play.inputs["b1"], play.inputs["b2"]) == ({"x": "c"}, {"x": "a"})


def test_repeated_connection_delivers_each_value_twice() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "out"), ("a", "out")]}, concurrency=2))
    play.start()
    assert play.output("a1", "out", 1) == ["b1", "b2"]


def test_static_values_go_into_every_run() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "out")]}, static={"k": None}, concurrency=2))
    play.start()
    play.output("a1", "out", 1)
    play.output("a1", "out", 2)
    assert (play.inputs["b1"], play.inputs["b2"]) == ({"k": None, "x": 1}, {"k": None, "x": 2})


def test_declared_handle_without_value_keeps_the_node_from_running() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "out")]}, declared=["x", "y"]))
    play.start()
    assert play.end("a1", {"out": 1}) == []


def test_undeclared_handle_is_delivered_and_never_waited_for() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "out")], "more": [("a", "extra")]}, declared=["x"], concurrency=2))
    play.start()
    play.output("a1", "extra", "e")
    assert play.output("a1", "out", 1) == ["b1"]
    assert play.output("a1", "out", 2) == ["b2"]
    assert (play.inputs["b1"], play.inputs["b2"]) == ({"x": 1, "more": "e"}, {"x": 2})


def test_undeclared_handle_triggers_a_node_that_is_satisfied() -> None:
    play = Play(SOURCE, node("b", {"more": [("a", "extra")]}, static={"k": 1}, declared=["k"]))
    assert play.start() == ["a1", "b1"]
    play.end("b1")
    assert play.output("a1", "extra", "e") == ["b2"]
    assert play.inputs["b2"] == {"k": 1, "more": "e"}


def test_undeclared_values_wait_for_the_slot() -> None:
    play = Play(SOURCE, node("b", {"more": [("a", "extra")]}, declared=[]))
    play.start()
    assert play.output("a1", "extra", "e") == []
    assert play.end("b1") == ["b2"]


def test_remembered_value_serves_again_until_a_newer_one_is_taken() -> None:
    sources = {"x": [("a", "out")], "k": [("a", "kept")]}
    play = Play(SOURCE, node("b", sources, remembered=frozenset({"k"}), concurrency=9))
    play.start()
    play.output("a1", "out", 1)
    assert play.output("a1", "kept", "old") == ["b1"]
    play.output("a1", "out", 2)
    play.output("a1", "kept", "new")
    play.output("a1", "out", 3)
    play.output("a1", "out", 4)
    assert [play.inputs[f"b{n}"]["k"] for n in (1, 2, 3, 4)] == ["old", "old", "new", "new"]


def test_node_may_feed_itself() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "out"), ("b", "next")]}))
    play.start()
    play.end("a1", {"out": 1})
    assert play.end("b1", {"next": 2}) == ["b2"]
    play.end("b2")
    assert play.finish == FinishFlow()


def test_pending_run_starts_before_the_result_is_delivered() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "out")]}), node("c", {"x": [("b", "out")]}))
    play.start()
    play.output("a1", "out", 1)
    play.output("a1", "out", 2)
    assert play.end("b1", {"out": 0}) == ["b2", "c1"]


def test_value_reaches_flow_outputs_before_nodes() -> None:
    play = Play(SOURCE, SINK, outputs={"res": [("a", "out")]})
    play.start()
    assert [type(action).__name__ for action in play.state.on_output("job1", "out", raw(1))] == [
        "EmitOutput",
        "StartJob",
    ]


def test_target_chooses_nodes() -> None:
    play = Play(SOURCE, SINK, node("c", {"x": [("a", "out")]}), outputs={"res": [("a", "out")]})
    play.start()
    assert play.output("a1", "out", 1, OutputTarget(to_node=[TargetNode("c", "x")])) == ["c1"]
    assert play.outputs == []


def test_target_chooses_flow_outputs() -> None:
    play = Play(SOURCE, SINK, outputs={"res": [("a", "out")], "more": [("a", "out")]})
    play.start()
    assert play.output("a1", "out", 1, OutputTarget(to_flow=[TargetFlow("more")])) == []
    assert play.outputs == [("more", 1)]


def test_target_without_connection_reaches_nobody() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    target = OutputTarget(to_node=[TargetNode("b", "ghost")], to_flow=[TargetFlow("ghost")])
    assert play.output("a1", "out", 1, target) == []


def test_empty_target_reaches_nobody() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    assert play.output("a1", "out", 1, OutputTarget()) == []


def test_failing_node_ends_the_flow() -> None:
    play = Play(node("a"), node("c"))
    play.start()
    assert play.end("a1", error="boom") == []
    assert play.finish == FinishFlow("a", "boom")
    assert play.state.is_over


def test_failing_node_starts_nothing_that_waits() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    play.output("a1", "out", 1)
    play.output("a1", "out", 2)
    assert play.end("b1", error="boom") == []


def test_messages_after_a_failure_are_ignored() -> None:
    play = Play(node("a"), node("c"), SINK)
    play.start()
    play.end("c1", error="boom")
    assert play.output("a1", "out", 1) == []
    assert play.state.on_end("job1") == []
    assert play.state.on_progress("job1", 50) == []


def test_messages_of_unknown_jobs_are_ignored() -> None:
    play = Play(SOURCE)
    play.start()
    assert play.state.on_output("ghost", "out", raw(1)) == []
    assert play.state.on_outputs("ghost", {"out": raw(1)}) == []
    assert play.state.on_end("ghost", error="boom") == []


def test_child_keeps_the_flow_alive_and_feeds_nobody() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    play.state.add_child("child")
    play.end("a1")
    assert play.finish is None
    assert play.state.on_output("child", "out", raw(1)) == []
    assert play.state.on_end("child", {"out": raw(2)}) == [FinishFlow()]


def test_failing_child_does_not_fail_the_flow() -> None:
    play = Play(SOURCE)
    play.start()
    play.state.add_child("child")
    assert play.state.on_end("child", error="boom") == []
    play.end("a1")
    assert play.finish == FinishFlow()


def test_run_that_ends_at_once_frees_its_slot() -> None:
    play = Play(SOURCE, SINK)
    play.start()
    play.output("a1", "out", 1)
    play.output("a1", "out", 2)
    assert play.end("b1", instant=True) == ["b2"]


def test_flow_of_runs_that_end_at_once_is_instant_itself() -> None:
    play = Play(SOURCE)
    play.start()
    play.end("a1", instant=True)
    assert play.finish == FinishFlow(instant=True)
    assert play.progress == []


def test_outputs_deliver_each_handle() -> None:
    play = Play(SOURCE, node("b", {"x": [("a", "p")], "y": [("a", "q")]}))
    play.start()
    actions = play.state.on_outputs("job1", {"p": raw(1), "q": raw(2)})
    assert [type(action).__name__ for action in actions] == ["StartJob"]


def test_only_allowed_nodes_run() -> None:
    play = Play(node("a"), node("c"), SINK)
    play.state.allow_only(frozenset({"a"}))
    assert play.start() == ["a1"]
    assert play.end("a1", {"out": 1}) == []


def test_preloaded_values_start_their_node_at_once() -> None:
    play = Play(SOURCE, SINK, preloaded={"b": {"x": raw(7)}, "ghost": {"x": raw(1)}})
    assert play.start() == ["a1", "b1"]
    play.end("b1")
    assert play.end("a1", {"out": 8}) == ["b2"]
    assert (play.inputs["b1"], play.inputs["b2"]) == ({"x": 7}, {"x": 8})


def test_latest_values_are_kept_on_demand() -> None:
    play = Play(SOURCE, SINK, keep_latest=True)
    play.start()
    play.output("a1", "out", 1)
    play.output("a1", "out", 2)
    assert play.state.latest == {"b": {"x": raw(2)}}


def test_preloaded_values_are_kept_although_nothing_was_delivered() -> None:
    play = Play(SOURCE, SINK, preloaded={"b": {"x": raw(7)}}, keep_latest=True)
    play.start()
    assert play.state.latest == {"b": {"x": raw(7)}}


@pytest.mark.parametrize("progress", [95.0, 100.0, 250.0])
def test_progress_of_a_flow_stops_at_95(progress: float) -> None:
    play = Play(SOURCE)
    play.start()
    assert play.report("a1", progress) == [95.0]


def test_progress_is_weighed() -> None:
    play = Play(node("a", weight=3.0), node("b"))
    play.start()
    assert play.report("a1", 20) == [15.0]
    assert play.report("b1", 40) == [25.0]


def test_progress_of_a_node_never_falls() -> None:
    play = Play(node("a"), node("b"))
    play.start()
    play.report("a1", 50)
    assert play.report("a1", 20) == [25.0]
    assert play.report("a1", 50) == []


def test_progress_counts_nodes_that_never_run_and_no_conditions() -> None:
    never = node("n", declared=["x"])
    condition = node("c", declared=["x"], block=ConditionBlock())
    play = Play(SOURCE, never, condition)
    play.start()
    play.end("a1")
    assert play.progress == [50.0]


def test_progress_of_an_ended_node_stays() -> None:
    play = Play(node("a"), node("b", {"x": [("a", "out")]}), node("z"))
    play.start()
    play.output("a1", "out", 1)
    play.end("b1")
    play.output("a1", "out", 2)
    assert play.report("b2", 10) == []


def test_progress_without_weights_is_not_sent() -> None:
    play = Play(node("a", weight=0.0))
    play.start()
    assert play.report("a1", 50) == []
    play.end("a1")
    assert play.progress == []


def test_new_weight_is_sent_at_once() -> None:
    play = Play(node("a"), node("b"))
    play.start()
    play.report("a1", 50)
    assert play.weigh("b", 3.0) == [12.5]
    assert play.weigh("b", 3.0) == [12.5]
    assert play.weigh("ghost", 3.0) == []


def test_sums_of_many_weights_do_not_drift() -> None:
    play = Play(*(node(f"n{i}", weight=0.1) for i in range(1000)))
    play.start()
    for i in range(1000):
        play.end(f"n{i}1")
    assert play.progress[499] == 50.0
    assert play.progress[-1] == 95.0
