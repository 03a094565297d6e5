"""Markup in which names from data can be nothing but text."""

from lightning_explain.report.markup import Markup, clean, el


def test_escaping() -> None:
    made = el("p", "<b>", Markup("<i></i>"), title='"><script>')
    assert made.code == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;<i></i></p>'
    assert clean("a\nb\u202ec\u0000") == "a bc"
    assert len(clean("é" * 10_000)) == 80
