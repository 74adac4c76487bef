"""What the front page's model is made small by, on graphs of a few nodes."""

import struct

import pytest

from docs.play import graph


def const(name, *inputs):
    return {"name": name, "op": "Const", "input": list(inputs), "attr": {"dtype": {"type": "DT_FLOAT"}}}


def node(name, op, *inputs, **attributes):
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def spec(name, *shape, dtype="float32"):
    return {"name": name, "shape": list(shape), "dtype": dtype}


def test_what_is_equal_is_one_and_what_nothing_needs_goes():
    nodes = [
        node("out", "AddV2", "f", "g:1"),
        node("x", "Placeholder"),
        const("a", "^before"),
        const("b"),
        const("other"),
        node("before", "NoOp"),
        node("f", "Mul", "x", "a", "^before"),
        node("same", "Mul", "x", "b"),
        node("g", "Split", "same", "other", num=2),
        node("unused", "Mul", "x", "other"),
    ]
    specs = [spec("a", 2), spec("other", 2), spec("b", 2), spec("unknown", dtype="int32")]
    weights = struct.pack("6f", 1, 2, 3, 4, 1, 2) + struct.pack("i", 7)
    kept, kept_specs, kept_weights = graph.smallest(nodes, specs, weights, ["out"])
    by_op = {kept_node["op"]: kept_node for kept_node in kept if kept_node["op"] != "Const"}
    assert len(kept) == 6 and sorted(by_op) == ["AddV2", "Mul", "Placeholder", "Split"]
    assert by_op["Placeholder"]["name"] == "x" and by_op["AddV2"]["name"] == "out"
    product, parts = by_op["Mul"]["name"], by_op["Split"]["name"]
    assert by_op["AddV2"]["input"] == [product, f"{parts}:1"] and by_op["Split"]["input"][0] == product
    # Before what reads it, each.
    for i, kept_node in enumerate(kept):
        assert {name.partition(":")[0] for name in kept_node["input"]} <= {k["name"] for k in kept[:i]}
    values = dict(zip([s["name"] for s in kept_specs], struct.iter_unpack("2f", kept_weights), strict=True))
    assert values == {by_op["Mul"]["input"][1]: (1, 2), by_op["Split"]["input"][1]: (3, 4)}


@pytest.mark.parametrize("change", [dict(attr={"T": 1}), dict(op="Sub"), dict(input=["a", "x"])])
def test_what_differs_stays_two(change):
    nodes = [
        node("x", "Placeholder"),
        const("a"),
        node("f", "Mul", "x", "a"),
        node("g", "Mul", "x", "a") | change,
    ]
    nodes.append(node("out", "AddV2", "f", "g"))
    kept, _, _ = graph.smallest(nodes, [spec("a")], struct.pack("f", 1), ["out"])
    assert len(kept) == 5


def test_equal_bytes_of_other_shapes_or_kinds_stay_two():
    nodes = [
        const("a"),
        const("b") | {"attr": {"dtype": {"type": "DT_INT32"}}},
        node("out", "Pack", "a", "b"),
    ]
    specs = [spec("a"), spec("b", dtype="int32")]
    kept, kept_specs, weights = graph.smallest(nodes, specs, bytes(8), ["out"])
    assert len(kept) == 3 and {s["dtype"] for s in kept_specs} == {"float32", "int32"} and len(weights) == 8


def test_a_convolution_adds_vectors_alone():
    attributes = {"strides": 1, "T": 2, "fused_ops": {"list": {"s": ["Qmlhc0FkZA=="]}}, "epsilon": 3}
    of_a_map, of_a_vector = (
        node(name, "_FusedConv2D", "x", "k", added, "^c", **attributes)
        for name, added in (("f", "map"), ("g", "vector"))
    )
    specs = [spec("map", 4, 4, 2), spec("vector", 2)]
    conv, total, same = graph.with_vectors_only([of_a_map, of_a_vector], specs)
    assert same == of_a_vector
    assert conv == node("f/conv", "Conv2D", "x", "k", "^c", strides=1, T=2)
    assert total == node("f", "AddV2", "f/conv", "map", T=2)
