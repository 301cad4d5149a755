"""The gallery's pictures, each with the alternative text that its example gives."""

import re

from sphinx_gallery.py_source_parser import extract_file_config
from sphinx_gallery.scrapers import matplotlib_scraper


def pictures(block, block_vars, gallery_conf, **options):
    """What matplotlib has drawn in a block, which says what is to be seen: # sphinx_gallery_alt = "..."."""
    found, options_of_block = matplotlib_scraper(block, block_vars, gallery_conf, **options), extract_file_config(block[1])
    return re.sub(r":alt: .*", lambda _: f":alt: {options_of_block['alt']}", found)
