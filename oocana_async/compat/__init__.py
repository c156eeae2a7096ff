"""What scriptlets get as `oocana`: the names of the official SDK (protocol.md 8.1), bound to this package's classes."""

from __future__ import annotations

from typing import Any

import msgspec

from oocana_async.compat.alias import install_alias, uninstall_alias
from oocana_async.compat.mainframe import Mainframe
from oocana_async.compat.service_context import ServiceContextAbstractClass
from oocana_async.compat.throttler import throttle
from oocana_async.compat.types import (
    BlockDict,
    BlockHandler,
    BlockInfo,
    Downstream,
    FlowDownstream,
    JobDict,
    LLMMessage,
    LLMModelOptions,
    NodeDownstream,
    QueryBlockResponse,
    ServiceExecutePayload,
    ServiceExecutor,
    ServiceMessage,
    StopAtOption,
    ToFlow,
    ToNode,
)
from oocana_async.context import Context
from oocana_async.context.block_job import BlockJob
from oocana_async.context.host_environment import OOMOL_LLM_ENV, HostInfo
from oocana_async.context.questions import InternalAPI
from oocana_async.errors import BlockExecuteException
from oocana_async.handles import (
    EXECUTOR_NAME,
    ArrayFieldSchema,
    BinValueDict,
    CompressionOptions,
    ContentMediaType,
    CredentialInput,
    FieldSchema,
    HandleDef,
    HandleDefDict,
    InputHandleDef,
    ObjectFieldSchema,
    OutputHandleDef,
    PrimitiveFieldSchema,
    SecretFieldSchema,
    StoreKey,
    VarFieldSchema,
    VarValueDict,
    is_array_dict,
    is_bin_value,
    is_object_dict,
    is_primitive_dict,
    is_secret_dict,
    is_var_dict,
    is_var_value,
    setup_dataframe_serialization,
)
from oocana_async.preview import (
    CsvPreviewPayload,
    DataFrame,
    DefaultPreviewPayload,
    ImagePreviewPayload,
    JSONPreviewPayload,
    MediaPreviewPayload,
    PandasPreviewPayload,
    PartialDataFrame,
    PreviewPayload,
    PreviewPayloadInternal,
    ShapeDataFrame,
    TablePreviewData,
    TablePreviewPayload,
    TextPreviewPayload,
)
from oocana_async.wire.encoding import encode

__all__ = [
    "ArrayFieldSchema",
    "BinValueDict",
    "BlockDict",
    "BlockExecuteException",
    "BlockHandler",
    "BlockInfo",
    "BlockJob",
    "CompressionOptions",
    "ContentMediaType",
    "Context",
    "CredentialInput",
    "CsvPreviewPayload",
    "DataFrame",
    "DefaultPreviewPayload",
    "Downstream",
    "EXECUTOR_NAME",
    "FieldSchema",
    "FlowDownstream",
    "HandleDef",
    "HandleDefDict",
    "HostInfo",
    "ImagePreviewPayload",
    "InputHandleDef",
    "InternalAPI",
    "JSONPreviewPayload",
    "JobDict",
    "LLMMessage",
    "LLMModelOptions",
    "Mainframe",
    "MediaPreviewPayload",
    "NodeDownstream",
    "OOMOL_LLM_ENV",
    "ObjectFieldSchema",
    "OutputHandleDef",
    "PandasPreviewPayload",
    "PartialDataFrame",
    "PreviewPayload",
    "PreviewPayloadInternal",
    "PrimitiveFieldSchema",
    "QueryBlockResponse",
    "SecretFieldSchema",
    "ServiceContextAbstractClass",
    "ServiceExecutePayload",
    "ServiceExecutor",
    "ServiceMessage",
    "ShapeDataFrame",
    "StopAtOption",
    "StoreKey",
    "TablePreviewData",
    "TablePreviewPayload",
    "TextPreviewPayload",
    "ToFlow",
    "ToNode",
    "VarFieldSchema",
    "VarValueDict",
    "dumps",
    "install_alias",
    "is_array_dict",
    "is_bin_value",
    "is_object_dict",
    "is_primitive_dict",
    "is_secret_dict",
    "is_var_dict",
    "is_var_value",
    "setup_dataframe_serialization",
    "throttle",
    "uninstall_alias",
]


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return a value as the JSON text that would be sent for it.

    Args:
        value: any value that a handle can carry.
        indent: spaces per level, None for one line.

    Raises:
        EncodingError: The value cannot travel.
    """
    data = encode(value)
    return (data if indent is None else msgspec.json.format(data, indent=indent)).decode()
