"""The documentation: python -m sphinx -W -b html docs docs/_build/html"""

import os
import sys
from pathlib import Path

import skgd
from skgd import _kernel  # noqa: F401 (the examples measure it: without it there is no documentation)
from skgd._version import DOCUMENTATION

os.environ["MPLBACKEND"] = "agg"
sys.path.append(str(Path(__file__).parent))  # of gallery.py

project = "skgd"
author = "The skgd developers"
copyright = author
version = release = skgd.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # MathJax comes with the pages, which then need no network
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "benchmarks/*.md", "examples/*", "**/sg_execution_times.rst"]
templates_path = ["_templates"]
root_doc = "index"
highlight_language = "python"

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
myst_enable_extensions = ["colon_fence", "dollarmath"]
copybutton_prompt_text = r">>> |\.\.\. "  # are not copied, nor is what a line prints
copybutton_prompt_is_regexp = True
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "image_scrapers": ("gallery.pictures",),
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "reference_url": {"skgd": None},
    "doc_module": ("skgd",),
    "backreferences_dir": "generated/backreferences",
    "plot_gallery": "True",
}


KOREAN = {  # words of the theme, which has no Korean of its own
    "Search": "검색",
    "On this page": "이 페이지에서",
    "Skip to main content": "본문으로 건너뛰기",
    "Back to top": "맨 위로",
    "previous": "이전",
    "next": "다음",
    "previous page": "이전 페이지",
    "next page": "다음 페이지",
    "Color mode": "색상 모드",
    "Light": "밝게",
    "Dark": "어둡게",
    "System Settings": "시스템 설정",
    "Site navigation": "사이트",
    "Section Navigation": "차례",
    "Breadcrumb": "현재 위치",
    "Home": "홈",
}


def setup(app):
    """Doctests need an empty line before the end of a block, readers do not."""

    def trim(app, name, source):
        source[0] = source[0].replace("\n\n```\n", "\n```\n")

    def say_language(app, pagename, templatename, context, doctree):
        context["language"] = "ko" if pagename.endswith("_ko") else "en"
        if context["language"] == "ko":
            context["theme_navbar_center"] = ["navbar-ko"]
            context["theme_search_bar_text"] = "문서 검색"
            context["_"] = lambda words: KOREAN.get(words, words)

    app.connect("source-read", trim)
    app.connect("html-page-context", say_language, priority=400)  # before the theme reads it


html_static_path = ["_static"]
html_css_files = ["skgd.css"]
html_baseurl = DOCUMENTATION
html_theme = "pydata_sphinx_theme"
html_title = f"skgd {release}"
html_sidebars = {page: [] for page in ("*", "auto_examples/index")}  # only the API and the gallery have sections
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 5,
    "navbar_end": ["language", "theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
