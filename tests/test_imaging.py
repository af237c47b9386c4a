import json
import time
import warnings
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.transforms.compose import Compose
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_voi_lut, apply_windowing

from medvqa import imaging
from medvqa.errors import PixelError
from medvqa.imaging import transforms
from medvqa.types import Applied, Frame, Image, ImageRef, LookupTable, Window

REF = ImageRef(
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.3.4",
    sop_instance_uid="1.2.3.4.5",
    frame_number=1,
    pixel_sha256="0" * 64,
    file_sha256="1" * 64,
)
WINDOW = Window(center=40, width=400)
ODD_SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 17))
STORED = hnp.arrays(np.int16, ODD_SHAPES)
ANY_FLOAT = hnp.arrays(np.float32, ODD_SHAPES)
MODALITIES = ["CT", "MR", "CR", "DX", "MG", "XA", "US", "PT", "OT", "unknown"]


def frame(values: Any, *, modality: str = "CT", **options: Any) -> Frame:
    values = np.asarray(values)
    if values.dtype != np.uint8 or values.ndim == 2:
        values = values.astype(np.float32)
    options = {"photometric_interpretation": "RGB" if values.ndim == 3 else "MONOCHROME2"} | options
    values.setflags(write=False)
    return Frame(ref=REF, modality=modality, values=values, **options)


def pixels(values: Any, **options: Any) -> NDArray[np.float32]:
    return imaging.present(frame(values, **options)).pixels


def rebuild(applied: Applied, source: Frame) -> Any:
    parameters = dict(applied.parameters)
    if applied.name == "voi_lut":
        assert source.voi_lut is not None
        parameters = {k: v for k, v in parameters.items() if k in ("first_mapped", "bits")}
        parameters["entries"] = source.voi_lut.entries
    return getattr(transforms, applied.name.title().replace("_", ""))(**parameters)


def replay(image: Image, source: Frame) -> NDArray[np.float32]:
    recorded = json.loads(json.dumps([[a.name, dict(a.parameters)] for a in image.applied]))
    return Compose([rebuild(Applied(name=n, parameters=p), source) for n, p in recorded])(source.values)


