"""Explaining: an explanation for who waits for it, in a command or in a thread; nobody's reactor is asked."""

from random import Random

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.config.model import Config
from mta.ground import blocking_resolver
from mta.operating.asking import Question
from mta.operating.explain import Explainer, Explanation, Look
from mta.parts import finder


def explain_at_once(config: Config, question: Question, now: float, look: Look | None) -> Explanation:
    """What would become of such a mail, as `Explainer.explain` has it. It takes as long as the DNS does."""
    finding = finder(config, blocking_resolver(config, now), Random())
    results: list[Explanation | Failure] = []
    Deferred.fromCoroutine(Explainer(config).explain(question, finding, now, look)).addBoth(results.append)
    (result,) = results  # nothing was left to wait for, as the resolver waits itself
    if isinstance(result, Failure):
        result.raiseException()
    return result
