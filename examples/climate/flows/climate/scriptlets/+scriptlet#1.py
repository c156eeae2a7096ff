from oocana import Context
import pandas as pd
from pathlib import Path

def main(params: dict, context: Context):
    csv = Path(__file__).parent / "../../../data/global-temp.csv"
    record = pd.read_csv(csv)
    context.preview(record)
    return { "record": record }