def voi_dataset(**elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored = 16
    dataset.PixelRepresentation = 1
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def test_ct_passes_over_a_window_that_shows_one_grey() -> None:
    brain, bone = Window(center=30, width=100), np.linspace(300, 900, 64).reshape(8, 8)
    image = imaging.present(frame(bone, windows=(brain,)))
    assert image.applied[0].parameters["source"] == "bone"
    assert np.ptp(image.pixels) > 0.3
    assert imaging.present(frame(bone, windows=(brain,)), window="file").pixels.min() == 1


class TestVoi:
    @pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
    @given(
        values=STORED,
        center=st.floats(-2000, 2000).map(lambda x: round(x, 2)),
        width=st.floats(1, 5000).map(lambda x: round(x, 2)),
    )
    def test_follows_pydicom(
        self,
        function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"],
        values: NDArray[np.int16],
        center: float,
        width: float,
    ) -> None:
        dataset = voi_dataset(WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
        with warnings.catch_warnings(action="ignore"):  # pydicom's exponential overflows
            expected = (apply_windowing(values, dataset) + 2**15) / (2**16 - 1)
        one = Window(center=center, width=width, function=function)
        shown = imaging.present(frame(values, windows=(one,)), window="file").pixels
        near_step = width < 1.01  # where a rounding of the edge flips black to white
        np.testing.assert_allclose(shown, expected, atol=1.0 if near_step else 1e-3 / (width - 1) + 1e-5)

    def test_linear_at_its_ends(self) -> None:
        # PS3.3 C.11.2.1.2.1, note 2: center 2048, width 4096 is the identity on 12 bits.
        shown = pixels([[0, 1, 4094, 4095]], windows=(Window(center=2048, width=4096),))
        np.testing.assert_allclose(shown, [[0, 1 / 4095, 4094 / 4095, 1]], atol=1e-7)

    def test_linear_of_width_one_is_a_threshold(self) -> None:
        assert pixels([[9, 10, 11]], windows=(Window(center=10.5, width=1),)).tolist() == [[0, 0, 1]]

    @given(
        values=hnp.arrays(np.int16, ODD_SHAPES, elements=st.integers(-300, 300)),
        entries=st.lists(st.integers(0, 4095), min_size=1, max_size=64),
        first=st.integers(-200, 200),
    )
    def test_lut_follows_pydicom(self, values: NDArray[np.int16], entries: list[int], first: int) -> None:
        item = Dataset()
        item.add_new("LUTDescriptor", "SS", [len(entries), first, 12])
        item.add_new("LUTData", "US", entries if len(entries) > 1 else [entries[0]])
        expected = np.asarray(entries)[np.clip(values.astype(int) - first, 0, len(entries) - 1)]
        if len(entries) > 1:
            np.testing.assert_array_equal(apply_voi_lut(values, voi_dataset(VOILUTSequence=[item])), expected)
        lut = LookupTable(first_mapped=first, bits=12, entries=tuple(entries))
        shown = imaging.present(frame(values, voi_lut=lut), window="file").pixels
        np.testing.assert_allclose(shown, expected / 4095, atol=1e-6)

    def test_lut_comes_before_the_window(self) -> None:
        lut = LookupTable(first_mapped=0, bits=8, entries=(255, 0))
        assert pixels([[0, 1]], voi_lut=lut, windows=(WINDOW,)).tolist() == [[1, 0]]

    @given(values=STORED, function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    def test_brighter_stays_brighter(self, values: NDArray[np.int16], function: Any) -> None:
        shown = pixels(values, windows=(Window(center=40, width=400, function=function),))
        order = np.argsort(values, axis=None, kind="stable")
        assert (np.diff(shown.ravel()[order]) >= -1e-6).all()


class TestWhichWindow:
    @pytest.mark.parametrize("name", ["lung", "bone", "brain", "soft_tissue"])
    def test_ct_by_name(self, name: Any) -> None:
        center, width = imaging.CT_WINDOWS[name]
        source = frame([[center - width, center - 0.5, center + width]], windows=(WINDOW,))
        image = imaging.present(source, window=name)
        np.testing.assert_allclose(image.pixels, [[0, 0.5, 1]], atol=1e-6)
        assert image.applied[0].parameters["source"] == name

    def test_ct_takes_the_files_first_window_that_obeys_the_standard(self) -> None:
        bad = (Window(center=0, width=0.5), Window(center=float("nan"), width=9))
        image = imaging.present(frame([[0, 100]], windows=(*bad, WINDOW)))
        assert image.applied[0].parameters == {
            "center": 40,
            "width": 400,
            "function": "LINEAR",
            "source": "file",
        }

    def test_ct_without_window_is_soft_tissue(self) -> None:
        assert imaging.present(frame([[0, 100]])).applied[0].parameters["source"] == "soft_tissue"

    @pytest.mark.parametrize("modality", ["MR", "DX", "unknown"])
    def test_window_that_fits_is_followed(self, modality: str) -> None:
        image = imaging.present(frame([[0, 100, 300]], modality=modality, windows=(WINDOW,)))
        assert image.applied[0].parameters["source"] == "file"

    @pytest.mark.parametrize("modality", ["MR", "DX", "unknown"])
    def test_window_that_misses_the_values_is_not(self, modality: str) -> None:
        astray = Window(center=30_000, width=100)
        image = imaging.present(frame([[0, 100, 300]], modality=modality, windows=(astray,)))
        assert "percentiles" in image.applied[0].parameters["source"]
        assert image.pixels[0, 0] < image.pixels[0, 1] < image.pixels[0, 2]

    def test_percentiles_forgive_a_hot_spot(self) -> None:
        values = np.tile(np.arange(200, dtype=np.float32), (100, 1))
        values[3, 4] = 1e6
        assert pixels(values, modality="MR")[0, 100] == pytest.approx(0.5, abs=0.02)

    @pytest.mark.parametrize(("modality", "ranks"), [("MR", (0.5, 99.5)), ("DX", (0.1, 99.9))])
    def test_percentiles_are_those_of_the_values(self, modality: str, ranks: tuple[float, float]) -> None:
        values = np.random.default_rng(0).gamma(2, 300, (90, 70)).astype(np.float32)
        recorded = imaging.present(frame(values, modality=modality)).applied[0].parameters
        expected = np.percentile(values.astype(np.float64), ranks)
        np.testing.assert_allclose([recorded["low"], recorded["high"]], expected)

    def test_a_few_bright_pixels_on_black_stay_visible(self) -> None:
        values = np.zeros((100, 100))
        values[3, 4] = 7
        shown = pixels(values, modality="MR")
        assert shown[3, 4] == 1
        assert shown.sum() == 1

    def test_ultrasound_of_8_bits_is_shown_as_it_is(self) -> None:
        np.testing.assert_allclose(pixels([[10, 51, 200]], modality="US") * 255, [[10, 51, 200]], rtol=1e-6)

    def test_ultrasound_of_more_bits_is_not_cut(self) -> None:
        assert pixels([[10, 2000, 4000]], modality="US")[0, 1] == pytest.approx(0.5, abs=0.02)

    @pytest.mark.parametrize("modality", ["US", "XC", "unknown", "CT"])
    def test_colour_is_shown_as_it_is(self, modality: str) -> None:
        values = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
        image = imaging.present(frame(values, modality=modality))
        np.testing.assert_array_equal(imaging.to_uint8(image), values)

    def test_named_window_off_ct_is_refused(self) -> None:
        with pytest.raises(PixelError, match=r"'lung' .* Hounsfield .*\(0008,0060\) 'MR': use 'file'"):
            imaging.present(frame([[0, 1]], modality="MR"), window="lung")

    @pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3)])
    def test_file_window_that_is_absent_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(PixelError, match=r"no usable VOI LUT .* leave the window out"):
            imaging.present(frame(np.zeros(shape, np.uint8)), window="file")

    def test_file_window_is_obeyed_on_request_even_where_it_fits_badly(self) -> None:
        astray = Window(center=30_000, width=100)
        image = imaging.present(frame([[0, 100]], modality="MR", windows=(astray,)), window="file")
        assert image.pixels.max() == 0


