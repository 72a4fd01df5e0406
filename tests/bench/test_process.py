import os

from bench import process


def test_field_reads_a_number_by_its_name():
    text = "VmRSS:\t  1234 kB\nThreads:\t5\n"
    assert process.field(text, "VmRSS") == 1234
    assert process.field(text, "Threads") == 5
    assert process.field(text, "Rss") == 0


def test_a_running_process_has_a_size_and_used_the_processor():
    size, usage = process.size(os.getpid()), process.usage(os.getpid())
    assert size.rss_mib >= size.pss_mib > 1.0
    assert size.threads >= 1
    assert size.files >= 3
    assert usage.cpu_s > 0.0


def test_the_peak_counts_from_when_it_was_forgotten():
    block = b"x" * (64 << 20)
    highest_mib = process.peak_mib(os.getpid())
    del block
    process.forget_peak(os.getpid())
    assert process.peak_mib(os.getpid()) < highest_mib - 32
