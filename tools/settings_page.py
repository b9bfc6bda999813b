"""Print the library's page of settings, from their descriptions; run with the library's Python."""

import twinport
from twinport.settings.reference import reference

if __name__ == "__main__":
    print(f"# Settings\n\n```toml\n{reference(twinport.Settings)}```")
