"""`longhand erase`: Destroy the key of a case: its free texts become unreadable, the log's chain still holds."""

import json
from pathlib import Path
from typing import Annotated

import typer

from safety.log.privacy import PrivacyError, destroy, key_file

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: longhand erase SIM-0001 --keys out/a/keys --yes")
def main(
    case_id: Annotated[str, typer.Argument(help="Pseudonym of the case, as in the log's header.")],
    keys: Annotated[Path, typer.Option(help="The site's key folder; the case keys lie in its cases/.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: this cannot be undone.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Overwrite and remove the case's key and keep a receipt. The logs themselves are not touched and verify as before."""
    try:
        path = key_file(keys, case_id)
        if not path.exists():
            raise PrivacyError(f"{path}: no such key: never made, or erased already (see {path.parent / 'erased.jsonl'})")
        if not yes and not typer.confirm(f"Destroy {path}? The free texts of case {case_id} can never be read again"):
            raise typer.Exit(1)
        receipt = destroy(path, case_id)
    except (PrivacyError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    print(json.dumps(receipt) if json_ else f"erased: key {receipt['key_id']} of case {case_id}. {receipt['note']}")
