"""Prints contract/data/models.json: the models that an agent-server's libraries know, and where their providers are.

Run it with the Python of the pinned agent-server, which has the libraries, and without a network:

    python scripts/renew-models.py > contract/data/models.json

Names come from litellm's own table of models (those for chat), the verified ones from the SDK.
"""

import json
import os
import sys
import warnings
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
warnings.simplefilter("ignore")

import litellm  # noqa: E402
from litellm import LlmProviders, ProviderConfigManager, get_llm_provider  # noqa: E402
from openhands.sdk.llm.utils.verified_models import VERIFIED_MODELS  # noqa: E402

CHAT = {"chat", "completion", "responses"}


def provider_of(model: str) -> str | None:
    for provider in ("openai", "anthropic", "mistral"):
        if model in VERIFIED_MODELS.get(provider, []):
            return provider
    try:
        return get_llm_provider(model)[1] or None
    except Exception:
        return None


def full_name(model: str) -> str | None:
    if "/" in model:
        return model
    provider = provider_of(model)
    return f"{provider}/{model}" if provider else None


def address_of(provider: str, model: str) -> str | None:
    """Where the provider is reached when nobody says otherwise; none for those that are at home everywhere."""
    found = None
    try:
        info = ProviderConfigManager.get_provider_model_info(model, LlmProviders(provider))
        found = info.get_api_base() if info and hasattr(info, "get_api_base") else None
    except Exception as error:
        print(f"{provider}: {error}", file=sys.stderr)
    if not found:
        try:
            found = get_llm_provider(model)[3]
        except Exception:
            found = None
    if provider != "openai" and found and "api.openai.com" in found:
        return None  # inherited in the library, and not meant
    return found if found and found.startswith("https://") else None


names = {
    full_name(model)
    for model, about in litellm.model_cost.items()
    if about.get("mode") in CHAT and not model.startswith("bedrock") and not about.get("litellm_provider", "").startswith("bedrock")
}
names |= {f"{provider}/{name}" for provider, known in VERIFIED_MODELS.items() for name in known}
names.discard(None)
by_provider: dict[str, list[str]] = {}
for name in sorted(names):
    provider, model = name.split("/", 1)
    by_provider.setdefault(provider, []).append(model)
addresses = {provider: address_of(provider, f"{provider}/{known[0]}") for provider, known in by_provider.items()}

print(
    json.dumps(
        {
            "source": {name: version(name) for name in ("openhands-sdk", "litellm")},
            "addresses": {provider: address for provider, address in addresses.items() if address},
            "models": by_provider,
        },
        indent=2,
        ensure_ascii=False,
    )
)
