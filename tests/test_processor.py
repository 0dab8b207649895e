"""What the system tells of the processor."""

from blockskim.processor import processor


def test_the_processor_is_named_with_the_instructions_that_matter(tmp_path):
    (tmp_path / "proc").mkdir()
    told = "processor : 0\nmodel name\t: Some Processor\nflags\t\t: fpu avx2 sse amx_tile\n\nprocessor : 1\n"
    (tmp_path / "proc" / "cpuinfo").write_text(told)
    assert processor(tmp_path) == ("Some Processor", ["avx2", "amx_tile"])


def test_a_processor_of_which_the_system_tells_nothing_has_a_name_all_the_same(tmp_path):
    name, instructions = processor(tmp_path)
    assert name and instructions == []
