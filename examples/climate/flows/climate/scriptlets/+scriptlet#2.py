#region generated meta
import typing
class Inputs(typing.TypedDict):
    record: typing.Any
    years: int
    base: list[int]
class Outputs(typing.TypedDict):
    record: typing.Any
    warming: float
#endregion

from oocana import Context

def main(params: Inputs, context: Context) -> Outputs:
    record = params["record"].copy()
    first, last = params["base"]
    start = record[record["year"].between(first, last)]["temp"].mean()

    context.report_progress(50)
    record["temp"] = record["temp"] - start
    record["mean"] = record["temp"].rolling(params["years"]).mean()

    warming = record["mean"].iloc[-1]
    print("warming since", first, "is", round(warming, 2), "degrees")
    context.report_progress(100)
    return { "record": record, "warming": warming }