class TestPolarityAndPadding:
    def test_monochrome1_is_turned_over_after_the_window(self) -> None:
        values = [[-500, -100, 40, 100, 500]]
        plain = pixels(values, windows=(WINDOW,))
        turned = pixels(values, windows=(WINDOW,), photometric_interpretation="MONOCHROME1")
        np.testing.assert_allclose(turned, 1 - plain)

    @pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize("modality", MODALITIES)
    def test_padding_is_black(self, polarity: str, modality: str) -> None:
        values = np.tile(np.arange(100, 200, dtype=np.float32), (5, 1))
        values[:, :40] = 4000
        shown = pixels(
            values, modality=modality, padding=(3999.0, 4000.0), photometric_interpretation=polarity
        )
        assert shown[:, :40].max() == 0
        assert shown[:, 40:].max() > 0

    def test_padding_does_not_move_percentiles(self) -> None:
        values = np.tile(np.arange(100, dtype=np.float32), (5, 1))
        padded = np.hstack([values, np.full((5, 300), -2000, np.float32)])
        shown = pixels(padded, modality="MR", padding=(-2000.0, -2000.0))
        np.testing.assert_array_equal(shown[:, :100], pixels(values, modality="MR"))

    @pytest.mark.parametrize("stored", range(-32768, -32700))
    def test_padding_survives_the_rounding_of_a_rescale(self, stored: int) -> None:
        rounded = np.float32(stored) * np.float32(0.1) + np.float32(7.7)
        exact = stored * 0.1 + 7.7
        shown = pixels([[rounded, 0]], padding=(exact, exact), photometric_interpretation="MONOCHROME1")
        assert shown[0, 0] == 0

    def test_nothing_but_padding_is_black(self) -> None:
        assert pixels(np.full((3, 4), 7), modality="MR", padding=(7.0, 7.0)).max() == 0


