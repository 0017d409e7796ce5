"""What an asset was made from, told to Dagster by the registry's ids.

Left alone, Dagster notes whatever version of an input is the newest, also where a manifest pins an older one, and calls the result fresh.
Each asset therefore says itself what it used, and the registry remains the truth.
"""


def used(**inputs: str) -> dict[str, str]:
    """Tags of a materialisation: asset that was read -> id of the record that was used."""
    return {f"dagster/input_data_version/{asset}": identifier for asset, identifier in inputs.items()}
