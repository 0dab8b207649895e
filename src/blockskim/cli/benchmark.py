"""``blockskim benchmark``: latency, throughput and memory of skimming beside named baselines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blockskim.cli import options
from blockskim.cli.benchmark_backend import choose_backend, measured_by
from blockskim.cli.benchmark_options import (
    LIMIT,
    BackendName,
    BenchmarkBackend,
    Measuring,
    OnData,
    OnShape,
    Plot,
    SkimDtype,
    check_backend,
    check_usage,
    measuring_settings,
    random_model_settings,
)
from blockskim.cli.data_files import read_data
from blockskim.cli.option_groups import Computing, Printing, Windowing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.progress import status_line
from blockskim.cli.session import cut_windows, load_model

if TYPE_CHECKING:
    import torch

    from blockskim.profiling.benchmark import Record
    from blockskim.profiling.suite import Subject

TABLE_WIDTH = 240


@takes_groups
def benchmark(
    on_data: OnData = OnData(),
    on_shape: OnShape = OnShape(),
    measuring: Measuring = Measuring(),
    plot: Plot = None,
    model: options.Model = None,
    device: options.DeviceName = options.Device.AUTO,
    dtype: SkimDtype = options.Dtype.FLOAT32,
    threads: options.Threads = None,
    backend: BackendName = BenchmarkBackend.TORCH,
    printing: Printing = Printing(),
) -> None:
    """Time skimming beside baselines, on real data or a random model.

    All take turns in every round; seconds are medians over the rounds, speed-ups medians of the ratios within a round.
    Documents are read whole, however long.
    """
    options.set_up(printing.quiet)
    options.check_one_way(False, on_data.threshold, on_data.point)
    options.check_writable(plot, "--plot")
    options.check_not_lost(plot, [*(on_data.data or []), *(on_data.more or [])], "--plot", "the data")
    check_usage(on_data, on_shape, model)
    settings = measuring_settings(measuring, on_data)
    backend = choose_backend(backend, on_shape, model, device, dtype)
    check_backend(backend, on_shape, device, dtype, settings.baselines)
    random_model = random_model_settings(on_shape)

    from blockskim.extras import load_matplotlib
    from blockskim.inference.devices import choose_device, choose_dtype, set_threads
    from blockskim.profiling.report import save_plot
    from blockskim.profiling.suite import random_subject, run_suite

    if plot is not None:
        load_matplotlib()
    set_threads(threads)
    # Everything is where the exported model is.
    place = device if backend is BenchmarkBackend.TORCH else options.Device.CPU
    chosen_device = choose_device(place.value)
    number_format = choose_dtype(dtype.value, chosen_device)
    if random_model is None:
        # Baselines compute in float32.
        subject = _on_data(on_data, Computing(model, place, options.Dtype.FLOAT32), settings.seed)
    else:
        subject = random_subject(random_model, settings.seed, chosen_device)
    rounds = len(settings.batch_sizes) * (settings.warmup + settings.repeats)
    with (
        status_line(printing.quiet, _start(subject, number_format, backend), "rounds", rounds) as progress,
        measured_by(subject, backend, model, on_data, threads, progress) as measured,
    ):
        records = run_suite(measured, settings, number_format, progress)
    if printing.as_json:
        print_json([record.to_dict() for record in records])
    else:
        _show(records, settings.baselines)
    # The figures are safe by now, should there be no room for a picture.
    if plot is not None:
        save_plot(records, plot)


def _start(subject: "Subject", dtype: "torch.dtype", backend: BenchmarkBackend) -> str:
    """What a benchmark is about, on a line."""
    work = subject.workload
    number_format = str(dtype).removeprefix("torch.")
    if backend is not BenchmarkBackend.TORCH:
        number_format = f"{'int8' if backend is BenchmarkBackend.ONNX_INT8 else 'float32'} on ONNX Runtime"
    windows = "" if work.windows is None else f", {len(work.windows):,} windows"
    return f"measuring on {work.name}{windows}, {subject.model.device}, {number_format}"


def _on_data(on_data: OnData, computing: Computing, seed: int) -> "Subject":
    """A model in float32, the windows of data files, and what to skim with."""
    from blockskim.data.splitting import sample_examples
    from blockskim.errors import DataError
    from blockskim.inference.operating_point import choose_thresholds
    from blockskim.profiling.suite import Subject
    from blockskim.profiling.workloads import Workload

    files = [*(on_data.data or []), *(on_data.more or [])]
    examples = sample_examples(read_data(files, on_data.format, answers="wanted"), on_data.limit or LIMIT, seed)
    if not examples:
        raise DataError(f"{files[0]} holds no questions")
    loaded = load_model(computing)
    thresholds = choose_thresholds(loaded.model, threshold=on_data.threshold, point=on_data.point, name=loaded.name)
    windows = cut_windows(loaded, examples, Windowing(max_length=on_data.max_length))
    names = ", ".join(file.name for file in files)
    return Subject(loaded.model, Workload(f"{names}, {len(examples)} examples", windows), thresholds)


def _show(records: "Sequence[Record]", baselines: Sequence[str]) -> None:
    from blockskim.profiling.report import records_table, speedup_table

    out = console()
    # Lines that a terminal folds can be read, columns that were cut can't.
    out.width = max(out.width, TABLE_WIDTH)
    out.print(records_table(records), speedup_table(records, baselines))
