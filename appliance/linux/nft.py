"""nftables through nft(8): whole tables, replaced in one transaction."""

from __future__ import annotations

from appliance.linux.process import CommandFailed, run


async def replace(family: str, table: str, rules: str) -> None:
    """Puts `rules` (one `table … { … }`) in the place of that table, or makes it; nobody sees a state between."""
    text = f"table {family} {table}\ndelete table {family} {table}\n{rules}"
    await run("nft", "-f", "-", stdin=text.encode())


async def listing(family: str, table: str) -> str | None:
    """The table as nft shows it, without counters; None where there is none."""
    try:
        return (await run("nft", "-s", "list", "table", family, table)).decode()
    except CommandFailed:
        return None


async def delete(family: str, table: str) -> None:
    """Removes the table; none there is fine."""
    await run("nft", "-f", "-", stdin=f"table {family} {table}\ndelete table {family} {table}\n".encode())
