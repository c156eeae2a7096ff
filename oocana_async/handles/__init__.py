"""Turns handle values into what travels and back: references, files, secrets, credentials, cached frames."""

from __future__ import annotations

from oocana_async.handles.bin_files import BinFiles
from oocana_async.handles.credentials import CredentialInput
from oocana_async.handles.definitions import (
    ArrayFieldSchema,
    BinValueDict,
    ContentMediaType,
    FieldSchema,
    HandleDef,
    HandleDefDict,
    InputHandleDef,
    ObjectFieldSchema,
    OutputHandleDef,
    PrimitiveFieldSchema,
    SecretFieldSchema,
    VarFieldSchema,
    VarValueDict,
    is_array_dict,
    is_bin_value,
    is_object_dict,
    is_primitive_dict,
    is_secret_dict,
    is_var_dict,
    is_var_value,
)
from oocana_async.handles.frame_cache import (
    CompressionOptions,
    FrameCache,
    cache_directory,
    setup_dataframe_serialization,
)
from oocana_async.handles.input_values import resolve_inputs
from oocana_async.handles.output_values import OutputPlace, prepare_output
from oocana_async.handles.redaction import Redactor
from oocana_async.handles.secrets import SecretsFile
from oocana_async.handles.var_store import EXECUTOR_NAME, StoreKey, VarStore

__all__ = [
    "EXECUTOR_NAME",
    "ArrayFieldSchema",
    "BinFiles",
    "BinValueDict",
    "CompressionOptions",
    "ContentMediaType",
    "CredentialInput",
    "FieldSchema",
    "FrameCache",
    "HandleDef",
    "HandleDefDict",
    "InputHandleDef",
    "ObjectFieldSchema",
    "OutputHandleDef",
    "OutputPlace",
    "PrimitiveFieldSchema",
    "Redactor",
    "SecretFieldSchema",
    "SecretsFile",
    "StoreKey",
    "VarFieldSchema",
    "VarStore",
    "VarValueDict",
    "cache_directory",
    "is_array_dict",
    "is_bin_value",
    "is_object_dict",
    "is_primitive_dict",
    "is_secret_dict",
    "is_var_dict",
    "is_var_value",
    "prepare_output",
    "resolve_inputs",
    "setup_dataframe_serialization",
]
