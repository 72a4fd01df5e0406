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
