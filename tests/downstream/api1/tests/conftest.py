"""The suites' ``async def`` tests are run by wherry's own plugin for pytest."""

pytest_plugins = ["wherry.testing.plugin"]
