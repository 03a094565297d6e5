"""The interface of a kind of input: which samples, which features, what is padding."""

import torch

from lightning_explain.render.modalities import film_frame
from lightning_explain.render.modalities.table import class_means
from lightning_explain.render.modality import film_rows
from lightning_explain.render.shown_inputs import shown_input


def test_a_film_shows_the_first_sample_of_each_class_and_at_most_ten() -> None:
    assert film_rows(torch.tensor([3, 3, 0, 5]), 4) == [2, 0, 3]
    assert film_rows(None, 3) == [0, 1, 2]
    assert len(film_rows(torch.arange(30), 30)) == len(film_rows(None, 30)) == 10
    values, labels = torch.randn(4, 2, 5, 5), torch.tensor([3, 3, 0, 5])
    images, table = shown_input(values), shown_input(values[:, 0, 0])
    torch.testing.assert_close(film_frame(images, values, labels), values.sum(1)[[2, 0, 3]])
    torch.testing.assert_close(film_frame(table, values[:, 0, 0], labels), class_means(values[:, 0, 0], labels)[0])
