"""The hospitals' records: who is in which split, and what a damaged file is told."""

from pathlib import Path

import numpy as np
import pytest

from examples.heart.data import (
    CSV,
    FEATURES,
    NUMBERS,
    SITES,
    MalformedRecordsError,
    load_site,
    load_sites,
    read_patients,
)

HEADER = "id,age,sex,dataset,cp,trestbps,chol,fbs,restecg,thalch,exang,oldpeak,slope,ca,thal,num"
CELLS = {
    "id": "1",
    "age": "63",
    "sex": "Male",
    "dataset": "Cleveland",
    "cp": "asymptomatic",
    "trestbps": "145",
    "chol": "233",
    "fbs": "TRUE",
    "restecg": "normal",
    "thalch": "150",
    "exang": "FALSE",
    "oldpeak": "2.3",
    "slope": "flat",
    "ca": "0",
    "thal": "normal",
    "num": "0",
}


def written(folder: Path, *lines: str) -> Path:
    path = folder / "patients.csv"
    path.write_text("\n".join((HEADER, *lines)) + "\n", encoding="utf-8")
    return path


def line(**changed: str) -> str:
    return ",".join((CELLS | changed).values())


def test_the_file_holds_920_patients_of_four_hospitals() -> None:
    patients = read_patients()

    assert {site: sum(p.site == site for p in patients) for site in SITES} == {
        "Cleveland": 304,
        "Hungary": 293,
        "Switzerland": 123,
        "VA Long Beach": 200,
    }


@pytest.mark.parametrize("name", SITES)
def test_a_patient_is_in_one_split_of_one_site(name: str) -> None:
    site = load_site(name)
    everyone = {p.id for p in read_patients() if p.site == name}

    assert set(site.train.ids) | set(site.test.ids) == everyone
    assert not set(site.train.ids) & set(site.test.ids)


@pytest.mark.parametrize("name", SITES)
def test_both_splits_of_a_site_have_its_prevalence_and_seventy_to_thirty(name: str) -> None:
    site = load_site(name)

    assert len(site.train) == pytest.approx(0.7 * (len(site.train) + len(site.test)), abs=1)
    assert site.train.labels.mean() == pytest.approx(site.test.labels.mean(), abs=0.02)


def test_the_split_is_the_same_in_every_run_and_on_every_machine() -> None:
    """Ids written down once: a changed split would silently change every published figure."""
    assert load_site("Switzerland").test.ids[:6] == (599, 602, 603, 606, 612, 615)
    assert load_site("Switzerland", seed=1).test.ids != load_site("Switzerland").test.ids


def test_every_site_has_the_same_finite_columns() -> None:
    for site in load_sites():
        for samples in (site.train, site.test):
            assert samples.features.shape == (len(samples), len(FEATURES))
            assert np.isfinite(samples.features).all()
            assert set(np.unique(samples.labels)) == {0.0, 1.0}


def test_a_site_scales_by_its_training_split_alone() -> None:
    site = load_site("Hungary")
    ages = site.train.features[:, NUMBERS.index("age")]

    assert ages.mean() == pytest.approx(0, abs=1e-9)
    assert ages.std() == pytest.approx(1, abs=1e-9)
    assert abs(site.test.features[:, NUMBERS.index("age")].mean()) > 1e-6


def test_the_scale_does_not_see_the_test_patients(tmp_path: Path) -> None:
    site = load_site("Hungary")
    lines = CSV.read_text(encoding="utf-8").splitlines()
    outlier = str(site.test.ids[0])
    changed = [
        ",".join([cells[0], "120", *cells[2:]]) if cells[0] == outlier else ",".join(cells)
        for cells in (row.split(",") for row in lines)
    ]
    path = tmp_path / "changed.csv"
    path.write_text("\n".join(changed), encoding="utf-8")

    again = load_site("Hungary", path)

    np.testing.assert_array_equal(again.train.features, site.train.features)
    assert again.test.features[0, 0] > site.test.features[0, 0]


def test_a_cholesterol_of_zero_is_missing_for_all_of_switzerland() -> None:
    site = load_site("Switzerland")

    assert (site.train.features[:, FEATURES.index("chol missing")] == 1).all()
    assert (site.train.features[:, FEATURES.index("chol")] == 0).all()


def test_each_category_is_told_by_exactly_one_column() -> None:
    site = load_site("VA Long Beach")
    chest_pain = [column for column, name in enumerate(FEATURES) if name.startswith("cp = ")]

    assert (site.train.features[:, chest_pain].sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    "changed, needed",
    [
        ({"num": "5"}, "num as a whole number from 0 to 4"),
        ({"num": ""}, "num as a whole number from 0 to 4"),
        ({"id": "-1"}, "id as a whole number"),
        ({"age": "sixty"}, "age as a finite number"),
        ({"chol": "nan"}, "chol as a finite number"),
        ({"oldpeak": "inf"}, "oldpeak as a finite number"),
        ({"cp": "some"}, "cp as one of asymptomatic"),
        ({"dataset": "Bern"}, "dataset as one of Cleveland"),
    ],
)
def test_a_value_its_column_cannot_hold_is_refused_with_line_and_reason(
    tmp_path: Path, changed: dict[str, str], needed: str
) -> None:
    path = written(tmp_path, line(id="7"), line(**changed))

    with pytest.raises(MalformedRecordsError, match=needed) as caught:
        read_patients(path)

    assert caught.value.line == 3
    assert caught.value.path == path


def test_a_missing_column_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("id,age\n1,63\n", encoding="utf-8")

    with pytest.raises(MalformedRecordsError, match="needed columns dataset, num"):
        read_patients(path)


def test_a_line_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedRecordsError, match="end of the line"):
        read_patients(written(tmp_path, "1,63,Male,Cleveland"))


def test_a_patient_listed_twice_is_refused(tmp_path: Path) -> None:
    """The same patient in both splits would make the test split a lie."""
    with pytest.raises(MalformedRecordsError, match="1 again"):
        read_patients(written(tmp_path, line(), line()))


def test_a_site_without_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedRecordsError, match="patients of Hungary"):
        load_site("Hungary", written(tmp_path, line()))


def test_an_unknown_site_is_refused_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"Bern.*Cleveland"):
        load_site("Bern")
