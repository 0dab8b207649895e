"""A training run that logs every step, alone or as one of several processes on this machine.

``python training_process.py BASE OUTPUT SETTINGS`` is one process; ``SETTINGS`` are those of ``train_logged``, as JSON.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

SECONDS = 300


def train_logged(base, output, *, recipe, count=43, dev=9, teacher=None, resume=False, stop_at=None):
    """Train on ``count`` questions; what was logged of each step, and of each evaluation.

    Args:
        base: model directory.
        output: where the run goes.
        recipe: settings of a short recipe.
        count: questions to learn from.
        dev: questions to measure by.
        teacher: model directory.
        resume: go on with a run.
        stop_at: end as a kill would after so many steps.
    """
    import pytest
    from transformers import TrainerCallback

    from blockskim.training import train as training
    from synthetic_task import examples
    from training_runs import short_recipe

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == stop_at:
                os._exit(9)

    made = training.training_arguments, training.SkimTrainer.__init__

    def arguments(*given):
        values = made[0](*given)
        values.logging_steps = 1
        return values

    def stopping(self, *given, **named):
        made[1](self, *given, **named)
        self.add_callback(Stop())

    data = examples(count, 0), examples(dev, 1)
    # Of several processes, only the first one's data count.
    if os.environ.get("RANK", "0") != "0":
        data = (), ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "training_arguments", arguments)
        patch.setattr(training.SkimTrainer, "__init__", stopping)
        training.train(
            base, *data, output, short_recipe(**recipe), device="cpu", resume=resume, teacher=teacher, report=print
        )


def log_of(output):
    """What was logged of each step: step, losses and figures by name."""
    return json.loads((Path(output) / "training_log.json").read_text())


def in_processes(command, count=2):
    """Run a command in several processes that know of each other; (exit code, output, errors) of each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    running = [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        found = [process.communicate(timeout=SECONDS) for process in running]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(running, found, strict=True)]


def train_in_processes(base, output, **settings):
    """Train in two processes, as ``train_logged`` does in one."""
    return in_processes([__file__, base, output, json.dumps(settings)])


if __name__ == "__main__":
    train_logged(Path(sys.argv[1]), Path(sys.argv[2]), **json.loads(sys.argv[3]))
