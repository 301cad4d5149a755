"""The version, and what a report of an error should name beside it."""

__version__ = "0.1.0"
DOCUMENTATION = ""  # the address of the built pages, to which notebooks then link; empty: no links


def show_versions() -> None:
    """Print the versions of skgd, of what it needs and of the machine, and whether the compiled kernel runs.

    Examples
    --------
    >>> import skgd
    >>> skgd.show_versions()  # doctest: +SKIP
    skgd: 0.1.0, compiled kernel
    ...
    """
    from sklearn import show_versions as show_versions_of_scikit_learn

    from skgd._problem import engine

    print(f"skgd: {__version__}, {'compiled kernel' if engine.__name__.endswith('_kernel') else 'NumPy, no compiled kernel'}")
    show_versions_of_scikit_learn()
