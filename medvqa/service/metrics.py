"""What is counted of the service, for Prometheus; no label tells of a patient, a question or a caller."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
_TOGETHER = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "medvqa_requests",
            "Requests, by path as documented and HTTP status.",
            ("path", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "medvqa_request_seconds",
            "Seconds from a request's first byte to the last of its response.",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "medvqa_waiting_questions", "Questions that wait for the model.", registry=self.registry
        )
        self.together = Histogram(
            "medvqa_questions_asked_together",
            "Questions that were put to the model as one batch.",
            buckets=_TOGETHER,
            registry=self.registry,
        )
        self.answers = Counter(
            "medvqa_answers", "Answers of the model, by verdict.", ("verdict",), registry=self.registry
        )
        self.refusals = Counter(
            "medvqa_refusals", "Questions that the gate or the model refused.", registry=self.registry
        )
        self.recalled = Counter(
            "medvqa_recalled_answers",
            "Answers that were found in the trail, so that the model was not asked.",
            registry=self.registry,
        )

    def written(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
