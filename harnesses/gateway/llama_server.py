"""The child process of :mod:`harnesses.gateway.llamacpp`, run with its settings as argument.

It serves until its standard input ends, which happens in any case if its parent dies.
"""

from __future__ import annotations

import json
import sys


def main(settings: str) -> None:
    """Load the model, print the address as one line of JSON, and serve.

    Args:
        settings: JSON with path, name, context, parallel, threads and template.
    """
    import xllamacpp

    wanted = json.loads(settings)
    params = xllamacpp.CommonParams()
    params.model.path = wanted["path"]
    params.model_alias = {wanted["name"]}
    params.port = 0
    # llama.cpp divides the context among its slots.
    params.n_ctx = wanted["context"] * wanted["parallel"]
    params.n_parallel = wanted["parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = wanted["threads"]
    params.cache_ram_mib = 0  # Without it the cache grows to gigabytes.
    params.verbosity = 0
    params.ui = False
    if wanted["template"]:
        params.chat_template = wanted["template"]
    server = xllamacpp.Server(params)
    print(json.dumps({"address": server.listening_address}), flush=True)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main(sys.argv[1])
