from oocana import Context
import matplotlib.pyplot as plt
import os

def main(params, context: Context):
    record = params["record"]
    plt.figure(figsize=(8, 4))
    plt.bar(record["year"], record["temp"], width=1.0, color="lightgrey", label="year")
    plt.plot(record["year"], record["mean"], color="firebrick", label="moving average")
    plt.ylabel("degrees Celsius")
    plt.legend()

    picture = os.path.join(context.session_dir, "temperature.png")
    plt.savefig(picture)
    plt.show()

    sentence = "The world is " + str(round(params["warming"], 2)) + " degrees warmer."
    context.preview({ "type": "text", "data": sentence })
    context.output("picture", picture)
    return { "sentence": sentence }