class TestEveryImage:
    @pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
    @given(values=ANY_FLOAT, modality=st.sampled_from(MODALITIES), padded=st.booleans())
    def test_is_finite_in_range_read_only_and_replays(
        self, polarity: str, values: NDArray[np.float32], modality: str, padded: bool
    ) -> None:
        options = {"padding": (-3.0, 3.0)} if padded else {}
        source = frame(values, modality=modality, photometric_interpretation=polarity, **options)
        image = imaging.present(source)
        assert image.pixels.dtype == np.float32
        assert image.shape == values.shape
        assert np.isfinite(image.pixels).all()
        assert image.pixels.min() >= 0
        assert image.pixels.max() <= 1
        assert not image.pixels.flags.writeable
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(replay(image, source), image.pixels)

    @pytest.mark.parametrize("modality", MODALITIES)
    def test_constant_values_are_no_division_by_zero(self, modality: str) -> None:
        with warnings.catch_warnings(action="error"):
            assert np.unique(pixels(np.full((5, 7), 123), modality=modality)).size == 1

    @pytest.mark.parametrize("modality", MODALITIES)
    def test_keeps_rows_and_columns_in_place(self, modality: str) -> None:
        values = np.zeros((5, 11))
        values[3, 8] = 200
        shown = pixels(values, modality=modality)
        assert shown.shape == (5, 11)
        assert np.argwhere(shown == shown.max()).tolist() == [[3, 8]]

    def test_replays_a_lut_and_names_it_by_digest(self) -> None:
        lut = LookupTable(first_mapped=-1, bits=10, entries=tuple(range(0, 1000, 10)))
        source = frame([[0, 50, 200, np.nan]], modality="DX", voi_lut=lut)
        image = imaging.present(source)
        assert image.applied[0].parameters["entries"] == 100
        assert len(image.applied[0].parameters["entries_sha256"]) == 64
        np.testing.assert_array_equal(replay(image, source), image.pixels)

    def test_carries_geometry_and_what_decoding_did(self) -> None:
        rescale = Applied(name="rescale", parameters={"slope": 1.0, "intercept": -1024.0})
        source = frame(
            [[0, 100]],
            applied=(rescale,),
            pixel_spacing_mm=(0.5, 0.7),
            orientation=(1, 0, 0, 0, 1, 0),
            position=(1, 2, 3),
        )
        image = imaging.present(source)
        assert [step.name for step in image.applied] == ["rescale", "voi_window", "fill_black"]
        assert (image.ref, image.pixel_spacing_mm, image.orientation, image.position) == (
            source.ref,
            source.pixel_spacing_mm,
            source.orientation,
            source.position,
        )

    def test_leaves_the_frame_alone(self) -> None:
        source = frame([[0, 100, 7]], padding=(7.0, 7.0), photometric_interpretation="MONOCHROME1")
        before = source.values.copy()
        imaging.present(source)
        np.testing.assert_array_equal(source.values, before)

    def test_a_large_film_takes_no_second_of_cpu(self) -> None:
        values = np.random.default_rng(0).integers(0, 4096, (3000, 3000)).astype(np.float32)
        source = frame(values, modality="DX", padding=(0.0, 0.0), photometric_interpretation="MONOCHROME1")
        started = time.process_time()
        imaging.present(source)
        assert time.process_time() - started < 1.0


class TestToUint8:
    def test_grey_becomes_three_equal_channels(self) -> None:
        image = imaging.present(frame([[0, 100], [200, 255], [3, 4]], modality="US"))
        levels = imaging.to_uint8(image)
        assert levels.dtype == np.uint8
        assert levels.shape == (3, 2, 3)
        assert levels[:, :, 0].tolist() == [[0, 100], [200, 255], [3, 4]]
        assert (levels == levels[:, :, :1]).all()


@pytest.mark.parametrize(
    ("modality", "options"),
    [
        ("CT", {}),
        ("MR", {}),
        ("DX", {"windows": (Window(center=50, width=61),)}),
        ("DX", {"windows": (Window(center=50, width=60, function="LINEAR_EXACT"),)}),
        ("MR", {"voi_lut": LookupTable(first_mapped=10, bits=8, entries=tuple(range(0, 256, 5)))}),
    ],
)
def test_shown_range_ends_where_shades_do(modality: str, options: dict[str, Any]) -> None:
    values = np.linspace(-200, 300, 50, dtype=np.float32).reshape(5, 10)
    source = frame(values, modality=modality, **options)
    low, high = imaging.shown_range(source)
    steps = imaging.pipeline(source)
    black, nearly, white, beyond = steps(
        np.array([low, low + (high - low) / 10, high, high + 50], np.float32)
    )
    assert black == 0 < nearly < white == beyond == 1
