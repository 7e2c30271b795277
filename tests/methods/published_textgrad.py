"""What TextGrad's package, unmodified from PyPI, asks and decides in a conversation.

Run in an environment that has textgrad 0.1.8, with the batches as JSON on standard input; prints
the steps as JSON. The loop is that of ``evaluation/prompt_optimization.py`` with
``--run_validation`` (zou-group/textgrad, commit 75e912e), without its passes over the test set and
with batches that are given: its own loader shuffles with NumPy.
"""

import json
import sys
from tempfile import mkdtemp

import textgrad as tg
from textgrad.autograd.string_based_ops import StringBasedFunction
from textgrad.engine import EngineLM
from textgrad.engine.base import CachedEngine
from textgrad_conversation import BODY, Conversation, in_order

talk = Conversation()


class Backward(EngineLM):
    """The model that criticises and rewrites."""

    model_string = "backward"

    def generate(self, prompt, system_prompt=None, **_):
        return talk.answer(f"{system_prompt or self.system_prompt}\n{prompt}")

    __call__ = generate


class Agent(EngineLM, CachedEngine):
    """The model that works with the prompt. It caches as the package's engines do."""

    model_string = "agent"

    def __init__(self):
        super().__init__(mkdtemp())
        self.ran = []

    def generate(self, prompt, system_prompt=None, **_):
        cached = self._check_cache(system_prompt + prompt)
        if cached is not None:
            return cached
        self.ran.append(prompt)
        response = f"{system_prompt}\nThat was {prompt}"
        self._save_cache(system_prompt + prompt, response)
        return response

    __call__ = generate

    def new(self):
        """What was run since the last time."""
        ran, self.ran = self.ran, []
        return sorted(ran)


def score(prediction, ground_truth_answer):
    return str(int(f"- rule {ground_truth_answer.value[-1]}" in prediction.value))


backward, agent = Backward(), Agent()
tg.set_backward_engine(backward, override=True)
evaluate = StringBasedFunction(score, function_purpose="whether the task is solved")
system_prompt = tg.Variable(
    BODY,
    requires_grad=True,
    role_description="structured system prompt to a somewhat capable language model",
)
model = tg.BlackboxLLM(agent, system_prompt)
optimizer = tg.TextualGradientDescent(engine=backward, parameters=[system_prompt])


def loss_of(name):
    x = tg.Variable(name, requires_grad=False, role_description="query to the language model")
    y = tg.Variable(name, requires_grad=False, role_description="correct answer for the query")
    return evaluate(inputs={"prediction": model(x), "ground_truth_answer": y})


def performance(names):
    return sum(int(loss_of(name).value) for name in names) / len(names)


given = json.load(sys.stdin)
results = {"validation_acc": [performance(given["val"])], "prompt": [system_prompt.get_value()]}
steps = [{"validated": agent.new(), "score": results["validation_acc"][0]}]
for batch in given["batches"]:
    step = talk.begin()
    steps.append(step)
    optimizer.zero_grad()
    losses = [loss_of(name) for name in batch]
    step["ran"] = agent.new()
    tg.sum(losses).backward()
    try:
        optimizer.step()
    except IndexError:
        step["decision"] = "the program ends"
        break
    previous = results["validation_acc"][-1]
    found = performance(given["val"])
    step["validated"], step["score"] = agent.new(), found
    step["decision"] = "undone" if found < previous else "kept"
    if found < previous:
        system_prompt.set_value(results["prompt"][-1])
        found = previous
    results["validation_acc"].append(found)
    results["prompt"].append(system_prompt.get_value())
    step["body"] = system_prompt.get_value()
json.dump([in_order(step) for step in steps], sys.stdout)
