"""Flower's server side: FedAvg that notes when its rounds begin and end. One law: nothing else differs from FedAvg."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class TimedFedAvg(FedAvg):
    """FedAvg with a clock."""

    times = Path()
    began = 0.0

    def configure_train(self, server_round, arrays, config, grid):  # noqa: ANN001, ANN201 - FedAvg's own
        """Note when the round begins."""
        self.began = time.time()
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):  # noqa: ANN001, ANN201 - FedAvg's own
        """Note when the replies are in and when the model is there."""
        replied = time.time()
        aggregated = super().aggregate_train(server_round, replies)
        note = {"who": "server", "round": server_round, "began": self.began, "replied": replied, "ended": time.time()}
        with self.times.open("a") as file:
            file.write(json.dumps(note) + "\n")
        return aggregated


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    config = context.run_config
    clients = int(config["clients"])
    strategy = TimedFedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    strategy.times = Path(str(config["times"]))
    arrays = [np.zeros(int(size), np.float32) for size in str(config["sizes"]).split("+")]
    strategy.start(grid=grid, initial_arrays=ArrayRecord(arrays), num_rounds=int(config["rounds"]))
