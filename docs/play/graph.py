"""The graph of a TF.js model, made small: what is in it several times is in it once.

The converter computes what depends on constants alone, and so gives each signature's part weights of its own.
"""

import base64
import graphlib
import json
import math

_BYTES = {"float32": 4, "int32": 4, "bool": 1}


def smallest(nodes: list[dict], specs: list[dict], weights: bytes, outputs: list[str]):
    """Returns nodes, specs and weights of the same outputs: equal nodes are one, unneeded ones are left out.

    Names become short, but for those of placeholders and outputs. No node has effects beside its value: so
    control inputs, which only say what must run before, go.

    Args:
        nodes: of `modelTopology` in a model.json.
        specs: of `weightsManifest`, one group.
        weights: their bytes, in that order.
        outputs: names of nodes.
    """
    values = _values(specs, weights)
    nodes = {node["name"]: node for node in nodes}
    spec_of = {spec["name"]: spec for spec in specs}
    inputs = {name: [i for i in node.get("input", []) if i[0] != "^"] for name, node in nodes.items()}
    needed, open_ = {}, list(outputs)  # A dict, not a set, for an order that is always the same.
    while open_:
        name = open_.pop()
        if name not in needed:
            needed[name] = None
            open_ += map(_node, inputs[name])
    order = graphlib.TopologicalSorter({name: map(_node, inputs[name]) for name in needed}).static_order()

    new_names, known, kept, kept_specs, kept_weights = {}, {}, [], [], []
    for name in order:
        node = nodes[name]
        given = [new_names[_node(i)] + i[len(_node(i)) :] for i in inputs[name]]
        is_named = name in outputs or node["op"] == "Placeholder"
        what = [node["op"], node.get("attr"), given, name if is_named else None]
        key = json.dumps(what, sort_keys=True), values.get(name)
        if key not in known:
            known[key] = name if is_named else f"n{len(known)}"
            kept.append(node | {"name": known[key], "input": given})
            if name in values:
                kept_specs.append(spec_of[name] | {"name": known[key]})
                kept_weights.append(values[name])
        new_names[name] = known[key]
    return kept, kept_specs, b"".join(kept_weights)


def with_vectors_only(nodes: list[dict], specs: list[dict]) -> list[dict]:
    """Returns nodes in which no convolution adds more than a vector, as TF.js' WebAssembly wants it.

    The converter gives a convolution whatever constant is added after it, a map too; here that is a node of
    its own again.
    """
    ranks = {spec["name"]: len(spec["shape"]) for spec in specs}
    apart = []
    for node in nodes:
        if node["op"] != "_FusedConv2D" or ranks[node["input"][2]] == 1:
            apart.append(node)
            continue
        of_conv = ("strides", "padding", "data_format", "dilations", "explicit_paddings", "T")
        assert node["attr"]["fused_ops"]["list"]["s"] == [base64.b64encode(b"BiasAdd").decode()]
        image, kernel, added, *control = node["input"]
        conv = {"name": f"{node['name']}/conv", "op": "Conv2D", "input": [image, kernel, *control]}
        total = {"name": node["name"], "op": "AddV2", "input": [conv["name"], added]}
        for new, names in ((conv, of_conv), (total, ("T",))):
            apart.append(new | {"attr": {name: node["attr"][name] for name in names if name in node["attr"]}})
    return apart


def _node(name):
    """Returns the node of an input: "split:1" is the second output of "split"."""
    return name.partition(":")[0]


def _values(specs, weights):
    """Returns the bytes of each weight, by name."""
    values, start = {}, 0
    for spec in specs:
        end = start + math.prod(spec["shape"]) * _BYTES[spec["dtype"]]
        values[spec["name"]] = weights[start:end]
        start = end
    assert start == len(weights)
    return values
