"""Handle definitions: what manifests say about a handle, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from oocana_async.handles import (
    ArrayFieldSchema,
    FieldSchema,
    HandleDef,
    InputHandleDef,
    ObjectFieldSchema,
    OutputHandleDef,
    PrimitiveFieldSchema,
    SecretFieldSchema,
    VarFieldSchema,
    is_array_dict,
    is_bin_value,
    is_object_dict,
    is_primitive_dict,
    is_secret_dict,
    is_var_dict,
    is_var_value,
)
from oocana_async.handles.definitions import media_type_of


def test_definition_without_a_handle_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^missing attr key: 'handle'$"):
        HandleDef(description="x")


def test_definition_keeps_every_key_as_attribute_and_item() -> None:
    definition: Any = HandleDef(handle="a", nullable=True, extra=3)
    assert (definition.handle, definition.extra, definition["extra"], definition.get("nullable")) == ("a", 3, 3, True)
    assert "extra" in definition
    assert "other" not in definition
    assert definition.get("other", "x") == "x"
    assert set(definition) == {"handle", "nullable", "extra"}
    with pytest.raises(KeyError, match="'other' not found"):
        definition["other"]


def test_key_that_is_left_out_is_none() -> None:
    definition = HandleDef(handle="a")
    assert (definition.kind, definition["kind"], definition.get("kind", "x")) == (None, None, None)
    assert "kind" in definition


def test_definitions_with_the_same_content_are_equal() -> None:
    one, other = (InputHandleDef(handle="a", value=1, json_schema={"type": "string"}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != InputHandleDef(handle="a", value=2, json_schema={"type": "string"})
    with pytest.raises(AttributeError):
        one.handle = "b"  # type: ignore[misc]


def test_schema_is_an_object_and_keeps_its_raw_form() -> None:
    raw = {"contentMediaType": "oomol/var"}
    definition = HandleDef(handle="a", json_schema=raw)
    assert isinstance(definition.json_schema, VarFieldSchema)
    assert definition.json_schema_to_dict() is raw
    assert HandleDef(handle="a").json_schema_to_dict() is None


@pytest.mark.parametrize("kind", ["var", "bin", "secret", "credential"])
def test_definition_knows_how_its_values_travel(kind: str) -> None:
    definition = HandleDef(handle="a", json_schema={"contentMediaType": f"oomol/{kind}"})
    found = {
        "var": definition.is_var_handle(),
        "bin": definition.is_bin_handle(),
        "secret": definition.is_secret_handle(),
        "credential": definition.is_credential_handle(),
    }
    assert found == {name: name == kind for name in found}
    assert not HandleDef(handle="a").is_var_handle()


def test_additional_handle_says_so() -> None:
    assert HandleDef(handle="a", is_additional=True).is_additional_handle()
    assert not HandleDef(handle="a").is_additional_handle()


def test_input_knows_whether_it_has_a_value() -> None:
    assert InputHandleDef(handle="a", value=None).has_value()
    assert not InputHandleDef(handle="a").has_value()
    assert InputHandleDef(handle="a").value is None


def test_cache_marks_count_on_var_handles_only() -> None:
    var = {"contentMediaType": "oomol/var"}
    assert InputHandleDef(handle="a", json_schema=var, _deserialize_from_cache=True).is_serializable_var()
    assert not InputHandleDef(handle="a", _deserialize_from_cache=True).is_serializable_var()
    assert OutputHandleDef(handle="a", json_schema=var, _serialize_for_cache=True).need_serialize_var_for_cache()
    assert not OutputHandleDef(handle="a", json_schema=var).need_serialize_var_for_cache()


def test_nested_schema_becomes_nested_objects() -> None:
    schema = FieldSchema.generate_schema(
        {
            "type": "object",
            "properties": {
                "keys": {"type": "array", "items": {"type": "string", "contentMediaType": "oomol/secret"}},
                "count": {"type": "number"},
                "any": True,
            },
        }
    )
    assert schema == ObjectFieldSchema(
        properties={
            "keys": ArrayFieldSchema(items=SecretFieldSchema()),
            "count": PrimitiveFieldSchema(type="number"),
            "any": FieldSchema(),
        }
    )


def test_predicates_tell_schemas_apart() -> None:
    schemas: dict[str, Any] = {
        "array": {"type": "array"},
        "object": {"type": "object"},
        "var": {"contentMediaType": "oomol/var"},
        "secret": {"type": "string", "contentMediaType": "oomol/secret"},
        "primitive": {"type": "boolean"},
        "nothing": True,
    }
    tests = {
        "array": is_array_dict,
        "object": is_object_dict,
        "var": is_var_dict,
        "secret": is_secret_dict,
        "primitive": is_primitive_dict,
    }
    for name, schema in schemas.items():
        assert [kind for kind, test in tests.items() if test(schema)] == ([name] if name in tests else [])


def test_schema_takes_unknown_keywords_and_reads_inner_schemas() -> None:
    schema: Any = ArrayFieldSchema(items={"type": "string"}, minItems=1)
    assert (schema.items, schema.minItems) == (PrimitiveFieldSchema(type="string"), 1)
    assert schema == FieldSchema.generate_schema({"type": "array", "items": {"type": "string"}})
    assert ObjectFieldSchema(properties={"a": {"type": "array"}}).properties == {"a": ArrayFieldSchema()}


def test_wrapper_without_its_value_is_none() -> None:
    assert not is_bin_value({"__OOMOL_TYPE__": "oomol/bin"})
    assert not is_bin_value({"__OOMOL_TYPE__": "oomol/bin", "value": 1})
    assert not is_var_value({"__OOMOL_TYPE__": "oomol/var", "value": "/x"})


def test_wrappers_are_recognised() -> None:
    assert is_bin_value({"__OOMOL_TYPE__": "oomol/bin", "value": "/x"})
    assert is_var_value({"__OOMOL_TYPE__": "oomol/var", "value": {}})
    assert not is_bin_value({"value": "/x"})
    assert not is_var_value("oomol/var")


@pytest.mark.parametrize("definition", [None, {}, {"json_schema": True}, {"json_schema": {"contentMediaType": 3}}, 5])
def test_definition_without_a_media_type_has_none(definition: Any) -> None:
    assert media_type_of(definition) is None
