"""A traced command's secrets are not kept in its recipe, and nothing else of the command is lost."""

import pytest

from preheat.core.secret_text import HIDDEN
from preheat.verbs.tracing.secret_words import without_secrets

TOKEN = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC2eF4"


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (("app", "--token", "s3cr3t"), ("app", "--token", HIDDEN)),
        (("app", "--hf_token=s3cr3t", "-v"), ("app", f"--hf_token={HIDDEN}", "-v")),
        (("app", "--api-key", "s3cr3t", "x"), ("app", "--api-key", HIDDEN, "x")),
        (("app", "--db.password", "hunter2"), ("app", "--db.password", HIDDEN)),
        (("env", "OPENAI_API_KEY=s3cr3t", "app"), ("env", f"OPENAI_API_KEY={HIDDEN}", "app")),
        (("env", "TOKEN=s3cr3t", "app"), ("env", f"TOKEN={HIDDEN}", "app")),
        (("app", TOKEN), ("app", HIDDEN)),
        (("app", "--login", f"user:{TOKEN}"), ("app", "--login", f"user:{HIDDEN}")),
        (("app", "--url", "https://user:s3cr3t@a.example/x"), ("app", "--url", "https://a.example/x")),
        (("app", "--my", "mine-0123456789"), ("app", "--my", HIDDEN)),
        (("app", "--token=s3cr3t", "--token", "s3cr3t"), ("app", f"--token={HIDDEN}", "--token", HIDDEN)),
    ],
)
def test_a_secret_is_not_kept_and_named(command: tuple[str, ...], kept: tuple[str, ...]) -> None:
    words, found = without_secrets(command, ("mine-0123456789",))
    assert words == kept
    assert found
    assert not any(secret in one for one in found for secret in ("s3cr3t", TOKEN, "hunter2", "mine-0123456789"))


@pytest.mark.parametrize(
    "command",
    [
        ("python", "webui.py", "--port", "{port}", "--model-dir", "checkpoints"),
        ("app", "--max-tokens", "512", "--max_new_token", "512", "--pad-token", "<pad>", "--eos_token=</s>"),
        ("app", "--tokenizer", "gpt2", "--token-limit", "9", "--token", "--verbose"),
        ("app", "--use-auth-token", "true", "--token", "$TOKEN", "--password", "", "--api-key={key}"),
        ("sh", "-c", "exec app --port $PORT"),
        ("app", "--secret-name", "x", "--token-file", "/run/secrets/token"),
    ],
)
def test_words_that_are_no_secrets_are_kept(command: tuple[str, ...]) -> None:
    assert without_secrets(command) == (command, ())
