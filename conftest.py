"""What takes long begins first, so that the two workers of `make test` end together."""

from pathlib import Path

# Longest first, as measured. Between the tables and Figure 3, which invert what the other figures then read from the disk, and these
# figures stand the trainings: two workers do not make the same inversion at once.
LONG = ("quickstart", "table1_reconstruction", "table2_preference", "fig03_tradeoff", "biggan", "predictor", "generator",
        "test_biggan_training", "test_notebooks_own_domain", "test_training_encoders", "test_whole_method")


def pytest_collection_modifyitems(items):
    def place(item):
        file = Path(item.fspath)
        return LONG.index(file.stem) if file.stem in LONG else len(LONG) + (file.suffix == ".py")

    items.sort(key=place)  # then the other notebooks, then the other tests, which are short, each as they are
