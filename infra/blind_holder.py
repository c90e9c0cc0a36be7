"""The way to the key holder: an encrypted dot product goes there, yes or no comes back; all else is no admission."""

from __future__ import annotations

from pathlib import Path

import httpx2

from biometrics.errors import NotReady

PATH = "/v1/decisions"
LEAST_HEADER = "x-least"
TIMEOUT_SECONDS = 3.0


class BlindHolder:
    """A key holder at a URL, asked with the secret of a file."""

    def __init__(self, url: str, token_file: Path) -> None:
        self._token_file = token_file
        # Proxies of the environment are nobody's business; a redirect would lead to somebody else.
        self._http = httpx2.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False)

    def __repr__(self) -> str:
        return "<BlindHolder>"

    def enough(self, product: bytes, smallest: int) -> bool:
        """Say whether the key holder finds the dot product enough; raise `NotReady` where it says anything else."""
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()
            headers = {"authorization": f"Bearer {token}", LEAST_HEADER: str(smallest)}
            answer = self._http.post(PATH, content=product, headers=headers)
            said = answer.json() if answer.status_code == 200 else None
        except (httpx2.HTTPError, OSError, ValueError):
            raise NotReady("The key holder cannot be reached.", code="blind_unreachable") from None
        if not isinstance(said, dict) or not isinstance(said.get("enough"), bool):
            raise NotReady("The key holder refuses.", code="blind_refused")
        return bool(said["enough"])
