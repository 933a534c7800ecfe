"""Registers one plugin of each kind."""

from acme_api1.cache.plugin import wherry_register_caches
from acme_api1.chunker.plugin import wherry_register_chunkers
from acme_api1.cipher.plugin import wherry_register_ciphers
from acme_api1.command.plugin import wherry_register_commands
from acme_api1.compressor.plugin import wherry_register_compressors
from acme_api1.locator.plugin import wherry_register_locators
from acme_api1.observer.plugin import wherry_register_observers
from acme_api1.policy.plugin import wherry_register_policies
from acme_api1.transport.plugin import wherry_register_transports

__all__ = (
    "wherry_register_caches",
    "wherry_register_chunkers",
    "wherry_register_ciphers",
    "wherry_register_commands",
    "wherry_register_compressors",
    "wherry_register_locators",
    "wherry_register_observers",
    "wherry_register_policies",
    "wherry_register_transports",
)
