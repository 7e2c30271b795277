"""The command line beside a scripted vendor that signs in whoever asks: for blocks of documents.

``python -m tests.helpers.signed_in login chatgpt``
"""

from __future__ import annotations

import sys
import threading

import pytest

from skillopt.cli import main
from tests.services.plans import browse, signing_in

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch, signing_in(patch):

        def opened(url: str) -> bool:
            threading.Thread(target=browse, args=(url,)).start()
            return True

        patch.setattr("webbrowser.open", opened)
        main(sys.argv[1:])
