"""What scriptlets get as `oocana`: the names of the official SDK (protocol.md 8.1), bound to this package's classes."""

from __future__ import annotations

import json
from typing import Any

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
    OomolType,
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
from oocana_async.context.facts import KeepAlive as OnlyEqualSelf
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
from oocana_async.handles.frame_cache import (
    COMPRESSION_OPTIONS_FILE,
    SUPPORTED_COMPRESSION_METHODS,
    compression_options,
    compression_suffix,
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
    "COMPRESSION_OPTIONS_FILE",
    "CompressionOptions",
    "ContentMediaType",
    "Context",
    "CredentialInput",
    "CsvPreviewPayload",
    "DataFrame",
    "DataclassJSONEncoder",
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
    "OnlyEqualSelf",
    "OomolType",
    "OutputHandleDef",
    "PandasPreviewPayload",
    "PartialDataFrame",
    "PreviewPayload",
    "PreviewPayloadInternal",
    "PrimitiveFieldSchema",
    "QueryBlockResponse",
    "SUPPORTED_COMPRESSION_METHODS",
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
    "compression_options",
    "compression_suffix",
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


class DataclassJSONEncoder(json.JSONEncoder):
    """Lets `json.dumps(..., cls=DataclassJSONEncoder)` take what handles can carry, dataclasses for instance."""

    def default(self, o: Any) -> Any:
        """Return what becomes of an object when it is sent."""
        return json.loads(encode(o))


def dumps(obj: Any, **kwargs: Any) -> str:
    """Return a value as JSON text, with what becomes of it when it is sent.

    Args:
        obj: any value that a handle can carry.
        kwargs: as those of `json.dumps`, such as `indent` and `ensure_ascii`; `default` is asked for what no handle
            can carry.

    Raises:
        EncodingError: The value cannot travel.
    """
    plain = obj if "default" in kwargs else json.loads(encode(obj))
    return json.dumps(plain, **kwargs)
