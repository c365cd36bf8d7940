"""The DataLoader: batches from a data set, optionally prepared ahead by worker threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

import pt2q
from pt2q import Tensor
from pt2q.utils.data.dataset import IterableDataset
from pt2q.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler


def default_collate(batch: list[Any]) -> Any:
    """Stacks samples: tensors and arrays along a new first axis, numbers into a tensor."""
    first = batch[0]
    if isinstance(first, Tensor):
        return pt2q.stack(batch, 0)
    if isinstance(first, (np.ndarray, np.generic)):
        return pt2q.from_numpy(np.stack(batch))
    if isinstance(first, bool):
        return pt2q.tensor(batch)
    if isinstance(first, float):
        return pt2q.tensor(batch, dtype=pt2q.float64)
    if isinstance(first, int):
        return pt2q.tensor(batch, dtype=pt2q.int64)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(list(items)) for items in zip(*batch)))
    if isinstance(first, (tuple, list)):
        if len({len(sample) for sample in batch}) > 1:
            raise RuntimeError("each element in list of batch should be of equal size")
        return [default_collate(list(items)) for items in zip(*batch)]
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first).__name__}: pass collate_fn="
    )


class DataLoader:
    """Iterates over batches of ``dataset``.

    ``num_workers`` > 0 prepares ``prefetch_factor`` batches per worker ahead in threads (PyTorch uses
    processes; image decoding releases the GIL, so threads do). Arguments that only matter with CUDA or
    processes (pin_memory, multiprocessing_context, ...) are accepted and have no effect.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        **_: Any,
    ) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        self.dataset, self.num_workers = dataset, num_workers
        self.prefetch_factor = prefetch_factor or 2
        self.timeout, self.pin_memory, self.generator = timeout, pin_memory, generator
        self._stream = isinstance(dataset, IterableDataset)
        if self._stream and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader with IterableDataset: unexpected shuffle, sampler or batch_sampler")  # fmt: skip
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")  # fmt: skip
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")  # fmt: skip
        if sampler is None and not self._stream:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)  # fmt: skip
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler([] if sampler is None else sampler, batch_size, drop_last)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler, self.batch_sampler = sampler, batch_sampler
        batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else _convert_sample)

    def _fetch(self, indices: Any) -> Any:
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[indices])
        return self.collate_fn([self.dataset[i] for i in indices])

    def _stream_batches(self) -> Iterator[Any]:
        if self.batch_size is None:
            for sample in self.dataset:
                yield self.collate_fn(sample)
            return
        batch: list[Any] = []
        for sample in self.dataset:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.collate_fn(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.collate_fn(batch)

    def __iter__(self) -> Iterator[Any]:
        if self._stream:
            yield from self._stream_batches()
            return
        order = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)
        if self.num_workers == 0:
            for indices in order:
                yield self._fetch(indices)
            return
        with ThreadPoolExecutor(self.num_workers, thread_name_prefix="pt2q-data") as pool:
            pending: deque[Future[Any]] = deque()
            for indices in order:
                pending.append(pool.submit(self._fetch, indices))
                if len(pending) > self.num_workers * self.prefetch_factor:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def __len__(self) -> int:
        if self._stream:
            count = len(self.dataset)  # TypeError for streams of unknown length
            if self.batch_size is None:
                return count
            return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)


def _convert_sample(sample: Any) -> Any:
    """Without batching: arrays become tensors, everything else stays."""
    if isinstance(sample, np.ndarray):
        return pt2q.from_numpy(sample)
    if isinstance(sample, tuple):
        return tuple(_convert_sample(item) for item in sample)
    if isinstance(sample, list):
        return [_convert_sample(item) for item in sample]
    return sample
